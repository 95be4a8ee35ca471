//! What a command does at once, and what it leaves as an intention.

use std::ops::Bound;

use packline_domain::{
    Command, Event, Mode, PackageName, SCHEMA, StatusKind,
    control::{LastControl, MAX_CONCURRENT, Origin},
    record::{Ending, Intended, Intention, State},
};

use crate::{
    Refusal,
    step::{About, Step},
    text::{by, cancelled, counted, published},
};

/// The most packages that a command queues afresh in the commit of its own.
const AT_ONCE: usize = 100;

/// How far a command has come in the step that it was given in.
enum Course {
    /// It is done, or changes nothing.
    Complete,
    /// Permits are to be withdrawn, or records to be touched after this one.
    Remains { done: Option<PackageName>, changed: usize },
}

impl Course {
    fn of(remaining: usize) -> Self {
        if remaining == 0 { Self::Complete } else { Self::Remains { done: None, changed: 0 } }
    }
}

/// Whether a mode may follow from a command in another mode.
fn follows(wanted: Mode, present: Mode) -> bool {
    match present {
        Mode::Running | Mode::Paused | Mode::Draining => true,
        Mode::Drained => wanted != Mode::Draining,
        Mode::Stopped => match wanted {
            Mode::Running | Mode::Stopped => true,
            Mode::Paused | Mode::Draining | Mode::Drained => false,
        },
    }
}

