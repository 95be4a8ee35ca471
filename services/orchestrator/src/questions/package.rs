//! `orchestrator.why` and `orchestrator.history`: one package.

use packline_domain::{Attempt, PackageName, SCHEMA, control::typed_package};
use packline_scheduler::{Reason, Scheduler, Standing};
use serde::Serialize;

/// The answer to `orchestrator.why`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Why {
    schema: u32,
    package_name: PackageName,
    /// None when the queue does not know it.
    state: Option<Standing>,
    /// The first is what would have to change first.
    reasons: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    reason: Reason,
    /// For a person.
    text: String,
}

/// The answer to `orchestrator.history`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct History<'a> {
    schema: u32,
    package_name: PackageName,
    /// The last ten, oldest first.
    attempts: &'a [Attempt],
}

pub(super) fn why(scheduler: &Scheduler, body: &[u8]) -> Result<Why, String> {
    let package_name = typed_package(body)?;
    let reasons = scheduler.why(&package_name).into_iter().map(|reason| Told { text: reason.to_string(), reason });
    Ok(Why { schema: SCHEMA, state: scheduler.standing(&package_name), reasons: reasons.collect(), package_name })
}

pub(super) fn history<'a>(scheduler: &'a Scheduler, body: &[u8]) -> Result<History<'a>, String> {
    let package_name = typed_package(body)?;
    let attempts = scheduler.retries(&package_name).map(|retries| retries.attempts.as_slice()).unwrap_or_default();
    Ok(History { schema: SCHEMA, attempts, package_name })
}
