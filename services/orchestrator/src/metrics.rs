//! What a leader counts, for `/metrics`. All of it follows from commits that are stored, and costs nothing
//! where nobody asks for it.

use std::{collections::BTreeMap, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use packline_domain::{
    Attempt, BuildOrder, FailureClass,
    effect::Event,
    record::{Queue, Retries},
};
use packline_scheduler::Scheduler;
use packline_service::metric;

/// Kinds of events that tell of the end of an attempt.
const ENDS: [&str; 6] = ["published", "retrying", "workerLost", "failed", "returned", "cancelled"];

/// Phases that are told apart; those of recipes count as `other` here, and by name on their workers.
const PHASES: [&str; 5] = ["install", "build", "lint", "test", "publish"];

/// States in which a package may stand.
const STATES: [&str; 8] =
    ["ready", "blocked", "unresolvable", "building", "retrying", "published", "failed", "cancelled"];

/// What a process shows that does not lead.
pub(crate) fn stand_by() {
    for name in [metric::LEADER, metric::PERMITS, metric::LIMIT, metric::SLOTS, metric::STALLED] {
        gauge!(name).set(0.0);
    }
    for state in STATES {
        gauge!(metric::QUEUE, "state" => state).set(0.0);
    }
}

/// The handles of one term; dropped with the leadership, which leaves the gauges of a standby.
pub(crate) struct Metrics {
    /// Whether anybody may ask.
    on: bool,
    queue: [Gauge; 8],
    permits: Gauge,
    limit: Gauge,
    slots: Gauge,
    stalled: Gauge,
    attempts: Counter,
    ended: BTreeMap<(&'static str, &'static str), Counter>,
    durations: BTreeMap<&'static str, Histogram>,
    wait: Histogram,
    commits: Counter,
    records: Histogram,
    commit_time: Histogram,
}

impl Metrics {
    /// For the leader of `term`.
    pub(crate) fn new(on: bool, term: u64) -> Self {
        gauge!(metric::TERM).set(term as f64);
        gauge!(metric::LEADER).set(1.0);
        Self {
            on,
            queue: STATES.map(|state| gauge!(metric::QUEUE, "state" => state)),
            permits: gauge!(metric::PERMITS),
            limit: gauge!(metric::LIMIT),
            slots: gauge!(metric::SLOTS),
            stalled: gauge!(metric::STALLED),
            attempts: counter!(metric::ATTEMPTS),
            ended: BTreeMap::new(),
            durations: BTreeMap::new(),
            wait: histogram!(metric::WAIT),
            commits: counter!(metric::COMMITS),
            records: histogram!(metric::COMMIT_RECORDS),
            commit_time: histogram!(metric::COMMIT_TIME),
        }
    }

    /// A commit of so many records was stored; this is how things stand now.
    pub(crate) fn committed(&self, records: usize, took: Duration, scheduler: &Scheduler) {
        if !self.on {
            return;
        }
        // Without records it only renews the lease, or says how far the streams are read.
        if records > 0 {
            self.commits.increment(1);
            self.records.record(count(records));
            self.commit_time.record(took);
        }
        let counts = scheduler.counts();
        let standing = [
            counts.ready,
            counts.blocked,
            counts.unresolvable,
            counts.building,
            counts.retrying,
            counts.published,
            counts.failed,
            counts.cancelled,
        ];
        for (gauge, packages) in self.queue.iter().zip(standing) {
            gauge.set(count(packages));
        }
        self.permits.set(count(scheduler.permits().len()));
        self.limit.set(f64::from(scheduler.control().max_concurrent));
        self.slots.set(scheduler.slots() as f64);
    }

    /// The line stalls, or does so no longer.
    pub(crate) fn stalled(&self, stalled: bool) {
        self.stalled.set(f64::from(u8::from(stalled)));
    }

    /// A committed order goes out.
    pub(crate) fn started(&self, order: &BuildOrder, scheduler: &Scheduler) {
        if !self.on {
            return;
        }
        self.attempts.increment(1);
        if let Some(waited) = waited(order, scheduler) {
            self.wait.record(waited);
        }
    }

    /// A committed event goes out; where it tells of an end, the scheduler has the attempt among the last ones.
    pub(crate) fn told(&mut self, event: &Event, scheduler: &Scheduler) {
        if !self.on || !ENDS.contains(&event.kind.as_str()) {
            return;
        }
        let retries: Option<&Retries> = event.package_name.as_ref().and_then(|name| scheduler.retries(name));
        let attempts = retries.map(|retries| retries.attempts.as_slice()).unwrap_or_default();
        if let Some(attempt) = attempts.iter().rev().find(|attempt| Some(&attempt.build_id) == event.build_id.as_ref())
        {
            self.ended(attempt);
        }
    }

    fn ended(&mut self, attempt: &Attempt) {
        let (outcome, phase) = (outcome(attempt.class), phase(attempt.failed_phase.as_deref()));
        let labelled = || counter!(metric::ENDED, "outcome" => outcome, "phase" => phase);
        self.ended.entry((outcome, phase)).or_insert_with(labelled).increment(1);
        let duration = || histogram!(metric::ATTEMPT_TIME, "outcome" => outcome);
        let took = attempt.finished_at.since(attempt.started_at);
        self.durations.entry(outcome).or_insert_with(duration).record(took);
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        stand_by();
    }
}

/// How long a package waited for the first of its builds since it was queued afresh; `None` for a later one.
/// The number of an attempt does not tell: one that was lost or returned leaves it as it is.
fn waited(order: &BuildOrder, scheduler: &Scheduler) -> Option<Duration> {
    let queue: &Queue = scheduler.package(&order.package_name)?;
    let retries: Option<&Retries> = scheduler.retries(&order.package_name);
    let attempts = retries.map(|retries| retries.attempts.as_slice()).unwrap_or_default();
    if attempts.iter().any(|attempt| attempt.started_at >= queue.queued_at) {
        return None;
    }
    let permit = scheduler.permit(order.permit).filter(|permit| permit.build_id == order.build_id)?;
    Some(permit.granted_at.since(queue.queued_at))
}

/// How an attempt ended, as a label.
fn outcome(class: Option<FailureClass>) -> &'static str {
    match class {
        None => "published",
        Some(FailureClass::Own) => "failed",
        Some(FailureClass::Permanent) => "permanent",
        Some(FailureClass::Infrastructure) => "infrastructure",
        Some(FailureClass::WorkerLost) => "workerLost",
        Some(FailureClass::Cancelled) => "cancelled",
        Some(FailureClass::Returned) => "returned",
    }
}

/// The phase that failed, as a label. What a worker says is a stranger's word, and must not grow without bound.
fn phase(failed: Option<&str>) -> &'static str {
    match failed {
        None => "none",
        Some(failed) => PHASES.into_iter().find(|phase| *phase == failed).unwrap_or("other"),
    }
}

fn count(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_calls_a_phase_makes_no_series_of_its_own() {
        assert_eq!(["test", "evil{}\"\n", ""].map(|failed| phase(Some(failed))), ["test", "other", "other"]);
        assert_eq!(phase(None), "none");
    }
}
