//! A scheduler from the records of the bucket: start and takeover.

use std::collections::BTreeMap;

use packline_domain::{
    PackageName, Timestamp,
    control::MAX_CONCURRENT,
    record::{Control, Intention, Key, Permit, Queue, Record, Retries, State},
};

use crate::{Config, Scheduler};

/// A bucket that no scheduler can have written. Nothing is guessed: a person looks at the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record `{key}` of the bucket orchestrator is impossible: {why}")]
pub struct Impossible {
    /// The key of the record.
    pub key: Key,
    /// What is wrong with it.
    pub why: String,
}

fn impossible(key: Key, why: impl Into<String>) -> Impossible {
    Impossible { key, why: why.into() }
}

/// A scheduler to be, from records that come one by one: by kind, each seen to be what its key says.
#[derive(Debug, Default)]
pub struct Restoring {
    control: Option<Control>,
    intention: Option<Intention>,
    queue: BTreeMap<PackageName, Box<Queue>>,
    retries: BTreeMap<PackageName, Box<Retries>>,
    permits: BTreeMap<u32, Box<Permit>>,
}

impl Scheduler {
    /// From all records of the bucket, in any order; every index is derived. `serial` as in
    /// [`Scheduler::new`]. Times that lie too far ahead are read as the longest pause from now, and builds
    /// under way count as taken now: no clock but this one is trusted.
    ///
    /// # Errors
    /// A record that contradicts its key or another record, by the name of its key.
    pub fn restore(
        config: Config,
        records: impl IntoIterator<Item = (Key, Record)>,
        serial: u64,
        now: Timestamp,
    ) -> Result<Self, Impossible> {
        let mut restoring = Restoring::default();
        for (key, record) in records {
            restoring.put(key, record)?;
        }
        restoring.finish(config, serial, now)
    }

    /// All records as they stand: what the bucket holds when every action is committed.
    pub fn records(&self) -> impl Iterator<Item = (Key, Record)> {
        let control = self.stored.then(|| (Key::Control, Record::Control(Box::new(self.control.clone()))));
        let intention =
            self.intention.iter().map(|record| (Key::Intention, Record::Intention(Box::new(record.clone()))));
        let nodes = || self.packages.ids.values().map(|id| self.packages.node(*id));
        let queue =
            nodes().filter_map(|node| Some((Key::Queue(node.name.clone()), Record::Queue(node.queue.clone()?))));
        let retries =
            nodes().filter_map(|node| Some((Key::Retries(node.name.clone()), Record::Retries(node.retries.clone()?))));
        let permits =
            self.permits.held.iter().map(|(number, permit)| (Key::Permit(*number), Record::Permit(permit.clone())));
        control.into_iter().chain(intention).chain(queue).chain(retries).chain(permits)
    }
}

fn trusted(mut queue: Box<Queue>, latest: Timestamp) -> Box<Queue> {
    queue.queued_at = queue.queued_at.min(latest);
    queue.announced_at = queue.announced_at.min(latest);
    if let State::Retrying { until } = &mut queue.state {
        *until = (*until).min(latest);
    }
    queue
}

impl Restoring {
    /// One record, in the place of an earlier one with the same key.
    ///
    /// # Errors
    /// It contradicts its key.
    pub fn put(&mut self, key: Key, record: Record) -> Result<(), Impossible> {
        match (key, record) {
            (Key::Control, Record::Control(control)) => self.control = Some(*control),
            (Key::Intention, Record::Intention(intention)) => self.intention = Some(*intention),
            (Key::Queue(name), Record::Queue(queue)) => {
                if queue.package.name != name {
                    let why = format!("it is about {}", queue.package.name);
                    return Err(impossible(Key::Queue(name), why));
                }
                self.queue.insert(name, queue);
            }
            (Key::Retries(name), Record::Retries(retries)) => {
                self.retries.insert(name, retries);
            }
            (Key::Permit(number), Record::Permit(permit)) => {
                self.permits.insert(number, permit);
            }
            (key @ (Key::Leader | Key::Effects(_)), _) => {
                return Err(impossible(key, "it is none of the scheduler's"));
            }
            (
                key @ (Key::Control | Key::Intention | Key::Queue(_) | Key::Retries(_) | Key::Permit(_)),
                Record::Control(_) | Record::Intention(_) | Record::Queue(_) | Record::Retries(_) | Record::Permit(_),
            ) => return Err(impossible(key, "its value is of another kind")),
        }
        Ok(())
    }

