//! How a build ends: its class, its package's next state, and what is reported.

use packline_domain::{
    BuildId, BuildResult, FailureClass, Outcome, PackageName, PackageStatus, SCHEMA, StatusKind,
    effect::Effect,
    message::cut_error,
    phase::Tests,
    record::{Ending, Key, Permit, Queue, State},
    warning::cut_warnings,
};

use crate::{
    Refusal,
    history::{correct, no_retries, remember},
    retry::{Next, next},
    step::{About, Step},
    text::{cancelled, one_line, published, spoken},
};

/// The end of a build, as its worker says it or as its loss implies.
pub(crate) struct End {
    /// None when the worker was lost.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) retry: bool,
    pub(crate) worker: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) failed_phase: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) integrity: Option<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) private: bool,
    pub(crate) tests: Option<Tests>,
}

impl End {
    /// The worker that held the permit is lost.
    pub(crate) fn lost(worker: Option<String>) -> Self {
        Self {
            outcome: None,
            retry: true,
            worker,
            error: None,
            failed_phase: None,
            version: None,
            integrity: None,
            warnings: Vec::new(),
            private: false,
            tests: None,
        }
    }

    fn said(result: BuildResult) -> Self {
        Self {
            outcome: Some(result.outcome),
            retry: result.retry,
            worker: Some(one_line(&result.worker)),
            error: result.error.map(cut_error),
            failed_phase: result.failed_phase.map(|phase| one_line(&phase)),
            version: result.version.map(|version| one_line(&version)),
            integrity: result.integrity,
            warnings: cut_warnings(result.warnings),
            private: result.private,
            tests: result.tests,
        }
    }

    /// `None` is published, and wins over any reason to end; else the reason decides.
    fn class(&self, ending: Option<&Ending>) -> Option<FailureClass> {
        let class = match self.outcome {
            None => FailureClass::WorkerLost,
            Some(outcome) => outcome.class(self.retry)?,
        };
        Some(match ending {
            Some(Ending::Stop) => FailureClass::Returned,
            Some(Ending::Cancel(_)) => FailureClass::Cancelled,
            Some(Ending::Deadline) => FailureClass::Own,
            None => match class {
                FailureClass::Cancelled => FailureClass::Returned,
                FailureClass::Own
                | FailureClass::Permanent
                | FailureClass::Infrastructure
                | FailureClass::WorkerLost
                | FailureClass::Returned => class,
            },
        })
    }

    /// What went wrong, for people; never empty.
    fn reason(&self, ending: Option<&Ending>, deadline: std::time::Duration) -> String {
        match ending {
            Some(Ending::Deadline) => return format!("the build took longer than {}", spoken(deadline)),
            Some(Ending::Cancel(origin)) => return cancelled(origin),
            Some(Ending::Stop) => return "stopped by an operator".to_owned(),
            None => {}
        }
        if let Some(error) = self.error.as_ref().filter(|error| !error.trim().is_empty()) {
            return error.clone();
        }
        match self.outcome {
            None => match &self.worker {
                Some(worker) => format!("worker {worker} was lost"),
                None => "its worker was lost".to_owned(),
            },
            Some(Outcome::TimedOut) => "it took too long".to_owned(),
            Some(Outcome::Infrastructure) => "the machine is at fault".to_owned(),
            Some(Outcome::Cancelled | Outcome::Returned) => "handed back".to_owned(),
            Some(Outcome::Published | Outcome::Failed) => "the worker did not say why".to_owned(),
        }
    }
}

