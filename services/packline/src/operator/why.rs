//! `packline why`: what would have to change before a package is built.

use anyhow::bail;
use packline_domain::{PackageName, answer::Why};

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

/// Asks, and shows it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let answer = ask(&broker, WHY, &settings.package).await?;
    if settings.json {
        ask::print(&answer)?;
    }
    let why: Why = ask::read(answer, WHY)?;
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
