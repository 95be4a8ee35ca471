//! `packline history`: the last attempts of a package.

use anyhow::bail;
use packline_broker::topology::{HISTORY, WHY};
use packline_domain::{
    Attempt, FailureClass, PackageName,
    answer::{History, Why},
    text::published,
};

use super::{
    ask::{self, Asking, ask, package},
    shown::{columns, plain, span},
};

/// Which package
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example: packline history acme/core")]
pub(crate) struct Settings {
    /// acme/core or @acme/core
    #[arg(value_parser = package)]
    package: PackageName,
    #[command(flatten)]
    asking: Asking,
}

/// Asks, and shows it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let (broker, history) = settings.asking.ask::<History>(HISTORY, &settings.package).await?;
    let name = &history.package_name;
    if history.attempts.is_empty() {
        // A name that was mistyped has no history either.
        let why: Why = ask::read(ask(&broker, WHY, name).await?, WHY)?;
        if why.state.is_none() {
            bail!("the queue does not know {name}");
        }
        return settings.asking.show(&format!("{name} has not been built yet"));
    }
    let head = ["BUILD", "ATTEMPT", "ENDED", "TOOK", "OUTCOME", "WORKER", "ERROR"];
    let remarks = history.attempts.iter().flat_map(|attempt| {
        let build = &attempt.build_id;
        let warnings = attempt.warnings.iter().map(move |warning| format!("\nwarning: {build}: {}", plain(warning)));
        attempt.tests.iter().map(move |tests| format!("\n{build}: {tests}")).chain(warnings)
    });
    let table = columns(head, history.attempts.iter().map(row));
    settings.asking.show(&format!("{table}{}", remarks.collect::<String>()))
}

fn row(attempt: &Attempt) -> [String; 7] {
    let outcome = match attempt.class {
        None => published(attempt.private),
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