impl Step<'_> {
    pub(crate) fn finished(&mut self, result: BuildResult) -> Result<(), Refusal> {
        if result.build_id.package != result.package_name {
            return Err(Refusal::ResultContradicts { build_id: result.build_id, package_name: result.package_name });
        }
        match self.standing_permit(&result.build_id) {
            Some((number, permit)) => self.end(number, permit, End::said(result)),
            None => self.finished_stale(result),
        }
        Ok(())
    }

    /// The permit of a build that is not over yet.
    fn standing_permit(&self, build_id: &BuildId) -> Option<(u32, Permit)> {
        match &self.queue(&build_id.package)?.state {
            State::Building { build_id: standing, permit, .. } if standing == build_id => {
                Some((*permit, self.permit(*permit)?.clone()))
            }
            State::Building { .. }
            | State::Queued
            | State::Retrying { .. }
            | State::Published { .. }
            | State::Failed { .. }
            | State::Cancelled { .. } => None,
        }
    }

    /// Ends a build: its permit is free, and its package goes where the outcome sends it.
    pub(crate) fn end(&mut self, number: u32, permit: Permit, end: End) {
        self.delete(Key::Permit(number));
        let name = permit.package_name.clone();
        let Some(mut queue) = self.queue(&name).cloned() else { return };
        // A cancel that is not worked off yet wins over the stop that was before it.
        let ending = self.cancel_pending(&queue).map(Ending::Cancel).or_else(|| permit.ending.clone());
        let end = self.believed(&queue.package, end);
        let class = end.class(ending.as_ref());
        let reason = class.map(|_| end.reason(ending.as_ref(), self.state.config.build_deadline));
        let mut retries = self.retries(&name).cloned().unwrap_or_else(no_retries);
        remember(&mut retries, &permit, &end, class, reason.as_deref(), self.now);
        // Newer data that came before a cancel are dropped with it.
        let again = match (&queue.state, &ending) {
            (State::Building { again, .. }, Some(Ending::Stop | Ending::Deadline) | None) => *again,
            (State::Building { .. }, Some(Ending::Cancel(_)))
            | (
                State::Queued
                | State::Retrying { .. }
                | State::Published { .. }
                | State::Failed { .. }
                | State::Cancelled { .. },
                _,
            ) => false,
        };
        let Some(class) = class else {
            self.put_retries(&name, retries);
            self.published(&mut queue, &permit, &end, again);
            if again {
                self.queue_afresh(queue);
            } else {
                queue.state = State::Published { version: end.version, private: end.private };
                self.put_queue(queue);
            }
            return;
        };
        let reason = reason.unwrap_or_default();
        let next = next(class, &mut retries, &self.state.config, self.now, permit.build_id.serial);
        self.put_retries(&name, retries);
        let next = if again { Next::Requeue } else { next };
        let ended = Ended { permit: &permit, end: &end, class, ending: ending.as_ref(), reason: &reason };
        self.settle(queue, &ended, next, again);
    }

    fn published(&mut self, queue: &mut Queue, permit: &Permit, end: &End, again: bool) {
        let name = &permit.package_name;
        let version = end.version.as_deref();
        let about = About { version, private: end.private, tests: end.tests, ..About::build(&permit.build_id) };
        self.report(queue, StatusKind::Published, permit.attempt, about);
        let what = published(end.private);
        let version = version.map(|version| format!(" {version}")).unwrap_or_default();
        let took = spoken(self.now.at.since(permit.granted_at));
        let then = if again { "; newer data came meanwhile, queued again" } else { "" };
        let message = format!("{what} {name}{version} (attempt {}, {took}){then}", permit.attempt);
        self.tell_built("published", &permit.build_id, end.private, message);
    }

    /// Puts the package of a build that was not published where it belongs.
    fn settle(&mut self, mut queue: Queue, ended: &Ended<'_>, next: Next, again: bool) {
        let Ended { permit, end, reason, .. } = *ended;
        let name = permit.package_name.clone();
        let failed_phase = end.failed_phase.as_deref().filter(|_| ended.ending.is_none());
        let spent = self.retries(&name).map_or(0, |retries| retries.failures);
        let version = end.version.as_deref();
        let about = About { error: Some(reason), failed_phase, version, ..About::build(&permit.build_id) };
        let (kind, then) = match next {
            Next::Retry { until, retry, of } => {
                self.report(&mut queue, StatusKind::Queued, spent, about);
                queue.state = State::Retrying { until };
                self.put_queue(queue);
                let kind = if ended.class == FailureClass::WorkerLost { "workerLost" } else { "retrying" };
                (kind, format!("; retry {retry} of {of} in {}", spoken(until.since(self.now.at))))
            }
            Next::GiveUp { .. } | Next::Permanent => {
                self.report(&mut queue, StatusKind::Failed, permit.attempt, about);
                queue.state = State::Failed { error: reason.to_owned(), failed_phase: failed_phase.map(Into::into) };
                self.put_queue(queue);
                let why = match next {
                    Next::GiveUp { used, of } => format!("; given up ({used} of {of})"),
                    Next::Permanent | Next::Retry { .. } | Next::Requeue | Next::Drop => "; not retried".to_owned(),
                };
                ("failed", why)
            }
            Next::Requeue => {
                self.report(&mut queue, StatusKind::Queued, spent, About::build(&permit.build_id));
                let then = if again {
                    self.queue_afresh(queue);
                    "; newer data came meanwhile, queued again"
                } else {
                    queue.state = State::Queued;
                    self.put_queue(queue);
                    "; queued again"
                };
                ("returned", then.to_owned())
            }
            Next::Drop => {
                self.report(&mut queue, StatusKind::Cancelled, spent, About { failed_phase: None, ..about });
                queue.state = State::Cancelled { origin: ended.origin() };
                self.put_queue(queue);
                ("cancelled", String::new())
            }
        };
        self.tell(kind, &name, Some(&permit.build_id), ended.story(&name) + &then);
    }

    /// A result that no permit waits for changes nothing, but that something was published is a fact.
    fn finished_stale(&mut self, result: BuildResult) {
        let build_id = result.build_id.clone();
        let name = build_id.package.clone();
        let attempts = self.retries(&name).map(|retries| retries.attempts.as_slice()).unwrap_or_default();
        let known = attempts.iter().any(|attempt| attempt.build_id == build_id && attempt.class.is_none());
        let news = match result.outcome {
            Outcome::Published => !known,
            Outcome::Failed | Outcome::TimedOut | Outcome::Cancelled | Outcome::Infrastructure | Outcome::Returned => {
                false
            }
        };
        if !news {
            let message = format!("stale result of build {build_id} from {} changes nothing", one_line(&result.worker));
            self.tell("stale", &name, Some(&build_id), message);
            return;
        }
        match self.queue(&name).cloned() {
            Some(queue) => self.published_after_all(queue, result),
            None => {
                self.effect(Effect::Status(Box::new(PackageStatus {
                    schema: SCHEMA,
                    package_name: name.clone(),
                    id: None,
                    status: StatusKind::Published,
                    error: None,
                    failed_phase: None,
                    attempts: result.attempt,
                    build_id: Some(build_id.clone()),
                    version: result.version.as_deref().map(one_line),
                    private: result.private,
                    tests: result.tests,
                    commit: self.now.commit,
                })));
                let what = published(result.private);
                let message = format!("stale build {build_id} of an unknown package was {what}");
                self.tell_built("stale", &build_id, result.private, message);
            }
        }
    }

    /// A build that counted as over has published its package.
    fn published_after_all(&mut self, mut queue: Queue, result: BuildResult) {
        let build_id = result.build_id.clone();
        let name = build_id.package.clone();
        let mut retries = self.retries(&name).cloned().unwrap_or_else(no_retries);
        correct(&mut retries, &result);
        self.put_retries(&name, retries);
        let version = result.version.as_deref().map(one_line);
        let private = result.private;
        let about = About { version: version.as_deref(), private, tests: result.tests, ..About::build(&build_id) };
        self.report(&mut queue, StatusKind::Published, result.attempt, about);
        let then = match queue.state {
            State::Building { .. } => "; the build under way goes on",
            State::Queued
            | State::Retrying { .. }
            | State::Published { .. }
            | State::Failed { .. }
            | State::Cancelled { .. } => {
                queue.state = State::Published { version, private };
                ""
            }
        };
        self.put_queue(queue);
        let message = format!("stale build {build_id} of {name} was {} after all{then}", published(private));
        self.tell_built("stale", &build_id, private, message);
    }
}

/// The end of a build that was not published.
struct Ended<'a> {
    permit: &'a Permit,
    end: &'a End,
    class: FailureClass,
    ending: Option<&'a Ending>,
    reason: &'a str,
}

impl Ended<'_> {
    fn origin(&self) -> packline_domain::control::Origin {
        match self.ending {
            Some(Ending::Cancel(origin)) => origin.clone(),
            Some(Ending::Stop | Ending::Deadline) | None => packline_domain::control::Origin::default(),
        }
    }

    /// What happened, without what follows.
    fn story(&self, name: &PackageName) -> String {
        let reason = one_line(self.reason);
        let phase = self.end.failed_phase.as_ref().filter(|_| self.ending.is_none());
        let phase = phase.map(|phase| format!(" in {phase}")).unwrap_or_default();
        match self.class {
            FailureClass::Own | FailureClass::Permanent => format!("failed {name}{phase}: {reason}"),
            FailureClass::Infrastructure => format!("infrastructure failed under {name}{phase}: {reason}"),
            FailureClass::WorkerLost => format!("lost the build of {name}: {reason}"),
            FailureClass::Cancelled => format!("{reason}: {name}"),
            FailureClass::Returned => format!("returned {name}: {reason}"),
        }
    }
}
