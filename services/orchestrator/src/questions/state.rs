//! `orchestrator.state`: the whole at a glance.

use std::time::Duration;

use packline_domain::{
    SCHEMA, Timestamp,
    answer::{Active, Retrying, State, Worker, WorkerBuild, WorkerCounts, WorkerState},
    record,
    text::one_line,
};
use serde::Serialize;

use super::View;
use crate::liveness::Seen;

/// The most entries of each list in an answer.
const LISTED: usize = 200;
/// How many of those may be lost workers: they must not hide the others.
const LOST: usize = 50;
/// The most bytes of each list; names and phases may be long, and an answer has 256 KiB.
const ACTIVE_BYTES: usize = 80 * 1024;
const RETRYING_BYTES: usize = 48 * 1024;
const WORKERS_BYTES: usize = 80 * 1024;

pub(super) fn state(view: &View<'_>) -> State {
    let (scheduler, leader) = (view.scheduler, view.leader);
    let (control, now) = (scheduler.control(), view.clock.now());
    let active = scheduler.permits().map(|(n, permit)| Active {
        package_name: permit.package_name.clone(),
        build_id: permit.build_id.clone(),
        attempt: permit.attempt,
        permit: n,
        worker: permit.worker.clone(),
        phase: permit.worker.as_deref().and_then(|worker| view.liveness.phase(worker, n)).map(one_line),
        seconds: now.since(permit.granted_at).as_secs(),
        estimated_seconds: scheduler.estimate(&permit.package_name).map(seconds),
        ending: permit.ending.is_some(),
    });
    let retrying = scheduler.retrying().map(|(name, until)| Retrying {
        package_name: name.clone(),
        attempts: scheduler.retries(name).map_or(0, |retries| retries.failures),
        next_attempt_at: until,
    });
    let (workers, worker_counts) = workers(view, now);
    // Time makes a worker silent a moment before the scheduler is told: no slot of one that is shown so counts.
    let live: u64 = view.liveness.live(view.clock.monotonic(), view.claim).into_values().map(u64::from).sum();
    State {
        schema: SCHEMA,
        mode: control.mode,
        since: control.since,
        by: control.origin.by.clone(),
        reason: control.origin.reason.clone(),
        max_concurrent: control.max_concurrent,
        complete: control.complete,
        slots: scheduler.slots().min(live),
        counts: scheduler.counts(),
        estimated_seconds: scheduler.forecast(now).map(seconds),
        stalled: view.stall.stalled().cloned(),
        active: Room::new(ACTIVE_BYTES).fill(active),
        retrying: Room::new(RETRYING_BYTES).fill(retrying),
        workers,
        worker_counts,
        leader: leader.holder.clone().unwrap_or_default(),
        term: leader.term,
        commit: leader.commit,
        last_control: control.last.clone(),
    }
}

/// The workers, those that need a look first, and how many there are of each kind.
fn workers(view: &View<'_>, now: Timestamp) -> (Vec<Worker>, WorkerCounts) {
    let holds_builds = |name: &str| view.scheduler.held_by(name).next().is_some();
    let all = view.liveness.all(view.clock.monotonic(), view.claim);
    let mut seen: Vec<Seen<'_>> = all
        .filter(|seen| seen.record.is_some() || seen.state == WorkerState::Lost || holds_builds(seen.name))
        .collect();
    let mut counts = WorkerCounts::default();
    for seen in &seen {
        *counts.of(seen.state) += 1;
    }
    // Of the lost the latest: their key moved last.
    seen.sort_by_key(|seen| (seen.state, if seen.state == WorkerState::Lost { seen.silent } else { Duration::ZERO }));
    let surplus = counts.lost.saturating_sub(LOST);
    seen.drain(counts.lost - surplus..counts.lost);
    let mut room = Room::new(WORKERS_BYTES);
    let mut workers: Vec<Worker> = room.fill(seen.iter().map(worker));
    // What they build after that, as far as there is room: a worker is not left out for its many builds.
    for worker in &mut workers {
        let record = seen.iter().find(|seen| seen.name == worker.name).and_then(|seen| seen.record);
        let held = view.scheduler.held_by(&worker.name).filter_map(|n| {
            let permit = view.scheduler.permit(n)?;
            Some(WorkerBuild {
                package_name: permit.package_name.clone(),
                build_id: permit.build_id.clone(),
                permit: n,
                phase: record.and_then(|record| phase(record, n)),
                seconds: now.since(permit.granted_at).as_secs(),
            })
        });
        worker.builds = room.fill(held);
    }
    (workers, counts)
}

fn worker(seen: &Seen<'_>) -> Worker {
    let record = seen.record;
    Worker {
        name: one_line(seen.name),
        host: record.map(|record| one_line(&record.host)),
        version: record.map(|record| one_line(&record.version)),
        state: seen.state,
        slots: record.map_or(0, |record| record.slots),
        since: record.map(|record| record.since),
        resting: record.and_then(|record| record.resting.as_deref()).map(one_line),
        silent_seconds: seconds(seen.silent),
        builds: Vec::new(),
    }
}

/// The phase in which a worker last said that the build of a permit is.
fn phase(record: &record::Worker, permit: u32) -> Option<String> {
    record.builds.iter().find(|build| build.permit == permit)?.phase.as_deref().map(one_line)
}

/// How many seconds, rounded.
pub(super) fn seconds(duration: Duration) -> u64 {
    duration.saturating_add(Duration::from_millis(500)).as_secs()
}

/// The room for lists in an answer.
struct Room {
    bytes: usize,
}

impl Room {
    fn new(bytes: usize) -> Self {
        Self { bytes }
    }

    /// The first of these that have room as JSON, at most [`LISTED`].
    fn fill<T: Serialize>(&mut self, items: impl Iterator<Item = T>) -> Vec<T> {
        let fits = |item: &T| {
            let size = serde_json::to_vec(item).map_or(usize::MAX, |json| json.len() + 1);
            let left = self.bytes.checked_sub(size);
            self.bytes = left.unwrap_or(0);
            left.is_some()
        };
        items.take(LISTED).take_while(fits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_where_its_room_ends() {
        let mut room = Room::new(10);
        assert_eq!(room.fill(["abc", "defgh", "i"].into_iter()), ["abc"], "6 bytes, and 8 do not fit into 4");
        assert_eq!(room.fill(["i"].into_iter()), [""; 0]);
        assert_eq!(Room::new(1000).fill(0..).len(), LISTED);
    }

    #[test]
    fn seconds_are_rounded() {
        assert_eq!([499, 500, 1499].map(|millis| seconds(Duration::from_millis(millis))), [0, 1, 1]);
    }
}
