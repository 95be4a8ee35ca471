//! `packline why`: what would have to change before a package is built.

use anyhow::bail;
use packline_broker::Broker;
use packline_domain::{PackageName, answer::Why};
use serde_json::Value;

use super::{
    ask::{self, ask, package},
    connection::Connection,
    shown::{plain, span},
};
use crate::say;

/// The question.
const WHY: &str = "orchestrator.why";

/// Which package
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Exit status: 0 the queue knows the package, 1 it does not.\nExample: packline why acme/core")]
pub(crate) struct Settings {
    /// acme/core or @acme/core
    #[arg(value_parser = package)]
    package: PackageName,
    /// Print the answer of orchestrator.why
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// What holds a package back, as it came and read.
pub(super) async fn why(broker: &Broker, package: &PackageName) -> anyhow::Result<(Value, Why)> {
    let answer = ask(broker, WHY, package).await?;
    let why = ask::read(answer.clone(), WHY)?;
    Ok((answer, why))
}

/// Asks, and shows it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let (answer, why) = why(&broker, &settings.package).await?;
    if settings.json {
        ask::print(&answer)?;
    }
    let Some(state) = why.state else {
        bail!("the queue does not know {}; `packline add` announces it", why.package_name)
    };
    if settings.json {
        return Ok(());
    }
    let takes = why.estimated_seconds.map(|seconds| format!(" (takes about {})", span(seconds))).unwrap_or_default();
    let reasons = why.reasons.iter().map(|reason| format!("\n  {}", plain(&reason.text)));
    say(&format!("{} is {state}{takes}{}", why.package_name, reasons.collect::<String>()))
}
