//! Permits: what is handed out, who holds it, and how many more may be.

use std::collections::{BTreeMap, BTreeSet};

use packline_domain::{Timestamp, record::Permit};

/// All permits that stand, and every index over them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permits {
    pub(crate) held: BTreeMap<u32, Box<Permit>>,
    /// Free numbers below `next`.
    pub(crate) holes: BTreeSet<u32>,
    /// The lowest number that was never used.
    pub(crate) next: u32,
    /// Those that no worker has taken.
    pub(crate) untaken: BTreeSet<u32>,
    /// Those that a worker has taken, by worker.
    pub(crate) taken: BTreeMap<String, BTreeSet<u32>>,
    /// Slots of the live workers.
    pub(crate) live: BTreeMap<String, u32>,
    /// Workers that never come back.
    pub(crate) lost: BTreeSet<String>,
    /// Those that a lost worker holds.
    pub(crate) orphaned: BTreeSet<u32>,
    /// Slots of live workers in which nothing is built.
    pub(crate) free_slots: u64,
    /// When each taken permit that is not ending has had its time.
    pub(crate) deadlines: BTreeMap<u32, Timestamp>,
    /// The same, soonest first.
    pub(crate) expiring: BTreeSet<(Timestamp, u32)>,
}

impl Permits {
    /// How many more may be granted under this limit.
    pub(crate) fn room(&self, limit: u32) -> usize {
        let below_limit = (limit as usize).saturating_sub(self.held.len());
        let slots = usize::try_from(self.free_slots).unwrap_or(usize::MAX).saturating_sub(self.untaken.len());
        below_limit.min(slots)
    }

    /// Free numbers, lowest first.
    pub(crate) fn free_numbers(&self) -> impl Iterator<Item = u32> {
        self.holes.iter().copied().chain(self.next..)
    }

    /// Replaces one permit and brings every index up to date. A build that is seen to be taken for the
    /// first time has until `expiry`.
    pub(crate) fn set(&mut self, number: u32, new: Option<Box<Permit>>, expiry: Timestamp) {
        let kept = self.deadlines.remove(&number);
        if let Some(at) = kept {
            self.expiring.remove(&(at, number));
        }
        if let Some(old) = self.held.remove(&number) {
            self.untaken.remove(&number);
            self.orphaned.remove(&number);
            if let Some(worker) = &old.worker {
                self.change_worker(worker, |taken| taken.remove(&number));
            }
            self.holes.insert(number);
        }
        let Some(permit) = new else { return };
        while self.next <= number {
            self.holes.insert(self.next);
            self.next = self.next.saturating_add(1);
        }
        self.holes.remove(&number);
        if let Some(worker) = &permit.worker {
            self.change_worker(worker, |taken| taken.insert(number));
            if self.lost.contains(worker) {
                self.orphaned.insert(number);
            }
            if permit.ending.is_none() {
                let at = kept.unwrap_or(expiry);
                self.deadlines.insert(number, at);
                self.expiring.insert((at, number));
            }
        } else {
            self.untaken.insert(number);
        }
        self.held.insert(number, permit);
    }

    /// Changes what a worker has taken, and with it how many of its slots are free.
    fn change_worker(&mut self, worker: &str, change: impl FnOnce(&mut BTreeSet<u32>) -> bool) {
        let before = self.free_of(worker);
        let taken = self.taken.entry(worker.to_owned()).or_default();
        change(taken);
        if taken.is_empty() {
            self.taken.remove(worker);
        }
        self.free_slots = self.free_slots.saturating_sub(before).saturating_add(self.free_of(worker));
    }

    fn free_of(&self, worker: &str) -> u64 {
        let slots = self.live.get(worker).copied().unwrap_or(0) as usize;
        let taken = self.taken.get(worker).map_or(0, BTreeSet::len);
        slots.saturating_sub(taken) as u64
    }

    /// The live workers are these.
    pub(crate) fn see_workers(&mut self, live: BTreeMap<String, u32>) {
        self.live = live;
        self.live.retain(|worker, _| !self.lost.contains(worker));
        self.free_slots = self.live.keys().map(|worker| self.free_of(worker)).sum();
    }

    /// This worker is lost.
    pub(crate) fn lose(&mut self, worker: String) {
        let free = self.free_of(&worker);
        self.live.remove(&worker);
        self.free_slots = self.free_slots.saturating_sub(free);
        if let Some(taken) = self.taken.get(&worker) {
            self.orphaned.extend(taken);
        }
        self.lost.insert(worker);
    }
}