impl Step<'_> {
    pub(crate) fn commanded(
        &mut self,
        command: Command,
        origin: Origin,
        stream: String,
        sequence: u64,
    ) -> Result<(), Refusal> {
        if let Some(Intention { stream, sequence, .. }) = self.intention().filter(|standing| standing.withdraws()) {
            return Err(Refusal::Busy { stream: stream.clone(), sequence: *sequence });
        }
        if command == Command::RequeueFailed {
            self.give_way(&origin);
        }
        self.command = Some(sequence);
        let course = match &command {
            Command::Poll => return Ok(()),
            Command::Resume => self.resume(&origin),
            Command::Pause => self.change_mode(Mode::Paused, "pause", &origin),
            Command::Drain => self.change_mode(Mode::Draining, "drain", &origin),
            Command::EmergencyStop => self.change_mode(Mode::Stopped, "emergency-stop", &origin),
            Command::AdjustConcurrency { max_concurrent } => self.limit(*max_concurrent, &origin)?,
            Command::Cancel { package_name } => self.cancel(package_name, &origin),
            Command::Requeue { package_name } => self.requeue(package_name, &origin),
            Command::RequeueFailed => {
                let course = self.requeue_failed(None, 0, self.now.commit, AT_ONCE, &origin);
                if let Course::Remains { .. } = course {
                    self.effect = Some(format!("requeueing all that failed{}", by(&origin)));
                }
                course
            }
        };
        let told = self.told();
        let message = || told.map(|event| event.message.clone()).unwrap_or_default();
        let effect = self.effect.clone().unwrap_or_else(message);
        let unchanged = told.is_some_and(|event| event.kind == Event::UNCHANGED);
        let mut control = self.control().clone();
        let complete = match course {
            Course::Complete => true,
            Course::Remains { done, changed } => {
                let what = Intended::Control { command: command.clone(), origin: origin.clone(), done, changed };
                let (commit, interrupted) = (self.now.commit, Vec::new());
                self.interrupt(Intention { schema: SCHEMA, stream, sequence, commit, what, interrupted });
                control.complete &= !changes_mode(&command);
                false
            }
        };
        control.last = Some(LastControl { command, origin, at: self.now.at, sequence, effect, unchanged, complete });
        self.put_control(control);
        Ok(())
    }

    /// The next slice of a command that touches many records.
    pub(crate) fn continued(&mut self, limit: usize) {
        let Some(intention) = self.intention().cloned() else { return };
        let (origin, done, changed) = match &intention.what {
            Intended::Control { command: Command::RequeueFailed, origin, done, changed } => {
                (origin.clone(), done.clone(), *changed)
            }
            Intended::Control { .. } | Intended::Announce { .. } => return,
        };
        self.command = Some(intention.sequence);
        match self.requeue_failed(done, changed, intention.commit, limit, &origin) {
            Course::Complete => self.complete(&Command::RequeueFailed),
            Course::Remains { done, changed } => {
                let what = Intended::Control { command: Command::RequeueFailed, origin, done, changed };
                self.advance(&Intention { what, ..intention });
            }
        }
    }

    /// A command that requeues all that failed is done with what it has: a later one takes over, which means
    /// more.
    fn give_way(&mut self, to: &Origin) {
        let of_requeue = |one: &&Intention| match &one.what {
            Intended::Control { command, .. } => *command == Command::RequeueFailed,
            Intended::Announce { .. } => false,
        };
        let Some(standing) = self.intention().and_then(|standing| standing.all().find(of_requeue)).cloned() else {
            return;
        };
        let Intended::Control { origin, changed, .. } = &standing.what else { return };
        self.command = Some(standing.sequence);
        let message = format!(
            "requeued {}{}; the others are requeued by a later command{}",
            counted(*changed, "failed package"),
            by(origin),
            by(to),
        );
        self.tell_command("requeued", None, origin, message);
        self.forget(&standing);
    }

    /// All that the first intention meant is done.
    pub(crate) fn complete(&mut self, command: &Command) {
        let mut control = self.control().clone();
        control.complete |= changes_mode(command);
        // A later command may have been taken meanwhile.
        let worked_off = self.intention().map(|intention| intention.sequence);
        let is_last = |last: &&mut LastControl| Some(last.sequence) == worked_off;
        if let Some(last) = control.last.as_mut().filter(is_last) {
            last.complete = true;
            if let Some(told) = self.told() {
                last.effect.clone_from(&told.message);
            }
        }
        self.put_control(control);
        self.end_intention();
    }

    fn set_mode(&mut self, mode: Mode, origin: &Origin) {
        let mut control = self.control().clone();
        if control.mode != mode {
            control.since = self.now.at;
        }
        control.mode = mode;
        control.origin = origin.clone();
        control.complete = true;
        self.put_control(control);
    }

    fn change_mode(&mut self, mode: Mode, word: &str, origin: &Origin) -> Course {
        let present = self.control().mode;
        if !follows(mode, present) {
            let message = format!("{word} changes nothing while {present}; resume goes on");
            return self.unchanged(None, origin, message);
        }
        self.set_mode(mode, origin);
        let permits = &self.state.permits;
        let (remaining, then) = match mode {
            Mode::Stopped => {
                let remaining = permits.held.values().filter(|permit| permit.ending.is_none()).count();
                (remaining, format!("; {} to be ended first", counted(remaining, "build")))
            }
            Mode::Running | Mode::Paused | Mode::Draining | Mode::Drained => {
                let remaining = permits.untaken.len();
                (remaining, format!("; {} that no worker has taken to be withdrawn first", counted(remaining, "order")))
            }
        };
        let then = if remaining == 0 { String::new() } else { then };
        self.effect = Some(format!("{mode}{}", by(origin)));
        self.tell_command(&mode.to_string(), None, origin, format!("{mode}{}{then}", by(origin)));
        Course::of(remaining)
    }

    fn resume(&mut self, origin: &Origin) -> Course {
        if self.control().mode == Mode::Running {
            return self.unchanged(None, origin, "resume changes nothing: it is running".to_owned());
        }
        self.set_mode(Mode::Running, origin);
        self.tell_command("resumed", None, origin, format!("resumed{}", by(origin)));
        Course::Complete
    }

    fn limit(&mut self, limit: u32, origin: &Origin) -> Result<Course, Refusal> {
        if !(1..=MAX_CONCURRENT).contains(&limit) {
            return Err(Refusal::Limit(limit));
        }
        let mut control = self.control().clone();
        let before = std::mem::replace(&mut control.max_concurrent, limit);
        self.put_control(control);
        let message = format!("limit of concurrent builds {before} → {limit}{}", by(origin));
        self.tell_command("limit", None, origin, message);
        Ok(Course::Complete)
    }

    fn cancel(&mut self, name: &PackageName, origin: &Origin) -> Course {
        let Some(mut queue) = self.queue(name).cloned() else {
            let message = format!("cancel changes nothing: {name} is not in the queue{}", self.not_yet());
            return self.unchanged(Some(name), origin, message);
        };
        match &queue.state {
            State::Queued | State::Retrying { .. } | State::Failed { .. } => {
                let reason = cancelled(origin);
                let attempts = self.retries(name).map_or(0, |retries| retries.failures);
                let about = About { error: Some(&reason), ..About::default() };
                self.report(&mut queue, StatusKind::Cancelled, attempts, about);
                queue.state = State::Cancelled { origin: origin.clone() };
                self.put_queue(queue);
                self.tell_command("cancelled", Some(name), origin, format!("{reason}: {name}"));
                Course::Complete
            }
            State::Building { permit, .. } => match self.permit(*permit).and_then(|permit| permit.ending.clone()) {
                Some(Ending::Cancel(_)) => {
                    self.unchanged(Some(name), origin, format!("cancel changes nothing: {name} is being cancelled"))
                }
                Some(Ending::Stop | Ending::Deadline) | None => {
                    let message = format!("cancelling {name}{}", by(origin));
                    self.tell_command("cancelling", Some(name), origin, message);
                    Course::of(1)
                }
            },
            State::Published { private, .. } => {
                let message = format!("cancel changes nothing: {name} is {}{}", published(*private), self.not_yet());
                self.unchanged(Some(name), origin, message)
            }
            State::Cancelled { .. } => {
                let message = format!("cancel changes nothing: {name} is cancelled{}", self.not_yet());
                self.unchanged(Some(name), origin, message)
            }
        }
    }

    /// What an announcement under way has not reached yet cannot be cancelled: nobody here knows whom it names.
    fn not_yet(&self) -> &'static str {
        if self.intention().is_some_and(|standing| standing.announcement().is_some()) {
            "; a long announcement is still being queued: where it names this package, cancel again when that is done"
        } else {
            ""
        }
    }

    fn requeue(&mut self, name: &PackageName, origin: &Origin) -> Course {
        let nothing = |why: &str| format!("requeue changes nothing: {name} {why}");
        let Some(queue) = self.queue(name).cloned() else {
            return self.unchanged(Some(name), origin, nothing("is not in the queue; announce it"));
        };
        match queue.state {
            State::Failed { .. } | State::Cancelled { .. } | State::Retrying { .. } => {
                self.queue_afresh(queue);
                self.tell_command("requeued", Some(name), origin, format!("requeued {name}{}", by(origin)));
                Course::Complete
            }
            State::Building { permit, .. } => match self.permit(permit).and_then(|permit| permit.ending.clone()) {
                Some(Ending::Cancel(_)) => {
                    self.stop_instead_of_cancel(permit);
                    let message = format!("requeued {name}{}; it waits until its cancelled build is gone", by(origin));
                    self.tell_command("requeued", Some(name), origin, message);
                    Course::Complete
                }
                Some(Ending::Stop | Ending::Deadline) | None => {
                    self.unchanged(Some(name), origin, nothing("is building"))
                }
            },
            State::Queued => self.unchanged(Some(name), origin, nothing("is queued")),
            State::Published { private, .. } => {
                let why = format!("is {}; announce it to build it again", published(private));
                self.unchanged(Some(name), origin, nothing(&why))
            }
        }
    }

    /// Queues failed packages afresh, in the order of names after `done`, leaving out those that failed
    /// after the commit in which the command began.
    fn requeue_failed(
        &mut self,
        done: Option<PackageName>,
        mut changed: usize,
        began: u64,
        limit: usize,
        origin: &Origin,
    ) -> Course {
        let after = done.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut failed = self.state.packages.failed.range::<PackageName, _>((after, Bound::Unbounded));
        let mut last = done.clone();
        for name in failed.by_ref().take(limit.max(1)) {
            last = Some(name.clone());
            if let Some(queue) = self.queue(name).filter(|queue| queue.commit <= began).cloned() {
                self.queue_afresh(queue);
                changed += 1;
            }
        }
        if failed.next().is_some() {
            return Course::Remains { done: last, changed };
        }
        let message = format!("requeued {}{}", counted(changed, "failed package"), by(origin));
        self.tell_command("requeued", None, origin, message);
        Course::Complete
    }

    fn unchanged(&mut self, about: Option<&PackageName>, origin: &Origin, message: String) -> Course {
        self.tell_command(Event::UNCHANGED, about, origin, message);
        Course::Complete
    }

    /// An orchestrator leads: the first record is written, and what was drained runs again.
    pub(crate) fn started(&mut self) {
        if self.control().mode == Mode::Drained {
            self.set_mode(Mode::Running, &Origin::default());
            let message = "resumed: an orchestrator started after the drain".to_owned();
            self.tell_command("resumed", None, &Origin::default(), message);
        } else if !self.state.stored {
            self.put_control(self.control().clone());
        }
    }

    pub(crate) fn drained(&mut self) -> Result<(), Refusal> {
        let control = self.control();
        if control.mode != Mode::Draining || !self.state.permits.held.is_empty() || self.intention().is_some() {
            return Err(Refusal::NotDraining);
        }
        let origin = control.origin.clone();
        self.set_mode(Mode::Drained, &origin);
        let mut control = self.control().clone();
        control.drained_commit = Some(self.now.commit);
        self.put_control(control);
        self.tell_command("drained", None, &origin, format!("drained{}", by(&origin)));
        Ok(())
    }
}

/// Whether `control.complete` speaks of this command.
fn changes_mode(command: &Command) -> bool {
    match command {
        Command::Pause | Command::Drain | Command::EmergencyStop | Command::Resume => true,
        Command::AdjustConcurrency { .. }
        | Command::Cancel { .. }
        | Command::Requeue { .. }
        | Command::RequeueFailed
        | Command::Poll => false,
    }
}
