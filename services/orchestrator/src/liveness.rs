//! Which workers live and which are lost (law 9), decided from the revisions of their keys alone.
//!
//! Time is the leader's own monotonic clock; nothing that a worker writes is believed about time.

use std::{collections::BTreeMap, time::Duration};

use packline_domain::{
    answer::WorkerState,
    record::{PROTOCOL, Worker, WorkerBuild},
};
use packline_scheduler::Behind;

/// How much longer than CLAIM a worker must be silent before it counts as lost.
const MARGIN: Duration = Duration::from_secs(5);

/// How long a lost worker is told of: as long as its key may still be there.
const REMEMBERED: Duration = Duration::from_hours(1);

/// No worker has more slots, whatever its record says.
const MAX_SLOTS: u32 = 10_000;

/// Time on the leader's monotonic clock, from any fixed point.
type Instant = Duration;

#[derive(Debug)]
struct Watched {
    /// Of its key; 0 while the key is missing.
    revision: u64,
    /// Since when the revision stands still, as far as could be read.
    still_since: Instant,
    record: Option<Worker>,
}

/// One that never comes back.
#[derive(Debug)]
struct Lost {
    since: Instant,
    still_since: Instant,
    /// Its last word, as long as it is told of.
    record: Option<Worker>,
    told: bool,
}

/// How a worker stands.
pub(crate) struct Seen<'a> {
    pub(crate) name: &'a str,
    pub(crate) state: WorkerState,
    /// Since its key last moved, as far as could be read.
    pub(crate) silent: Duration,
    /// None where nothing was heard of it.
    pub(crate) record: Option<&'a Worker>,
}

/// What the leader knows of the workers.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    workers: BTreeMap<String, Watched>,
    lost: BTreeMap<String, Lost>,
    readable: Option<Instant>,
    read: bool,
}

impl Liveness {
    /// A key of the bucket was read, or was found missing (`None`).
    pub(crate) fn seen(&mut self, now: Instant, worker: &str, revision: u64, record: Option<Worker>) {
        if self.lost.contains_key(worker) {
            return;
        }
        match self.workers.get_mut(worker) {
            None => {
                let watched = Watched { revision, still_since: now, record };
                self.workers.insert(worker.to_owned(), watched);
            }
            Some(watched) if watched.revision == revision => {}
            Some(watched) => *watched = Watched { revision, still_since: now, record },
        }
    }

    /// All keys that there were have been seen.
    pub(crate) fn read(&mut self) {
        self.read = true;
    }

    /// Whether all keys that there were have been seen.
    pub(crate) fn is_read(&self) -> bool {
        self.read
    }

    /// A permit names this worker; one without a key counts as standing still from now on.
    pub(crate) fn named(&mut self, now: Instant, worker: &str) {
        if !self.workers.contains_key(worker) {
            self.seen(now, worker, 0, None);
        }
    }

    /// The broker answered. After a silence longer than `lease` nothing that was not seen counts: all
    /// waiting starts anew.
    pub(crate) fn readable(&mut self, now: Instant, lease: Duration) {
        if self.readable.is_none_or(|before| now.saturating_sub(before) > lease) {
            self.start_anew(now);
        }
        self.readable = Some(now);
    }

    /// Reading had a gap: all waiting starts anew.
    pub(crate) fn start_anew(&mut self, now: Instant) {
        for watched in self.workers.values_mut() {
            watched.still_since = now;
        }
    }

    /// Slots of the workers that live: those that moved within half of CLAIM, or are watched for less.
    pub(crate) fn live(&self, now: Instant, claim: Duration) -> BTreeMap<String, u32> {
        self.workers
            .iter()
            .filter_map(|(name, watched)| {
                let record = watched.record.as_ref()?;
                is_fresh(record, now.saturating_sub(watched.still_since), claim)
                    .then(|| (name.clone(), record.slots.min(MAX_SLOTS)))
            })
            .collect()
    }

    /// Workers whose record names a lower protocol than that of this release.
    pub(crate) fn behind(&self, now: Instant, claim: Duration) -> BTreeMap<String, Behind> {
        let behind = |(name, watched): (&String, &Watched)| {
            let record = watched.record.as_ref().filter(|record| record.protocol < PROTOCOL)?;
            let live = is_fresh(record, now.saturating_sub(watched.still_since), claim);
            Some((name.clone(), Behind { version: record.version.clone(), protocol: record.protocol, live }))
        };
        self.workers.iter().filter_map(behind).collect()
    }

    /// Workers that have stood still for CLAIM and [`MARGIN`]: lost, once their key is read once more
    /// and still has the revision that is returned.
    pub(crate) fn overdue(&self, now: Instant, claim: Duration) -> Vec<(String, u64)> {
        self.workers
            .iter()
            .filter(|(_, watched)| {
                let claim = watched.record.as_ref().map_or(claim, |record| claim_of(record, claim));
                now.saturating_sub(watched.still_since) > claim + MARGIN
            })
            .map(|(name, watched)| (name.clone(), watched.revision))
            .collect()
    }