    /// There is no record with this key after all.
    pub fn remove(&mut self, key: &Key) {
        match key {
            Key::Control => self.control = None,
            Key::Intention => self.intention = None,
            Key::Queue(name) => drop(self.queue.remove(name)),
            Key::Retries(name) => drop(self.retries.remove(name)),
            Key::Permit(number) => drop(self.permits.remove(number)),
            Key::Leader | Key::Effects(_) => {}
        }
    }

    /// Whether anybody has led before: who leads first writes it.
    pub fn has_control(&self) -> bool {
        self.control.is_some()
    }

    /// The scheduler, see [`Scheduler::restore`].
    ///
    /// # Errors
    /// A record that contradicts another one.
    pub fn finish(self, config: Config, serial: u64, now: Timestamp) -> Result<Scheduler, Impossible> {
        self.check()?;
        let control = self.control.ok_or_else(|| impossible(Key::Control, "it is missing, and others are there"))?;
        let latest = now.after(config.retry_max);
        let expiry = now.after(config.build_deadline);
        let mut scheduler = Scheduler::new(config, control, serial);
        scheduler.stored = true;
        scheduler.control.since = scheduler.control.since.min(latest);
        scheduler.intention = self.intention;
        scheduler.arrival = self.queue.values().map(|queue| queue.arrival).max().unwrap_or(0).saturating_add(1);
        scheduler.packages.load(self.queue.into_values().map(|queue| trusted(queue, latest)));
        for (name, mut retries) in self.retries {
            retries.next_attempt_at = retries.next_attempt_at.map(|at| at.min(latest));
            scheduler.packages.set_retries(&name, Some(retries));
        }
        for (number, mut permit) in self.permits {
            permit.granted_at = permit.granted_at.min(latest);
            scheduler.serial = scheduler.serial.max(permit.build_id.serial);
            scheduler.permits.set(number, Some(permit), expiry);
        }
        scheduler.packages.ripen(now);
        Ok(scheduler)
    }

    fn check(&self) -> Result<(), Impossible> {
        if let Some(control) = &self.control
            && !(1..=MAX_CONCURRENT).contains(&control.max_concurrent)
        {
            let why = format!("maxConcurrent is a number from 1 to {MAX_CONCURRENT}, not {}", control.max_concurrent);
            return Err(impossible(Key::Control, why));
        }
        if let Some(name) = self.retries.keys().find(|name| !self.queue.contains_key(*name)) {
            return Err(impossible(Key::Retries(name.clone()), "its package is not in the queue"));
        }
        for (name, queue) in &self.queue {
            self.check_queue(name, queue)?;
        }
        for (number, permit) in &self.permits {
            self.check_permit(*number, permit)?;
        }
        Ok(())
    }

    fn check_queue(&self, name: &PackageName, queue: &Queue) -> Result<(), Impossible> {
        let State::Building { build_id, permit, .. } = &queue.state else { return Ok(()) };
        let refuse = |why: String| Err(impossible(Key::Queue(name.clone()), why));
        match self.permits.get(permit) {
            None => refuse(format!("it is building, and its permit {permit} is not there")),
            Some(held) if held.build_id != *build_id => {
                refuse(format!("it is building as {build_id}, and permit {permit} is that of {}", held.build_id))
            }
            Some(_) => Ok(()),
        }
    }

    fn check_permit(&self, number: u32, permit: &Permit) -> Result<(), Impossible> {
        let refuse = |why: String| Err(impossible(Key::Permit(number), why));
        let name = &permit.package_name;
        if number >= MAX_CONCURRENT {
            return refuse(format!("permits are numbered below {MAX_CONCURRENT}"));
        }
        if permit.build_id.package != *name {
            return refuse(format!("it is for {name}, and its build is {}", permit.build_id));
        }
        if permit.ending.is_some() && permit.worker.is_none() {
            return refuse("it is ending, and no worker has taken it".into());
        }
        match self.queue.get(name).map(|queue| &queue.state) {
            Some(State::Building { permit: held, .. }) if *held == number => Ok(()),
            Some(State::Building { permit: held, .. }) => refuse(format!("{name} holds permit {held} too")),
            Some(
                State::Queued
                | State::Retrying { .. }
                | State::Published { .. }
                | State::Failed { .. }
                | State::Cancelled { .. },
            ) => refuse(format!("{name} is not building")),
            None => refuse(format!("{name} is not in the queue")),
        }
    }
}
