//! What the records imply of who waits for whom, by walks that keep nothing.

use std::collections::{BTreeMap, BTreeSet};

use packline_domain::{
    PackageName,
    record::{Queue, State},
};

use crate::{
    Scheduler,
    node::{Hold, Node},
    order::waits,
};

/// What the records imply, by name.
pub(super) struct Truth<'a> {
    pub(super) nodes: BTreeMap<&'a PackageName, &'a Node>,
    pub(super) scheduler: &'a Scheduler,
    /// By name, those that wait directly for it, each with whether that only orders.
    pub(super) waiters: BTreeMap<&'a PackageName, BTreeMap<&'a PackageName, bool>>,
    /// Those on a cycle of dependencies.
    pub(super) unresolvable: BTreeSet<&'a PackageName>,
    /// Those on a cycle of both kinds.
    pub(super) circular: BTreeSet<&'a PackageName>,
    /// By waiting package, the priority that counts.
    pub(super) priority: BTreeMap<&'a PackageName, i64>,
}

impl<'a> Truth<'a> {
    pub(super) fn of(scheduler: &'a Scheduler) -> Self {
        let nodes: BTreeMap<_, _> =
            scheduler.packages.ids.iter().map(|(name, id)| (name, scheduler.packages.node(*id))).collect();
        let mut truth = Self {
            nodes,
            scheduler,
            waiters: BTreeMap::new(),
            unresolvable: BTreeSet::new(),
            circular: BTreeSet::new(),
            priority: BTreeMap::new(),
        };
        let mut waiters: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (name, queue) in truth.waiting() {
            for (need, is_order_only) in needs(queue) {
                waiters.entry(need).or_default().insert(name, is_order_only);
            }
        }
        let on_cycle =
            |all| truth.waiting().map(|(name, _)| name).filter(|name| truth.reaches_itself(name, all)).collect();
        (truth.unresolvable, truth.circular) = (on_cycle(false), on_cycle(true));
        truth.waiters = waiters;
        truth.priority = truth.waiting().map(|(name, queue)| (name, truth.inherited(name, queue))).collect();
        truth
    }

    pub(super) fn record(&self, name: &PackageName) -> Option<&'a Queue> {
        self.nodes.get(name)?.queue.as_deref()
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = (&'a PackageName, &'a Queue)> {
        let records = self.nodes.iter().filter_map(|(name, node)| Some((*name, node.queue.as_deref()?)));
        records.filter(|(_, queue)| waits(queue))
    }

    /// Walks every path of waiting packages from here, along dependencies or along all.
    pub(super) fn reaches_itself(&self, name: &PackageName, all: bool) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![name];
        while let Some(at) = open.pop() {
            let Some(queue) = self.record(at).filter(|queue| waits(queue)) else { continue };
            for (need, _) in needs(queue).into_iter().filter(|(_, is_order_only)| all || !is_order_only) {
                if need == name {
                    return true;
                }
                if seen.insert(need) {
                    open.push(need);
                }
            }
        }
        false
    }

    /// The highest priority of all that wait for it, over any number of resolvable steps.
    pub(super) fn inherited(&self, name: &'a PackageName, queue: &Queue) -> i64 {
        let mut highest = queue.package.priority;
        let mut seen = BTreeSet::from([name]);
        let mut open = vec![name];
        while let Some(at) = open.pop() {
            for (waiter, is_order_only) in self.waiters.get(at).into_iter().flatten() {
                if !self.passes_on(waiter, *is_order_only) || !seen.insert(waiter) {
                    continue;
                }
                if let Some(record) = self.record(waiter) {
                    highest = highest.max(record.package.priority);
                    open.push(waiter);
                }
            }
        }
        highest
    }

    pub(super) fn passes_on(&self, waiter: &PackageName, is_order_only: bool) -> bool {
        if is_order_only { !self.circular.contains(waiter) } else { !self.unresolvable.contains(waiter) }
    }

    /// How many packages hold it back.
    pub(super) fn unfinished(&self, queue: &Queue) -> usize {
        let circular = self.circular.contains(&queue.package.name);
        let held_back_by = |(need, is_order_only): &(&PackageName, bool)| match self.hold(need) {
            Hold::Free => false,
            Hold::Coming => !is_order_only || !circular,
            Hold::Stuck => !is_order_only,
        };
        needs(queue).into_iter().filter(held_back_by).count()
    }

    /// Walks along dependencies to one that does not end by itself.
    pub(super) fn hold(&self, name: &PackageName) -> Hold {
        let (mut seen, mut open) = (BTreeSet::from([name]), vec![name]);
        let is_free = |queue: &Queue| matches!(queue.state, State::Published { .. });
        if self.record(name).is_none_or(is_free) {
            return Hold::Free;
        }
        while let Some(at) = open.pop() {
            let Some(queue) = self.record(at) else { continue };
            match queue.state {
                State::Failed { .. } | State::Cancelled { .. } => return Hold::Stuck,
                State::Published { .. } | State::Building { .. } => continue,
                State::Queued | State::Retrying { .. } => {}
            }
            if self.unresolvable.contains(at) {
                return Hold::Stuck;
            }
            open.extend(queue.package.dependencies.iter().filter(|need| seen.insert(need)));
        }
        Hold::Coming
    }
}

/// What it waits for, each once, and whether that only orders.
fn needs(queue: &Queue) -> BTreeMap<&PackageName, bool> {
    let package = &queue.package;
    let after = package.build_after.iter().filter(|name| **name != package.name).map(|name| (name, true));
    // A name that stands in both is a dependency.
    after.chain(package.dependencies.iter().map(|name| (name, false))).collect()
}