    /// A lost worker never comes back; what it still holds is lost with it. One that has taken its key away and
    /// holds nothing has left, and is told of no more.
    pub(crate) fn declare_lost(&mut self, now: Instant, worker: &str, holds_builds: bool) {
        for lost in self.lost.values_mut().filter(|lost| now.saturating_sub(lost.since) > REMEMBERED) {
            (lost.record, lost.told) = (None, false);
        }
        let watched = self.workers.remove(worker);
        let still_since = watched.as_ref().map_or(now, |watched| watched.still_since);
        let record = watched.and_then(|watched| watched.record);
        let told = record.is_some() || holds_builds;
        self.lost.insert(worker.to_owned(), Lost { since: now, still_since, record, told });
    }

    /// Every worker that there is, and those that were lost of late. One without a record is there for the
    /// builds that it holds.
    pub(crate) fn all(&self, now: Instant, claim: Duration) -> impl Iterator<Item = Seen<'_>> {
        let there = self.workers.iter().map(move |(name, watched)| {
            let record = watched.record.as_ref();
            let silent = now.saturating_sub(watched.still_since);
            Seen { name, state: state(record, silent, claim), silent, record }
        });
        let late = move |lost: &&Lost| lost.told && now.saturating_sub(lost.since) <= REMEMBERED;
        let lost = self.lost.iter().filter(move |(_, lost)| late(lost)).map(move |(name, lost)| Seen {
            name,
            state: WorkerState::Lost,
            silent: now.saturating_sub(lost.still_since),
            record: lost.record.as_ref(),
        });
        there.chain(lost)
    }

    /// The phase in which a worker last said that the build of a permit is.
    pub(crate) fn phase(&self, worker: &str, permit: u32) -> Option<&str> {
        self.build(worker, permit)?.phase.as_deref()
    }

    /// What a worker last said of the build of a permit.
    pub(crate) fn build(&self, worker: &str, permit: u32) -> Option<&WorkerBuild> {
        let record = self.workers.get(worker)?.record.as_ref()?;
        record.builds.iter().find(|build| build.permit == permit)
    }

    /// When [`Self::live`] or [`Self::overdue`] change next by the passing of time alone.
    pub(crate) fn next_change(&self, now: Instant, claim: Duration) -> Option<Instant> {
        self.workers
            .values()
            .flat_map(|watched| {
                let claim = watched.record.as_ref().map_or(claim, |record| claim_of(record, claim));
                [watched.still_since + claim / 2, watched.still_since + claim + MARGIN]
            })
            .filter(|at| *at >= now)
            .min()
    }
}

/// Whether a worker lives whose key has stood still for so long.
fn is_fresh(record: &Worker, silent: Duration, claim: Duration) -> bool {
    silent <= claim_of(record, claim) / 2
}

fn state(record: Option<&Worker>, silent: Duration, claim: Duration) -> WorkerState {
    match record {
        Some(record) if !is_fresh(record, silent, claim) => WorkerState::Silent,
        None => WorkerState::Silent,
        Some(Worker { resting: Some(_), .. }) => WorkerState::Resting,
        Some(Worker { slots: 0, .. }) => WorkerState::Stopping,
        Some(_) => WorkerState::Live,
    }
}

