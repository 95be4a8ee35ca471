//! What an operator does from a terminal: asks, commands, looks on.

mod add;
mod ask;
mod clean;
mod command;
mod connection;
mod control;
mod dead;
mod doctor;
mod events;
mod history;
mod logs;
mod outcome;
mod poll;
mod queue;
mod records;
mod send;
pub(crate) mod shown;
mod status;
mod wait;
mod watch;
mod why;
mod workers;

use anyhow::bail;
use clap::Subcommand;
use packline_service::Shutdown;

/// What an operator may do.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Operation {
    /// Show how the line stands: mode, permits, counts, builds, retries
    Status(status::Settings),
    /// List packages in the order in which they will be built, and what holds each back
    Queue(queue::Settings),
    /// Say why a package is not built: the first reason is what has to change first
    Why(why::Settings),
    /// List the last attempts of a package
    History(history::Settings),
    /// Show what a build printed, from the past and as it comes
    Logs(logs::Settings),
    /// List the workers, what each builds, and why one rests
    Workers(workers::Settings),
    /// Watch the line, drawn anew with each change
    Watch(watch::Settings),
    /// Show what happened, and with -f what happens
    Events(events::Settings),
    /// Look at what was refused, and send it again
    Dead(dead::Settings),
    /// Announce a package by hand
    Add(add::Settings),
    /// Ask the catalogue now
    Poll(poll::Settings),
    /// Look at all that a line needs, one line each, with the mend
    Doctor(doctor::Settings),
    #[command(flatten)]
    Control(control::Control),
}

/// Does it.
///
/// # Errors
/// When it was not done.
pub(crate) async fn run(operation: &Operation, shutdown: &Shutdown) -> anyhow::Result<()> {
    let done = async {
        match operation {
            Operation::Status(settings) => status::run(settings).await,
            Operation::Queue(settings) => queue::run(settings).await,
            Operation::Why(settings) => why::run(settings).await,
            Operation::History(settings) => history::run(settings).await,
            Operation::Workers(settings) => workers::run(settings).await,
            Operation::Logs(settings) => logs::run(settings).await,
            Operation::Watch(settings) => watch::run(settings).await,
            Operation::Events(settings) => events::run(settings).await,
            Operation::Dead(settings) => dead::run(settings).await,
            Operation::Add(settings) => add::run(settings).await,
            Operation::Poll(settings) => poll::run(settings).await,
            Operation::Doctor(settings) => doctor::run(settings).await,
            Operation::Control(control) => control::run(control).await,
        }
    };
    let done = async {
        // Whoever has seen enough closes the pipe.
        match done.await {
            Err(error) if crate::nobody_reads(&error) => Ok(()),
            done => done,
        }
    };
    tokio::select! {
        biased;
        done = done => done,
        () = shutdown.requested() => broken_off(operation),
    }
}

/// What Ctrl-C means: the end of a look that has none of its own, and a failure of what was not done.
fn broken_off(operation: &Operation) -> anyhow::Result<()> {
    match operation {
        Operation::Watch(_) => Ok(()),
        Operation::Events(settings) if settings.follows() => Ok(()),
        Operation::Logs(_) => bail!("broken off; the build goes on without a reader"),
        _ => bail!("broken off; what was sent stands"),
    }
}
