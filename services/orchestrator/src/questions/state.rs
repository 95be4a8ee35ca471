//! `orchestrator.state`: the whole at a glance.

use packline_domain::{PackageName, SCHEMA, Timestamp};
use serde::Serialize;

use crate::driver::Driver;

/// The most entries of each list in an answer.
const LISTED: usize = 200;

/// The answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StateAnswer<'a> {
    schema: u32,
    #[serde(flatten)]
    control: Summary<'a>,
    slots: u64,
    counts: packline_scheduler::Counts,
    active: Vec<Active<'a>>,
    retrying: Vec<Retrying<'a>>,
    leader: &'a str,
    term: u64,
    commit: u64,
    last_control: Option<&'a packline_domain::control::LastControl>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    mode: packline_domain::Mode,
    since: Timestamp,
    by: Option<&'a str>,
    reason: Option<&'a str>,
    max_concurrent: u32,
    complete: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Active<'a> {
    package_name: &'a PackageName,
    build_id: String,
    attempt: u32,
    permit: u32,
    worker: Option<&'a str>,
    phase: Option<&'a str>,
    seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Retrying<'a> {
    package_name: &'a PackageName,
    attempts: u32,
    next_attempt_at: Timestamp,
}

pub(super) fn state(driver: &Driver) -> StateAnswer<'_> {
    let (scheduler, leader) = (&driver.scheduler, &driver.leadership.record);
    let (control, now) = (scheduler.control(), driver.clock.now());
    let active = scheduler.permits().take(LISTED).map(|(n, permit)| Active {
        package_name: &permit.package_name,
        build_id: permit.build_id.to_string(),
        attempt: permit.attempt,
        permit: n,
        worker: permit.worker.as_deref(),
        phase: permit.worker.as_deref().and_then(|worker| driver.liveness.phase(worker, n)),
        seconds: now.since(permit.granted_at).as_secs(),
    });
    let retrying = scheduler.retrying().take(LISTED).map(|(name, until)| Retrying {
        package_name: name,
        attempts: scheduler.retries(name).map_or(0, |retries| retries.failures),
        next_attempt_at: until,
    });
    StateAnswer {
        schema: SCHEMA,
        control: Summary {
            mode: control.mode,
            since: control.since,
            by: control.origin.by.as_deref(),
            reason: control.origin.reason.as_deref(),
            max_concurrent: control.max_concurrent,
            complete: control.complete,
        },
        slots: scheduler.slots(),
        counts: scheduler.counts(),
        active: active.collect(),
        retrying: retrying.collect(),
        leader: leader.holder.as_deref().unwrap_or_default(),
        term: leader.term,
        commit: leader.commit,
        last_control: control.last.as_ref(),
    }
}