/// CLAIM that the worker says it obeys; the leader's own where it names none.
fn claim_of(worker: &Worker, ours: Duration) -> Duration {
    if worker.claim_millis == 0 { ours } else { Duration::from_millis(worker.claim_millis) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packline_domain::Timestamp;

    const CLAIM: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Instant {
        Duration::from_secs(seconds)
    }

    fn worker(slots: u32) -> Option<Worker> {
        Some(Worker {
            schema: 1,
            host: "h".into(),
            version: "1".into(),
            protocol: PROTOCOL,
            slots,
            claim_millis: 30_000,
            since: Timestamp::default(),
            resting: None,
            builds: vec![],
        })
    }

    #[test]
    fn a_worker_that_speaks_less_is_behind_for_as_long_as_its_key_is_watched() {
        let mut liveness = Liveness::default();
        let old = worker(0).map(|worker| Worker { protocol: 1, version: "0.0.9".into(), ..worker });
        liveness.seen(at(0), "old", 1, old);
        liveness.seen(at(0), "new", 1, worker(2));
        let behind = |live| BTreeMap::from([("old".to_owned(), Behind { version: "0.0.9".into(), protocol: 1, live })]);
        assert_eq!(liveness.behind(at(15), CLAIM), behind(true), "without slots as well");
        assert_eq!(liveness.behind(at(16), CLAIM), behind(false));
        liveness.declare_lost(at(36), "old", false);
        assert_eq!(liveness.behind(at(36), CLAIM), BTreeMap::new());
    }

    #[test]
    fn a_worker_lives_while_its_revision_moves_and_is_overdue_after_claim_and_margin() {
        let mut liveness = Liveness::default();
        liveness.seen(at(0), "a", 1, worker(2));
        assert_eq!(liveness.live(at(15), CLAIM), BTreeMap::from([("a".to_owned(), 2)]));
        assert!(liveness.live(at(16), CLAIM).is_empty());
        assert!(liveness.overdue(at(35), CLAIM).is_empty());
        assert_eq!(liveness.overdue(at(36), CLAIM), [("a".to_owned(), 1)]);
        liveness.seen(at(36), "a", 2, worker(2));
        assert!(liveness.overdue(at(70), CLAIM).is_empty());
        assert_eq!(liveness.next_change(at(40), CLAIM), Some(at(51)));
    }

    #[test]
    fn an_unchanged_revision_seen_again_is_no_sign_of_life() {
        let mut liveness = Liveness::default();
        liveness.seen(at(0), "a", 1, worker(1));
        liveness.seen(at(30), "a", 1, worker(1));
        assert_eq!(liveness.overdue(at(36), CLAIM).len(), 1);
    }

    #[test]
    fn a_gap_in_reading_starts_the_count_anew() {
        let mut liveness = Liveness::default();
        liveness.readable(at(0), at(6));
        liveness.seen(at(0), "a", 1, worker(1));
        liveness.readable(at(5), at(6));
        liveness.readable(at(34), at(6));
        assert!(liveness.overdue(at(60), CLAIM).is_empty());
        assert_eq!(liveness.overdue(at(70), CLAIM).len(), 1);
    }

    #[test]
    fn a_holder_without_a_key_stands_still_from_the_start() {
        let mut liveness = Liveness::default();
        liveness.named(at(0), "ghost");
        assert!(liveness.live(at(1), CLAIM).is_empty());
        assert_eq!(liveness.overdue(at(36), CLAIM), [("ghost".to_owned(), 0)]);
    }

    #[test]
    fn a_lost_worker_never_comes_back() {
        let mut liveness = Liveness::default();
        liveness.seen(at(0), "a", 1, worker(1));
        liveness.declare_lost(at(36), "a", false);
        liveness.seen(at(40), "a", 9, worker(1));
        liveness.named(at(41), "a");
        assert!(liveness.live(at(41), CLAIM).is_empty() && liveness.overdue(at(99), CLAIM).is_empty());
    }

    #[test]
    fn a_resting_worker_lives_without_slots() {
        let mut liveness = Liveness::default();
        liveness.seen(at(0), "a", 1, worker(0));
        assert_eq!(liveness.live(at(1), CLAIM), BTreeMap::from([("a".to_owned(), 0)]));
    }

    #[test]
    fn every_worker_is_told_of_as_it_stands_and_a_lost_one_for_an_hour() {
        let resting = worker(0).map(|worker| Worker { resting: Some("hot".into()), ..worker });
        let mut liveness = Liveness::default();
        for (name, record) in [("live", worker(2)), ("resting", resting), ("stopping", worker(0))] {
            liveness.seen(at(60), name, 1, record);
        }
        liveness.seen(at(40), "silent", 1, worker(2));
        liveness.named(at(60), "ghost");
        liveness.seen(at(10), "left", 1, None);
        liveness.seen(at(10), "lost", 1, worker(2));
        liveness.seen(at(10), "lost-ghost", 1, None);
        for (name, holds_builds) in [("left", false), ("lost", false), ("lost-ghost", true)] {
            liveness.declare_lost(at(50), name, holds_builds);
        }
        let told = |now| -> Vec<(String, WorkerState, u64)> {
            liveness.all(now, CLAIM).map(|seen| (seen.name.to_owned(), seen.state, seen.silent.as_secs())).collect()
        };
        let expected = [
            ("ghost", WorkerState::Silent, 0),
            ("live", WorkerState::Live, 0),
            ("resting", WorkerState::Resting, 0),
            ("silent", WorkerState::Silent, 20),
            ("stopping", WorkerState::Stopping, 0),
            ("lost", WorkerState::Lost, 50),
            ("lost-ghost", WorkerState::Lost, 50),
        ];
        assert_eq!(told(at(60)), expected.map(|(name, state, silent)| (name.to_owned(), state, silent)));
        assert_eq!(told(at(50 + 3601)).len(), 5, "lost ones are forgotten");
        liveness.declare_lost(at(50 + 3601), "live", false);
        assert!(liveness.lost.get("lost").is_some_and(|lost| lost.record.is_none()), "and take no room");
    }
}
