//! `orchestrator.state`: the whole at a glance.

use packline_domain::{
    SCHEMA,
    answer::{Active, Retrying, State, WorkerCounts},
};

use crate::driver::Driver;

/// The most entries of each list in an answer.
const LISTED: usize = 200;

pub(super) fn state(driver: &Driver) -> State {
    let (scheduler, leader) = (&driver.scheduler, &driver.leadership.record);
    let (control, now) = (scheduler.control(), driver.clock.now());
    let active = scheduler.permits().take(LISTED).map(|(n, permit)| Active {
        package_name: permit.package_name.clone(),
        build_id: permit.build_id.clone(),
        attempt: permit.attempt,
        permit: n,
        worker: permit.worker.clone(),
        phase: permit.worker.as_deref().and_then(|worker| driver.liveness.phase(worker, n)).map(ToOwned::to_owned),
        seconds: now.since(permit.granted_at).as_secs(),
        estimated_seconds: None,
        ending: permit.ending.is_some(),
    });
    let retrying = scheduler.retrying().take(LISTED).map(|(name, until)| Retrying {
        package_name: name.clone(),
        attempts: scheduler.retries(name).map_or(0, |retries| retries.failures),
        next_attempt_at: until,
    });
    State {
        schema: SCHEMA,
        mode: control.mode,
        since: control.since,
        by: control.origin.by.clone(),
        reason: control.origin.reason.clone(),
        max_concurrent: control.max_concurrent,
        complete: control.complete,
        slots: scheduler.slots(),
        counts: scheduler.counts(),
        estimated_seconds: None,
        stalled: None,
        active: active.collect(),
        retrying: retrying.collect(),
        workers: Vec::new(),
        worker_counts: WorkerCounts::default(),
        leader: leader.holder.clone().unwrap_or_default(),
        term: leader.term,
        commit: leader.commit,
        last_control: control.last.clone(),
    }
}
