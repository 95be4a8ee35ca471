//! What the scheduler knows, and the one step that changes it.

use std::collections::BTreeMap;

use packline_domain::{
    Mode, Timestamp,
    effect::Effect,
    record::{Control, Intention, Key, Permit, Record},
};

use crate::{
    Action, Config, Input, Now, Refusal, Withdrawal, expiry,
    node::Packages,
    permit::Permits,
    protocol::Behinds,
    step::{Decision, Step, event},
    text::counted,
    unstored::Other,
};

/// The queue, the permits, the mode: all that decides what is built next.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub(crate) config: Config,
    pub(crate) control: Control,
    /// Whether `control` is in the bucket.
    pub(crate) stored: bool,
    pub(crate) intention: Option<Intention>,
    pub(crate) packages: Packages,
    pub(crate) permits: Permits,
    /// Workers of earlier releases.
    pub(crate) behind: Behinds,
    /// The highest serial of a build so far.
    pub(crate) serial: u64,
    /// The next place among equals.
    pub(crate) arrival: u64,
    /// The stored side of each record that memory is ahead of.
    pub(crate) unstored: BTreeMap<Key, Other>,
    /// Counts inputs, by which a plan knows whether it is stale.
    pub(crate) version: u64,
}

impl Scheduler {
    /// An empty queue: the first start of all. `serial` is the highest that was given to a build so far;
    /// a term begins with the larger of that and Unix milliseconds.
    pub fn new(config: Config, control: Control, serial: u64) -> Self {
        Self {
            config,
            control,
            stored: false,
            intention: None,
            packages: Packages::default(),
            permits: Permits::default(),
            behind: Behinds::default(),
            serial,
            arrival: 1,
            unstored: BTreeMap::new(),
            version: 0,
        }
    }

    /// Decides what one input means, and remembers it. The actions belong into one commit.
    ///
    /// # Errors
    /// A [`Refusal`] for an input without a rule; nothing is changed then.
    pub fn apply(&mut self, now: &Now, input: Input) -> Result<Vec<Action>, Refusal> {
        self.packages.ripen(now.at);
        let decision = match input {
            Input::PermitSeen { permit, record } => return self.see_permit(now, permit, *record),
            Input::WorkersSeen { live } => {
                self.permits.see_workers(live);
                return Ok(Vec::new());
            }
            Input::WorkersBehind { behind } => {
                self.behind.see(behind);
                return Ok(self.tell_held_back(now).map(Action::Effect).into_iter().collect());
            }
            Input::WorkerLost { worker } => {
                self.permits.lose(worker);
                self.version = self.version.wrapping_add(1);
                return Ok(Vec::new());
            }
            Input::Withdrawn(plan) => return self.withdrawn(plan),
            Input::Started => Step::surely(self, now, Step::started),
            Input::Announced { packages, reported_through, slice } => {
                Step::decide(self, now, |step| step.announced(packages, reported_through, slice))?
            }
            Input::Commanded { command, origin, stream, sequence } => {
                Step::decide(self, now, |step| step.commanded(command, origin, stream, sequence))?
            }
            Input::Continued { limit } => Step::surely(self, now, |step| step.continued(limit)),
            Input::Finished(result) => Step::decide(self, now, |step| step.finished(*result))?,
            Input::Dispatched { limit } => Step::surely(self, now, |step| step.dispatched(limit)),
            Input::TimePassed { limit } => Step::surely(self, now, |step| step.time_passed(limit)),
            Input::Drained => Step::decide(self, now, Step::drained)?,
        };
        let mut actions = decision.actions();
        self.absorb(now, decision);
        actions.extend(self.tell_entangled(now).map(Action::Effect));
        actions.extend(self.tell_held_back(now).map(Action::Effect));
        Ok(actions)
    }

    fn withdrawn(&mut self, plan: Withdrawal) -> Result<Vec<Action>, Refusal> {
        if plan.version != self.version {
            return Err(Refusal::PlanStale);
        }
        self.absorb(&plan.now, plan.decision);
        self.packages.entangled.clear();
        Ok(Vec::new())
    }

