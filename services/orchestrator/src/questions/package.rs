//! `orchestrator.why` and `orchestrator.history`: one package.

use packline_domain::{
    SCHEMA,
    answer::{History, Told, Why},
    control::typed_package,
};
use packline_scheduler::Scheduler;

use super::state::seconds;

pub(super) fn why(scheduler: &Scheduler, body: &[u8]) -> Result<Why, String> {
    let package_name = typed_package(body)?;
    let reasons = scheduler.why(&package_name).into_iter().map(|reason| Told { text: reason.to_string(), reason });
    Ok(Why {
        schema: SCHEMA,
        state: scheduler.standing(&package_name),
        reasons: reasons.collect(),
        warnings: scheduler.warnings(&package_name).to_vec(),
        tests: scheduler.tests(&package_name),
        estimated_seconds: scheduler.estimate(&package_name).map(seconds),
        package_name,
    })
}

pub(super) fn history(scheduler: &Scheduler, body: &[u8]) -> Result<History, String> {
    let package_name = typed_package(body)?;
    let attempts = scheduler.retries(&package_name).map(|retries| retries.attempts.clone()).unwrap_or_default();
    Ok(History { schema: SCHEMA, attempts, package_name })
}
