//! `packline why`: what would have to change before a package is built.

use anyhow::bail;
use packline_broker::topology::WHY;
use packline_domain::{PackageName, answer::Why};

use super::{
    ask::{Asking, package},
    shown::{plain, span},
};

/// Which package
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Exit status: 0 the queue knows the package, 1 it does not.\nExample: packline why acme/core")]
pub(crate) struct Settings {
    /// acme/core or @acme/core
    #[arg(value_parser = package)]
    package: PackageName,
    #[command(flatten)]
    asking: Asking,
}

/// Asks, and shows it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let (_, why) = settings.asking.ask::<Why>(WHY, &settings.package).await?;
    let name = &why.package_name;
    let Some(state) = why.state else { bail!("the queue does not know {name}; `packline add` announces it") };
    let takes = why.estimated_seconds.map(|seconds| format!(" (takes about {})", span(seconds))).unwrap_or_default();
    let reasons = why.reasons.iter().map(|reason| format!("\n  {}", plain(&reason.text)));
    let warnings = why.warnings.iter().map(|warning| format!("\n  warning: {}", plain(warning)));
    let state = state.for_people(why.is_private());
    let tests = why.tests.map(|tests| format!("\n  {tests}"));
    let lines: String = reasons.chain(tests).chain(warnings).collect();
    settings.asking.show(&format!("{name} is {state}{takes}{lines}"))
}
