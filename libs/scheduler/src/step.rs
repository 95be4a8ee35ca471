//! One decision in the making: it reads the state as it will be, and changes nothing yet.

use std::collections::BTreeMap;

use packline_domain::{
    BuildId, Command, PackageName, PackageStatus, SCHEMA, StatusKind,
    control::Origin,
    effect::{Effect, Event},
    phase::Tests,
    record::{Control, Intended, Intention, Key, Permit, Queue, Record, Retries, State},
};

use crate::{Action, Now, Refusal, Scheduler};

/// What a step came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// The new value of each record that changed; none where it is deleted.
    pub(crate) changes: BTreeMap<Key, Option<Record>>,
    /// What these imply, in order.
    pub(crate) effects: Vec<Effect>,
    /// The highest serial of a build.
    pub(crate) serial: u64,
}

impl Decision {
    pub(crate) fn actions(&self) -> Vec<Action> {
        let records = self.changes.iter().map(|(key, record)| match record {
            Some(record) => Action::Put(key.clone(), record.clone()),
            None => Action::Delete(key.clone()),
        });
        records.chain(self.effects.iter().cloned().map(Action::Effect)).collect()
    }
}

/// The state with the changes of one decision laid over it.
pub(crate) struct Step<'a> {
    pub(crate) state: &'a Scheduler,
    pub(crate) now: &'a Now,
    changes: BTreeMap<Key, Option<Record>>,
    effects: Vec<Effect>,
    pub(crate) serial: u64,
    arrival: u64,
    /// Sequence of the command that is being worked off.
    pub(crate) command: Option<u64>,
    /// What that command does, where its event says more.
    pub(crate) effect: Option<String>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(state: &'a Scheduler, now: &'a Now) -> Self {
        Self {
            state,
            now,
            changes: BTreeMap::new(),
            effects: Vec::new(),
            serial: state.serial,
            arrival: state.arrival,
            command: None,
            effect: None,
        }
    }

    /// Runs one rule to its decision.
    pub(crate) fn decide(
        state: &'a Scheduler,
        now: &'a Now,
        rule: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<Decision, Refusal> {
        let mut step = Self::new(state, now);
        rule(&mut step)?;
        Ok(step.done())
    }

    /// The same for a rule that refuses nothing.
    pub(crate) fn surely(state: &'a Scheduler, now: &'a Now, rule: impl FnOnce(&mut Self)) -> Decision {
        let mut step = Self::new(state, now);
        rule(&mut step);
        step.done()
    }

    pub(crate) fn done(mut self) -> Decision {
        let intention_stood = self.state.intention.is_some();
        self.changes.retain(|key, record| record.is_some() || *key != Key::Intention || intention_stood);
        Decision { changes: self.changes, effects: self.effects, serial: self.serial }
    }

    pub(crate) fn has_effect(&self, effect: &Effect) -> bool {
        self.effects.contains(effect)
    }

    pub(crate) fn queue(&self, name: &PackageName) -> Option<&Queue> {
        match self.changes.get(&Key::Queue(name.clone())) {
            Some(Some(Record::Queue(queue))) => Some(queue),
            Some(_) => None,
            None => self.state.packages.find(name)?.queue.as_deref(),
        }
    }

    pub(crate) fn retries(&self, name: &PackageName) -> Option<&Retries> {
        match self.changes.get(&Key::Retries(name.clone())) {
            Some(Some(Record::Retries(retries))) => Some(retries),
            Some(_) => None,
            None => self.state.packages.find(name)?.retries.as_deref(),
        }
    }

    pub(crate) fn permit(&self, number: u32) -> Option<&Permit> {
        match self.changes.get(&Key::Permit(number)) {
            Some(Some(Record::Permit(permit))) => Some(permit),
            Some(_) => None,
            None => self.state.permits.held.get(&number).map(|permit| &**permit),
        }
    }

    pub(crate) fn control(&self) -> &Control {
        match self.changes.get(&Key::Control) {
            Some(Some(Record::Control(control))) => control,
            Some(_) | None => &self.state.control,
        }
    }

    pub(crate) fn intention(&self) -> Option<&Intention> {
        match self.changes.get(&Key::Intention) {
            Some(Some(Record::Intention(intention))) => Some(intention),
            Some(_) => None,
            None => self.state.intention.as_ref(),
        }
    }

    pub(crate) fn put_queue(&mut self, mut queue: Queue) {
        queue.commit = self.now.commit;
        self.changes.insert(Key::Queue(queue.package.name.clone()), Some(Record::Queue(Box::new(queue))));
    }

    pub(crate) fn put_retries(&mut self, name: &PackageName, retries: Retries) {
        self.changes.insert(Key::Retries(name.clone()), Some(Record::Retries(Box::new(retries))));
    }

    pub(crate) fn put_permit(&mut self, number: u32, permit: Permit) {
        self.changes.insert(Key::Permit(number), Some(Record::Permit(Box::new(permit))));
    }

    pub(crate) fn put_control(&mut self, control: Control) {
        self.changes.insert(Key::Control, Some(Record::Control(Box::new(control))));
    }

    pub(crate) fn put_intention(&mut self, intention: Intention) {
        self.changes.insert(Key::Intention, Some(Record::Intention(Box::new(intention))));
    }

    pub(crate) fn delete(&mut self, key: Key) {
        self.changes.insert(key, None);
    }

    /// The next place among equals.
    pub(crate) fn arrive(&mut self) -> u64 {
        let arrival = self.arrival;
        self.arrival = self.arrival.saturating_add(1);
        arrival
    }

    /// Queues a package afresh: at the end of its equals, with all its attempts.
    pub(crate) fn queue_afresh(&mut self, mut queue: Queue) {
        self.renew_attempts(&queue.package.name.clone());
        queue.state = State::Queued;
        queue.arrival = self.arrive();
        queue.queued_at = self.now.at;
        self.put_queue(queue);
    }

    /// Gives a package all its attempts; what was perhaps published is still remembered.
    pub(crate) fn renew_attempts(&mut self, name: &PackageName) {
        let Some(mut retries) = self.retries(name).cloned() else { return };
        let spent = retries.failures > 0 || retries.lost > 0 || retries.infrastructure > 0;
        if spent || retries.next_attempt_at.is_some() {
            retries.failures = 0;
            retries.lost = 0;
            retries.infrastructure = 0;
            retries.next_attempt_at = None;
            self.put_retries(name, retries);
        }
    }

    /// Whether this package is to be cancelled by a command that is not worked off yet.
    pub(crate) fn cancel_pending(&self, queue: &Queue) -> Option<Origin> {
        let intention = self.intention()?;
        match &intention.what {
            Intended::Control { command: Command::Cancel { package_name }, origin, .. }
                if *package_name == queue.package.name && queue.commit <= intention.commit =>
            {
                Some(origin.clone())
            }
            Intended::Control { .. } | Intended::Announce { .. } => None,
        }
    }

    pub(crate) fn wake(&mut self, worker: &str) {
        let wake = Effect::Wake(worker.to_owned());
        if !self.has_effect(&wake) {
            self.effects.push(wake);
        }
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Reports a package; its record is to be written in the same step.
    pub(crate) fn report(&mut self, queue: &mut Queue, status: StatusKind, attempts: u32, about: About<'_>) {
        queue.status_commit = self.now.commit;
        self.effects.push(Effect::Status(Box::new(PackageStatus {
            schema: SCHEMA,
            package_name: queue.package.name.clone(),
            id: queue.package.id.clone(),
            status,
            error: about.error.map(ToOwned::to_owned),
            failed_phase: about.failed_phase.map(ToOwned::to_owned),
            attempts,
            build_id: about.build_id.cloned(),
            version: about.version.map(ToOwned::to_owned),
            private: about.private,
            tests: about.tests,
            commit: self.now.commit,
        })));
    }

    pub(crate) fn tell(&mut self, kind: &str, about: &PackageName, build_id: Option<&BuildId>, message: String) {
        self.effects.push(event(self.now, kind, Some(about), build_id, None, message));
    }

    /// What a build that ended as published has come to.
    pub(crate) fn tell_built(&mut self, kind: &str, build_id: &BuildId, private: bool, message: String) {
        let mut told = event(self.now, kind, Some(&build_id.package), Some(build_id), None, message);
        if let Effect::Event(event) = &mut told {
            event.private = private;
        }
        self.effects.push(told);
    }

    /// What the command that is being worked off has told in this step.
    pub(crate) fn told(&self) -> Option<&Event> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Event(event) if self.command.is_some() && event.command == self.command => Some(&**event),
            Effect::Order(_) | Effect::Status(_) | Effect::Event(_) | Effect::Wake(_) => None,
        })
    }

    pub(crate) fn tell_command(&mut self, kind: &str, about: Option<&PackageName>, origin: &Origin, message: String) {
        let mut told = event(self.now, kind, about, None, Some(origin), message);
        if let Effect::Event(event) = &mut told {
            event.command = self.command;
        }
        self.effects.push(told);
    }
}

/// What a status is about besides its package.
#[derive(Clone, Copy, Default)]
pub(crate) struct About<'a> {
    pub(crate) build_id: Option<&'a BuildId>,
    pub(crate) error: Option<&'a str>,
    pub(crate) failed_phase: Option<&'a str>,
    pub(crate) version: Option<&'a str>,
    pub(crate) private: bool,
    pub(crate) tests: Option<Tests>,
}

impl<'a> About<'a> {
    pub(crate) fn build(build_id: &'a BuildId) -> Self {
        Self { build_id: Some(build_id), ..Self::default() }
    }
}

/// One fact, in one line for people.
pub(crate) fn event(
    now: &Now,
    kind: &str,
    about: Option<&PackageName>,
    build_id: Option<&BuildId>,
    origin: Option<&Origin>,
    message: String,
) -> Effect {
    Effect::Event(Box::new(Event {
        package_name: about.cloned(),
        build_id: build_id.cloned(),
        by: origin.and_then(|origin| origin.by.clone()),
        ..Event::new(kind, now.at, now.commit, message)
    }))
}
