//! What a worker counts, for `/metrics`.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use packline_domain::{BuildResult, Outcome, message::PhaseStatus};
use packline_service::metric;

use crate::worker::Worker;

/// A build has ended. The names of phases are those of this worker's own recipe.
pub(crate) fn ended(result: &BuildResult, took: Duration) {
    let outcome = match result.outcome {
        Outcome::Published => "published",
        Outcome::Failed => "failed",
        Outcome::TimedOut => "timedOut",
        Outcome::Cancelled => "cancelled",
        Outcome::Infrastructure => "infrastructure",
        Outcome::Returned => "returned",
    };
    let phase = result.failed_phase.clone().unwrap_or_else(|| "none".into());
    counter!(metric::BUILDS, "outcome" => outcome, "phase" => phase).increment(1);
    histogram!(metric::BUILD_TIME, "outcome" => outcome).record(took);
    for phase in &result.phases {
        let status = match phase.status {
            PhaseStatus::Passed => "passed",
            PhaseStatus::Failed => "failed",
            PhaseStatus::Skipped => continue,
            PhaseStatus::TimedOut => "timedOut",
            PhaseStatus::Killed => "killed",
        };
        histogram!(metric::PHASE_TIME, "phase" => phase.name.clone(), "status" => status).record(phase.seconds);
    }
}

/// How this worker stands.
pub(crate) fn refresh(worker: &Worker) {
    metric::set_broker(worker.broker.is_connected(), worker.broker.dead_letters());
    let idle = worker.is_stopping() || worker.is_resting();
    gauge!(metric::WORKER_SLOTS).set(if idle { 0.0 } else { f64::from(worker.config.slots) });
    let under_way = worker.table.all().iter().filter(|build| !build.is_over()).count();
    gauge!(metric::WORKER_BUILDS).set(under_way as f64);
}

/// Whether it may take orders, or why not.
pub(crate) fn ready(worker: &Worker) -> Result<(), String> {
    if !worker.broker.is_connected() {
        return Err("it is not connected to the broker".into());
    }
    if worker.is_stopping() {
        return Err("it is stopping".into());
    }
    if worker.is_resting() {
        return Err("it rests: its last builds failed for want of the network, the registry or the machine".into());
    }
    if !worker.life().is_fresh() {
        return Err("no heartbeat was confirmed within half of CLAIM".into());
    }
    Ok(())
}
