//! What must always hold. Every index is computed anew from the records, by other means than the
//! scheduler's own, and compared. Slow; for tests and for doubts.

mod truth;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use packline_domain::{
    Command, Mode, PackageName,
    control::LastControl,
    record::{Intended, Intention, Queue, State},
};

use crate::{
    Counts, Scheduler, Standing,
    forecast::own_past,
    node::{NOTHING, is_private},
    order::{Rank, waits},
};

use truth::Truth;

/// Checks everything that one state says about itself.
///
/// # Errors
/// One line that says what does not hold.
pub fn check(scheduler: &Scheduler) -> Result<(), String> {
    let truth = Truth::of(scheduler);
    truth.names(scheduler)?;
    truth.edges()?;
    truth.standings(scheduler)?;
    truth.rows(scheduler)?;
    builds(scheduler)?;
    permits(scheduler)?;
    modes(scheduler)
}

/// What one step may not undo.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    serial: u64,
    arrival: u64,
    permits: usize,
}

impl Mark {
    /// Of the state before a step.
    pub fn of(scheduler: &Scheduler) -> Self {
        let permits = scheduler.permits.held.len();
        Self { serial: scheduler.serial, arrival: scheduler.arrival, permits }
    }

    /// Checks the state after the step: serials only grow, and no permit is granted beyond the limit.
    ///
    /// # Errors
    /// One line that says what does not hold.
    pub fn check(self, after: &Scheduler) -> Result<(), String> {
        ensure(after.serial >= self.serial, || format!("the serial fell from {} to {}", self.serial, after.serial))?;
        ensure(after.arrival >= self.arrival, || format!("arrivals fell from {}", self.arrival))?;
        let (held, limit) = (after.permits.held.len(), after.control.max_concurrent as usize);
        ensure(held <= limit.max(self.permits), || format!("{held} permits at a limit of {limit}"))?;
        let granted = held > self.permits;
        let used: u64 = after.permits.untaken.len() as u64;
        ensure(!granted || used <= after.permits.free_slots, || {
            format!("{used} orders for {} free slots of live workers", after.permits.free_slots)
        })
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn same<T: PartialEq + std::fmt::Debug>(what: impl std::fmt::Display, index: &T, records: &T) -> Result<(), String> {
    ensure(index == records, || format!("{what}: the index says {index:?}, the records say {records:?}"))
}

impl<'a> Truth<'a> {
    fn names(&self, scheduler: &Scheduler) -> Result<(), String> {
        let packages = &scheduler.packages;
        same("nodes in use", &(packages.nodes.len() - packages.free.len()), &self.nodes.len())?;
        for (name, node) in &self.nodes {
            ensure(node.name == **name, || format!("{name} is filed as {}", node.name))?;
            let wanted = self.waiters.contains_key(name);
            ensure(node.queue.is_some() || wanted, || format!("{name} is kept for nothing"))?;
            if let Some(queue) = &node.queue {
                ensure(queue.package.name == **name, || format!("{name} holds {}", queue.package.name))?;
                ensure(queue.arrival < scheduler.arrival, || format!("{name} arrived at a time to come"))?;
            } else {
                ensure(node.retries.is_none(), || format!("{name} has retries and is not in the queue"))?;
            }
        }
        Ok(())
    }

    fn edges(&self) -> Result<(), String> {
        for (name, node) in &self.nodes {
            let index: BTreeMap<&PackageName, i64> = node
                .waiters
                .iter()
                .map(|(passed, waiter)| (&self.scheduler.packages.node(*waiter).name, *passed))
                .collect();
            same(format_args!("number of waiters of {name}"), &node.waiters.len(), &index.len())?;
            let passes = |(waiter, is_order_only): (&&'a PackageName, &bool)| {
                let passes_on = self.passes_on(waiter, *is_order_only);
                let priority = self.priority.get(waiter).copied().filter(|_| passes_on);
                (*waiter, priority.unwrap_or(NOTHING))
            };
            let records: BTreeMap<&PackageName, i64> =
                self.waiters.get(name).into_iter().flatten().map(passes).collect();
            same(format_args!("waiters of {name}"), &index, &records)?;
        }
        Ok(())
    }

    fn standings(&self, scheduler: &Scheduler) -> Result<(), String> {
        let mut counts = Counts::default();
        for (name, node) in &self.nodes {
            let truth = node.queue.as_deref().map(|queue| self.stands(name, queue, node.ripe));
            same(format_args!("standing of {name}"), &node.standing, &truth)?;
            if let Some(standing) = truth {
                *counts.of(standing) += 1;
            }
            counts.private += usize::from(is_private(node.queue.as_deref()));
            same(format_args!("how {name} stands in the way"), &node.hold, &self.hold(name))?;
            if let Some(queue) = node.queue.as_deref().filter(|queue| waits(queue)) {
                same(
                    format_args!("dependencies that hold {name} back"),
                    &(node.unfinished as usize),
                    &self.unfinished(queue),
                )?;
            }
            let retrying = node.queue.as_deref().is_some_and(|queue| until(queue).is_some());
            ensure(retrying || !node.ripe, || format!("{name} is ripe and not retrying"))?;
        }
        same("counts", &scheduler.packages.counts, &counts)?;
        let pasts = self.nodes.values().filter_map(|node| {
            let past = node.retries.as_deref().and_then(own_past)?;
            Some((node.standing, past))
        });
        scheduler.packages.forecast.says(&pasts.collect::<Vec<_>>())
    }

    fn stands(&self, name: &PackageName, queue: &Queue, ripe: bool) -> Standing {
        match queue.state {
            State::Building { .. } => Standing::Building,
            State::Published { .. } => Standing::Published,
            State::Failed { .. } => Standing::Failed,
            State::Cancelled { .. } => Standing::Cancelled,
            State::Queued | State::Retrying { .. } => {
                let pauses = until(queue).is_some() && !ripe;
                match (self.unresolvable.contains(name), pauses, self.unfinished(queue)) {
                    (true, _, _) => Standing::Unresolvable,
                    (false, true, _) => Standing::Retrying,
                    (false, false, 0) => Standing::Ready,
                    (false, false, _) => Standing::Blocked,
                }
            }
        }
    }

    fn rows(&self, scheduler: &Scheduler) -> Result<(), String> {
        let packages = &scheduler.packages;
        let (mut ready, mut later) = (BTreeSet::new(), BTreeSet::new());
        for (name, queue) in self.waiting() {
            let Some(id) = packages.ids.get(name) else { continue };
            let waiters = self.waiters.get(name).map_or(0, BTreeMap::len);
            let rank = Rank {
                priority: Reverse(self.priority.get(name).copied().unwrap_or(NOTHING)),
                waiters: Reverse(u32::try_from(waiters).unwrap_or(u32::MAX)),
                arrival: queue.arrival,
                id: *id,
            };
            let is_ready = self.nodes.get(name).is_some_and(|node| node.standing == Some(Standing::Ready));
            if is_ready {
                ready.insert(rank)
            } else {
                later.insert(rank)
            };
        }
        same("ready", &packages.ready, &ready)?;
        same("later", &packages.later, &later)?;
        let (mut due, mut settled, mut failed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (name, node) in &self.nodes {
            let (name, Some(queue)) = ((*name).clone(), node.queue.as_deref()) else { continue };
            match queue.state {
                State::Retrying { until } => !node.ripe && due.insert((until, name)),
                State::Published { .. } | State::Cancelled { .. } => settled.insert((queue.announced_at, name)),
                State::Failed { .. } => failed.insert(name),
                State::Queued | State::Building { .. } => false,
            };
        }
        same("retries to come", &packages.due, &due)?;
        same("last words", &packages.settled, &settled)?;
        same("failed", &packages.failed, &failed)
    }
}

fn until(queue: &Queue) -> Option<packline_domain::Timestamp> {
    match queue.state {
        State::Retrying { until } => Some(until),
        State::Queued
        | State::Building { .. }
        | State::Published { .. }
        | State::Failed { .. }
        | State::Cancelled { .. } => None,
    }
}

/// Each building package holds exactly one permit, and each permit belongs to exactly one such package.
fn builds(scheduler: &Scheduler) -> Result<(), String> {
    let mut holders = BTreeSet::new();
    for (number, permit) in scheduler.permits() {
        let name = &permit.package_name;
        ensure(permit.build_id.package == *name, || format!("permit {number} of {name} is for {}", permit.build_id))?;
        ensure(holders.insert(name), || format!("{name} holds two permits"))?;
        ensure(permit.build_id.serial <= scheduler.serial, || format!("{} is from a time to come", permit.build_id))?;
        ensure(permit.ending.is_none() || permit.worker.is_some(), || {
            format!("permit {number} is ending and no worker has taken it")
        })?;
        let held = scheduler.package(name).map(|queue| &queue.state);
        let fits = match held {
            Some(State::Building { build_id, permit: own, .. }) => *build_id == permit.build_id && *own == number,
            Some(
                State::Queued
                | State::Retrying { .. }
                | State::Published { .. }
                | State::Failed { .. }
                | State::Cancelled { .. },
            )
            | None => false,
        };
        ensure(fits, || format!("permit {number} is that of {name}, which is {held:?}"))?;
    }
    same("building packages", &scheduler.packages.counts.building, &holders.len())
}

fn permits(scheduler: &Scheduler) -> Result<(), String> {
    let permits = &scheduler.permits;
    let (mut untaken, mut orphaned, mut timed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut taken: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for (number, permit) in scheduler.permits() {
        let Some(worker) = &permit.worker else {
            untaken.insert(number);
            continue;
        };
        taken.entry(worker.clone()).or_default().insert(number);
        if permits.lost.contains(worker) {
            orphaned.insert(number);
        }
        if permit.ending.is_none() {
            timed.insert(number);
        }
    }
    let free = permits
        .live
        .iter()
        .map(|(worker, slots)| (*slots as usize).saturating_sub(taken.get(worker).map_or(0, BTreeSet::len)) as u64);
    same("free slots", &permits.free_slots, &free.sum())?;
    same("untaken permits", &permits.untaken, &untaken)?;
    same("permits by worker", &permits.taken, &taken)?;
    same("permits of lost workers", &permits.orphaned, &orphaned)?;
    same("builds with a deadline", &permits.deadlines.keys().copied().collect(), &timed)?;
    let expiring: BTreeSet<_> = permits.deadlines.iter().map(|(number, at)| (*at, *number)).collect();
    same("deadlines", &permits.expiring, &expiring)?;
    let holes: BTreeSet<u32> = (0..permits.next).filter(|number| !permits.held.contains_key(number)).collect();
    same("free numbers", &permits.holes, &holes)?;
    ensure(permits.held.keys().all(|number| *number < permits.next), || "a permit above all numbers".to_owned())?;
    ensure(permits.live.keys().all(|worker| !permits.lost.contains(worker)), || "a lost worker lives".to_owned())
}

fn modes(scheduler: &Scheduler) -> Result<(), String> {
    let control = &scheduler.control;
    let (untaken, held) = (scheduler.permits.untaken.len(), scheduler.permits.held.len());
    let standing = scheduler.intention.as_ref().and_then(|intention| match &intention.what {
        Intended::Control { command, .. } => Some(command),
        Intended::Announce { .. } => None,
    });
    let of_mode = match standing {
        Some(Command::Pause | Command::Drain | Command::EmergencyStop) => true,
        Some(
            Command::Resume
            | Command::AdjustConcurrency { .. }
            | Command::Cancel { .. }
            | Command::Requeue { .. }
            | Command::RequeueFailed
            | Command::Poll,
        )
        | None => false,
    };
    same("whether the mode is complete", &control.complete, &!of_mode)?;
    let last_complete = control.last.as_ref().is_none_or(|last| last.complete);
    let worked_off = |last: &LastControl| {
        let mut all = scheduler.intention.iter().flat_map(Intention::all);
        all.any(|one| matches!(one.what, Intended::Control { .. }) && one.sequence == last.sequence)
    };
    same("whether the last command is complete", &last_complete, &!control.last.as_ref().is_some_and(worked_off))?;
    intentions(scheduler)?;
    let fits = match control.mode {
        Mode::Running => true,
        Mode::Paused | Mode::Draining => !control.complete || untaken == 0,
        Mode::Drained => held == 0,
        Mode::Stopped => !control.complete || scheduler.permits.held.values().all(|permit| permit.ending.is_some()),
    };
    ensure(fits, || format!("{held} permits, {untaken} of them not taken, while {:?} and complete", control.mode))
}

/// What stands interrupted is flat, each of its kind once, and withdraws nothing: that is not interrupted.
fn intentions(scheduler: &Scheduler) -> Result<(), String> {
    let Some(first) = &scheduler.intention else { return Ok(()) };
    for (at, one) in first.all().enumerate() {
        ensure(at == 0 || (!one.withdraws() && one.interrupted.is_empty()), || format!("interrupted is {one:?}"))?;
    }
    let announcements = first.all().filter(|one| matches!(one.what, Intended::Announce { .. })).count();
    let requeues = first.all().filter(|one| !one.withdraws()).count() - announcements;
    ensure(announcements <= 1 && requeues <= 1, || format!("{announcements} announcements and {requeues} requeues"))
}