    /// The event that names packages which became unresolvable in this step.
    fn tell_entangled(&mut self, now: &Now) -> Option<Effect> {
        let mut names = std::mem::take(&mut self.packages.entangled);
        names.sort_unstable();
        let first = names.first()?;
        let mut way: Vec<String> = self.packages.way_round(first, usize::MAX).iter().map(ToString::to_string).collect();
        way.truncate(10);
        let message = format!(
            "unresolvable: {} each wait for another: {} → {first}; announce one of them with other dependencies",
            counted(names.len(), "package"),
            way.join(" → "),
        );
        Some(event(now, "unresolvable", Some(first), None, None, message))
    }

    /// Whether [`Input::Dispatched`] would start something.
    pub fn can_start(&self) -> bool {
        self.starts_now() && self.permits.room(self.control.max_concurrent) > 0 && self.startable().next().is_some()
    }

    pub(crate) fn starts_now(&self) -> bool {
        match self.control.mode {
            Mode::Running => true,
            Mode::Paused | Mode::Draining | Mode::Drained | Mode::Stopped => false,
        }
    }

    /// The earliest time at which there is something to do without any input: a retry comes due, a build
    /// has had its time, a record is to be forgotten. Feed [`Input::TimePassed`] then, and plan withdrawals.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let retry = self.packages.due.first().map(|(until, _)| *until);
        let build = self.permits.expiring.first().map(|(at, _)| *at);
        let forget = self.packages.settled.first().map(|(announced, _)| announced.after(expiry::KEPT));
        [retry, build, forget].into_iter().flatten().min()
    }

    /// What the worker wrote into its permit is remembered; it is in the bucket already.
    fn see_permit(&mut self, now: &Now, number: u32, seen: Permit) -> Result<Vec<Action>, Refusal> {
        let Some(known) = self.permits.held.get(&number).filter(|known| known.build_id == seen.build_id) else {
            return Ok(Vec::new());
        };
        if let (Some(known), Some(found)) = (&known.worker, &seen.worker)
            && known != found
        {
            return Err(Refusal::PermitContradicts { permit: number, known: known.clone(), found: found.clone() });
        }
        let mut permit = known.clone();
        permit.worker = seen.worker.or(permit.worker);
        permit.integrity = seen.integrity.or(permit.integrity);
        self.permits.set(number, Some(permit), now.at.after(self.config.build_deadline));
        self.version = self.version.wrapping_add(1);
        Ok(Vec::new())
    }

    /// Makes a decision come true in memory.
    pub(crate) fn absorb(&mut self, now: &Now, decision: Decision) {
        self.serial = decision.serial;
        for (key, record) in decision.changes {
            self.keep_stored(&key);
            self.set(&key, record, now.at.after(self.config.build_deadline));
        }
        self.version = self.version.wrapping_add(1);
    }

    /// The only way in which a record changes. A build that is seen to be taken for the first time has until `expiry`.
    pub(crate) fn set(&mut self, key: &Key, record: Option<Record>, expiry: Timestamp) {
        match (key, record) {
            (Key::Control, Some(Record::Control(control))) => {
                self.control = *control;
                self.stored = true;
            }
            (Key::Intention, Some(Record::Intention(intention))) => self.intention = Some(*intention),
            (Key::Intention, _) => self.intention = None,
            (Key::Queue(name), Some(Record::Queue(queue))) => {
                self.arrival = self.arrival.max(queue.arrival.saturating_add(1));
                self.packages.set_queue(name, Some(queue));
            }
            (Key::Queue(name), _) => self.packages.set_queue(name, None),
            (Key::Retries(name), Some(Record::Retries(retries))) => self.packages.set_retries(name, Some(retries)),
            (Key::Retries(name), _) => self.packages.set_retries(name, None),
            (Key::Permit(number), Some(Record::Permit(permit))) => self.permits.set(*number, Some(permit), expiry),
            (Key::Permit(number), _) => self.permits.set(*number, None, expiry),
            (Key::Control | Key::Leader | Key::Effects(_), _) => {}
        }
    }
}
