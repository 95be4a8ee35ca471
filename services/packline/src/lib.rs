//! The operator's command.

mod bench;
mod demo;
mod npmrc;
mod operator;
mod recipe;
mod registry;
mod up;
mod view;

use std::{
    io::{ErrorKind, Write, stdout},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use packline_broker::{Broker, BucketName};
use packline_domain::{
    Timestamp,
    record::{LAST, LastPoll},
};
use packline_local::tools::Missing;
use packline_service::{LogFormat, LogSettings, Shutdown, Unusable};
use tokio::signal::unix::{SignalKind, signal};

/// The operator's command of Packline
#[derive(Parser, Clone, Debug)]
#[command(name = "packline", version)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    command: Command,
    /// A person reads what this command prints, so of its log only what goes wrong is shown.
    #[arg(skip = quiet())]
    log: LogSettings,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Run the whole line on this machine: eight packages, two workers, a registry, a catalogue
    Demo(demo::Settings),
    /// Run the whole line on a workspace of your own, until Ctrl-C
    Up(up::Settings),
    /// Measure the line on this machine: builds a second, latency, memory, restart
    Bench(bench::Settings),
    /// Look at a recipe file
    Recipe(recipe::Settings),
    /// Serve an npm registry (Verdaccio) for a line in containers, as docker-compose.yml does
    Registry(registry::Settings),
    #[command(flatten)]
    Operate(Box<operator::Operation>),
    /// Print the completions of a shell
    #[command(after_help = "Example: packline completions bash > /etc/bash_completion.d/packline")]
    Completions {
        /// bash, zsh, fish, …
        shell: clap_complete::Shell,
    },
}

impl packline_service::Settings for Cli {
    fn log(&self) -> &LogSettings {
        &self.log
    }
}

fn quiet() -> LogSettings {
    let rust_log = std::env::var("RUST_LOG").unwrap_or_else(|_| "error,async_nats=off".into());
    LogSettings { log_format: LogFormat::Bare, rust_log }
}

/// Does what was asked for, until it is done or `shutdown` is requested.
///
/// # Errors
/// When it was not done; [`packline_service::Unusable`] where this machine lacks something.
pub async fn run(cli: Cli, shutdown: Shutdown) -> anyhow::Result<()> {
    match cli.command {
        Command::Demo(settings) => demo::run(&settings, &shutdown).await,
        Command::Up(settings) => up::run(&settings, &shutdown).await,
        Command::Bench(settings) => bench::run(&settings, &shutdown).await,
        Command::Recipe(settings) => recipe::run(&settings),
        Command::Registry(settings) => registry::run(&settings, &shutdown).await,
        Command::Operate(operation) => operator::run(&operation, &shutdown).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "packline", &mut script);
            stdout().write_all(&script).context("nobody reads what is said")
        }
    }
}

/// What this machine lacks is for its owner to settle, not for us to try again.
fn name_what_is_missing(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Missing>() {
        Ok(missing) => Unusable(missing.to_string()).into(),
        Err(error) => error,
    }
}

/// This machine's time.
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// The last poll, where there was one and the broker says so.
async fn last_poll(broker: &Broker) -> Option<LastPoll> {
    let entry = broker.bucket(BucketName::Poller).get(LAST).await.ok()??;
    serde_json::from_slice(&entry.value?).ok()
}

/// Whether this is a pipe that was closed.
fn nobody_reads(error: &anyhow::Error) -> bool {
    error.root_cause().downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Prints lines, or fails where nobody reads any more. What strangers wrote in them moves no cursor.
fn say(text: &str) -> anyhow::Result<()> {
    let text: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    say_as_it_is(&text)
}

/// The same for what has been cleaned and may have colours.
fn say_as_it_is(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("nobody reads what is said")
}

/// A closed terminal is a request to stop too.
fn stop_with_the_terminal(shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut closed = signal(SignalKind::hangup()).context("failed to listen for signals")?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        closed.recv().await;
        shutdown.request();
    });
    Ok(())
}
