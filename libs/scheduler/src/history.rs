//! The last attempts of a package, as `retries.<package>` keeps them, and what they may have published.

use packline_domain::{
    Attempt, BuildResult, FailureClass, PackageName, SCHEMA,
    phase::Tests,
    record::{Permit, Retries, State},
    warning::cut_warnings,
};

use crate::{Scheduler, finish::End, text::one_line};

/// How many attempts of a package are kept.
pub(crate) const ATTEMPTS: usize = 10;
/// How many integrities of a package are kept.
pub(crate) const INTEGRITIES: usize = 20;

/// How many bytes of warnings the attempts of a package keep in all; those of one attempt always fit.
const WARNINGS: usize = 40_000;

impl Scheduler {
    /// What the last build of a package was warned of; nothing where it has not ended or was queued since.
    pub fn warnings(&self, name: &PackageName) -> &[String] {
        self.last_word(name).map(|attempt| attempt.warnings.as_slice()).unwrap_or_default()
    }

    /// What stood for the package's tests in that build, where it has none of its own.
    pub fn tests(&self, name: &PackageName) -> Option<Tests> {
        self.last_word(name)?.tests
    }

    /// The last attempt, where it has ended and nothing was queued since.
    fn last_word(&self, name: &PackageName) -> Option<&Attempt> {
        match &self.package(name)?.state {
            State::Published { .. } | State::Failed { .. } | State::Retrying { .. } => {
                self.retries(name)?.attempts.last()
            }
            State::Queued | State::Building { .. } | State::Cancelled { .. } => None,
        }
    }
}

pub(crate) fn no_retries() -> Retries {
    Retries { schema: SCHEMA, ..Retries::default() }
}

/// Adds an attempt, and what it may have published, to the history of its package.
pub(crate) fn remember(
    retries: &mut Retries,
    permit: &Permit,
    end: &End,
    class: Option<FailureClass>,
    reason: Option<&str>,
    now: &crate::Now,
) {
    for integrity in permit.integrity.iter().chain(&end.integrity) {
        note_integrity(retries, integrity);
    }
    retries.attempts.push(Attempt {
        build_id: permit.build_id.clone(),
        attempt: permit.attempt,
        worker: end.worker.as_ref().or(permit.worker.as_ref()).map(|worker| one_line(worker)),
        started_at: permit.granted_at,
        finished_at: now.at,
        class,
        error: reason.map(one_line),
        failed_phase: end.failed_phase.clone(),
        warnings: end.warnings.clone(),
        private: class.is_none() && end.private,
        tests: end.tests,
    });
    forget(retries);
}

/// Notes in the history that a build counted as lost was published after all.
pub(crate) fn correct(retries: &mut Retries, result: &BuildResult) {
    if let Some(integrity) = &result.integrity {
        note_integrity(retries, integrity);
    }
    if let Some(attempt) = retries.attempts.iter_mut().find(|attempt| attempt.build_id == result.build_id) {
        attempt.class = None;
        attempt.error = None;
        attempt.failed_phase = None;
        attempt.warnings = cut_warnings(result.warnings.clone());
        attempt.private = result.private;
        attempt.tests = result.tests;
        forget(retries);
        return;
    }
    retries.attempts.push(Attempt {
        build_id: result.build_id.clone(),
        attempt: result.attempt,
        worker: Some(one_line(&result.worker)),
        started_at: result.started_at,
        finished_at: result.finished_at,
        class: None,
        error: None,
        failed_phase: None,
        warnings: cut_warnings(result.warnings.clone()),
        private: result.private,
        tests: result.tests,
    });
    forget(retries);
}

/// Leaves out the oldest attempts where there are too many, and the warnings of the oldest where they are too long.
fn forget(retries: &mut Retries) {
    let surplus = retries.attempts.len().saturating_sub(ATTEMPTS);
    retries.attempts.drain(..surplus);
    let mut room = WARNINGS;
    for attempt in retries.attempts.iter_mut().rev() {
        let bytes = attempt.warnings.iter().map(String::len).sum();
        match room.checked_sub(bytes) {
            Some(left) => room = left,
            None => {
                room = 0;
                attempt.warnings.clear();
            }
        }
    }
}

/// Notes what may stand in the registry; the latest last. What is too long is no integrity.
fn note_integrity(retries: &mut Retries, integrity: &str) {
    if integrity.len() > 256 {
        return;
    }
    retries.integrities.retain(|known| known != integrity);
    retries.integrities.push(integrity.to_owned());
    let surplus = retries.integrities.len().saturating_sub(INTEGRITIES);
    retries.integrities.drain(..surplus);
}
