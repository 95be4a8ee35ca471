//! Withdrawing permits: planned first, and remembered only when committed.
//!
//! A worker may change its permit at any time, so each change that the leader makes to a permit relies
//! on what it knew of it. A plan names that; the broker checks it; a plan that lost the race is dropped
//! without a trace.

use std::collections::{BTreeMap, BTreeSet};

use packline_domain::{
    Command, StatusKind,
    record::{Ending, Intended, Key, Permit, Queue, State},
};

use crate::{
    Action, Now, Scheduler,
    finish::End,
    step::{About, Decision, Step},
    text::{by, cancelled, spoken},
};

/// A commit that withdraws permits, not remembered until [`crate::Input::Withdrawn`] says that it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Withdrawal {
    pub(crate) version: u64,
    pub(crate) now: Now,
    pub(crate) decision: Decision,
    relies_on: BTreeMap<u32, Permit>,
}

impl Withdrawal {
    /// What to commit, all of it together.
    pub fn actions(&self) -> Vec<Action> {
        self.decision.actions()
    }

    /// Each permit that this changes, as it must still stand: the commit carries the revision of that record.
    pub fn relies_on(&self) -> &BTreeMap<u32, Permit> {
        &self.relies_on
    }
}

impl Scheduler {
    /// What is to be withdrawn now, at most `limit` permits: those of lost workers, those whose build has
    /// had its time, those that the standing intention means. None when there is nothing of the kind.
    ///
    /// Commit its actions, with the revision of each permit that it relies on, and feed
    /// [`crate::Input::Withdrawn`] when that is confirmed, nothing else in between. If a permit has
    /// changed, feed [`crate::Input::PermitSeen`] for all of them and plan anew.
    pub fn plan_withdrawal(&self, now: &Now, limit: usize) -> Option<Withdrawal> {
        let limit = limit.max(1);
        let mut step = Step::new(self, now);
        let mut touched = BTreeSet::new();
        let mut complete = false;
        for number in self.permits.orphaned.iter().take(limit) {
            step.lose(*number);
            touched.insert(*number);
        }
        if let Some((command, ending)) = self.withdraws(&step) {
            let room = limit.saturating_sub(touched.len());
            let mut meant = self.meant(&step, &command).into_iter().filter(|number| !touched.contains(number));
            let chosen: Vec<u32> = meant.by_ref().take(room).collect();
            if meant.next().is_none() {
                complete = true;
            }
            for number in chosen {
                step.withdraw(number, ending.clone());
                touched.insert(number);
            }
            if complete {
                step.complete_withdrawal(&command);
            }
        }
        let room = limit.saturating_sub(touched.len());
        let expired = self.permits.expiring.iter().take_while(|(at, _)| *at <= now.at);
        let expired: Vec<u32> =
            expired.map(|(_, number)| *number).filter(|number| !touched.contains(number)).take(room).collect();
        for number in expired {
            step.mark(number, Ending::Deadline);
            touched.insert(number);
        }
        if touched.is_empty() && !complete {
            return None;
        }
        let relies_on = touched.into_iter().filter_map(|n| Some((n, (**self.permits.held.get(&n)?).clone()))).collect();
        Some(Withdrawal { version: self.version, now: *now, decision: step.done(), relies_on })
    }

    /// The standing command that withdraws, and the mark that it leaves on a build under way.
    fn withdraws(&self, step: &Step<'_>) -> Option<(Command, Ending)> {
        match &step.intention()?.what {
            Intended::Announce { .. } => None,
            Intended::Control { command, origin, .. } => match command {
                Command::Pause | Command::Drain | Command::EmergencyStop => Some((command.clone(), Ending::Stop)),
                Command::Cancel { .. } => Some((command.clone(), Ending::Cancel(origin.clone()))),
                Command::Resume
                | Command::AdjustConcurrency { .. }
                | Command::Requeue { .. }
                | Command::RequeueFailed
                | Command::Poll => None,
            },
        }
    }

    /// The permits that a command means and that are not withdrawn yet, lowest number first.
    fn meant(&self, step: &Step<'_>, command: &Command) -> Vec<u32> {
        match command {
            Command::Pause | Command::Drain => self.permits.untaken.iter().copied().collect(),
            Command::EmergencyStop => {
                let open = self.permits.held.iter().filter(|(_, permit)| permit.ending.is_none());
                open.map(|(number, _)| *number).collect()
            }
            Command::Cancel { package_name } => {
                let queue = step.queue(package_name).filter(|queue| step.cancel_pending(queue).is_some());
                queue.and_then(building).into_iter().collect()
            }
            Command::Resume
            | Command::AdjustConcurrency { .. }
            | Command::Requeue { .. }
            | Command::RequeueFailed
            | Command::Poll => Vec::new(),
        }
    }
}

