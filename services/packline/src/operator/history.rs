//! `packline history`: the last attempts of a package.

use anyhow::bail;
use packline_domain::{Attempt, FailureClass, PackageName, answer::History};

use super::{
    ask::{self, ask, package},
    connection::Connection,
    shown::{columns, span},
    why::why,
};
use crate::say;

/// The question.
const HISTORY: &str = "orchestrator.history";

/// Which package
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example: packline history acme/core")]
pub(crate) struct Settings {
    /// acme/core or @acme/core
    #[arg(value_parser = package)]
    package: PackageName,
    /// Print the answer of orchestrator.history
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Asks, and shows it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let answer = ask(&broker, HISTORY, &settings.package).await?;
    if settings.json {
        ask::print(&answer)?;
    }
    let history: History = ask::read(answer, HISTORY)?;
    if history.attempts.is_empty() {
        // A name that was mistyped has no history either.
        if why(&broker, &settings.package).await?.1.state.is_none() {
            bail!("the queue does not know {}", history.package_name);
        }
        return if settings.json { Ok(()) } else { say(&format!("{} has not been built yet", history.package_name)) };
    }
    if settings.json {
        return Ok(());
    }
    say(&columns(["BUILD", "ATTEMPT", "ENDED", "TOOK", "OUTCOME", "WORKER", "ERROR"], history.attempts.iter().map(row)))
}

fn row(attempt: &Attempt) -> [String; 7] {
    let outcome = match attempt.class {
        None => "published",
        Some(FailureClass::Own) => "failed",
        Some(FailureClass::Permanent) => "failed, permanently",
        Some(FailureClass::Infrastructure) => "machine failed",
        Some(FailureClass::WorkerLost) => "worker lost",
        Some(FailureClass::Cancelled) => "cancelled",
        Some(FailureClass::Returned) => "returned",
    };
    [
        attempt.build_id.to_string(),
        attempt.attempt.to_string(),
        attempt.finished_at.to_string(),
        span(attempt.finished_at.since(attempt.started_at).as_secs()),
        outcome.to_owned(),
        attempt.worker.clone().unwrap_or_default(),
        attempt.error.clone().unwrap_or_default(),
    ]
}