/// The permit of a package that holds one.
fn building(queue: &Queue) -> Option<u32> {
    match queue.state {
        State::Building { permit, .. } => Some(permit),
        State::Queued
        | State::Retrying { .. }
        | State::Published { .. }
        | State::Failed { .. }
        | State::Cancelled { .. } => None,
    }
}

impl Step<'_> {
    /// The worker of this permit is lost.
    fn lose(&mut self, number: u32) {
        if let Some(permit) = self.permit(number).cloned() {
            let worker = permit.worker.clone();
            self.end(number, permit, End::lost(worker));
        }
    }

    /// Withdraws a permit: at once where no worker has taken it, else its worker is told to end the build.
    fn withdraw(&mut self, number: u32, ending: Ending) {
        match self.permit(number) {
            Some(permit) if permit.worker.is_none() => self.take_back(number, permit.clone(), ending),
            Some(_) => self.mark(number, ending),
            None => {}
        }
    }

    /// Tells the worker of a build to end it. The permit counts as held until the worker says that it has.
    fn mark(&mut self, number: u32, ending: Ending) {
        let Some(mut permit) = self.permit(number).cloned() else { return };
        let Some(worker) = permit.worker.clone() else { return };
        let name = permit.package_name.clone();
        let why = match &ending {
            Ending::Stop => "emergency stop".to_owned(),
            Ending::Cancel(origin) => format!("cancelled{}", by(origin)),
            Ending::Deadline => format!("longer than {}", spoken(self.state.config.build_deadline)),
        };
        if let (Ending::Cancel(_), Some(queue)) = (&ending, self.queue(&name).cloned()) {
            // Its commit says what was announced before the cancel, and what after it.
            self.put_queue(queue);
        }
        let message = format!("ending the build of {name} on {worker}: {why}");
        self.tell("ending", &name, Some(&permit.build_id), message);
        self.wake(&worker);
        permit.ending = Some(ending);
        self.put_permit(number, permit);
    }

    /// An order that no worker has taken is void, and its attempt unspent.
    fn take_back(&mut self, number: u32, permit: Permit, ending: Ending) {
        self.delete(Key::Permit(number));
        let name = permit.package_name.clone();
        let Some(mut queue) = self.queue(&name).cloned() else { return };
        let spent = self.retries(&name).map_or(0, |retries| retries.failures);
        let again = match queue.state {
            State::Building { again, .. } => again,
            State::Queued
            | State::Retrying { .. }
            | State::Published { .. }
            | State::Failed { .. }
            | State::Cancelled { .. } => false,
        };
        let build_id = permit.build_id;
        match ending {
            Ending::Cancel(origin) => {
                let reason = cancelled(&origin);
                let about = About { build_id: Some(&build_id), error: Some(&reason), ..About::default() };
                self.report(&mut queue, StatusKind::Cancelled, spent, about);
                queue.state = State::Cancelled { origin };
                self.put_queue(queue);
                self.tell("cancelled", &name, Some(&build_id), format!("{reason}: {name}"));
            }
            Ending::Stop | Ending::Deadline => {
                self.report(&mut queue, StatusKind::Queued, spent, About::build(&build_id));
                if again {
                    self.queue_afresh(queue);
                } else {
                    queue.state = State::Queued;
                    self.put_queue(queue);
                }
                let message = format!("returned {name}: withdrawn before a worker took it; queued again");
                self.tell("returned", &name, Some(&build_id), message);
            }
        }
    }

    fn complete_withdrawal(&mut self, command: &Command) {
        self.command = self.intention().map(|intention| intention.sequence);
        self.complete(command);
        let origin = self.control().last.as_ref().map(|last| last.origin.clone()).unwrap_or_default();
        let (about, message) = match command {
            Command::Pause => (None, "pause is complete: nothing more is handed out".to_owned()),
            Command::Drain => (None, "drain has begun: only builds under way are left".to_owned()),
            Command::EmergencyStop => (None, "emergency stop is complete: every worker was told".to_owned()),
            Command::Cancel { package_name } => (Some(package_name), format!("cancel of {package_name} is complete")),
            Command::Resume
            | Command::AdjustConcurrency { .. }
            | Command::Requeue { .. }
            | Command::RequeueFailed
            | Command::Poll => return,
        };
        self.tell_command("withdrawn", about, &origin, message);
    }
}
