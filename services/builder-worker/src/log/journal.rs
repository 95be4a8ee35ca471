//! The log of one build: what its phases print, within limits, and how they end.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use packline_broker::{Broker, BuildLog};
use packline_domain::{BuildId, BuildResult, LogEntry, Outcome, message::PhaseReport};

use super::limit::{Cut, Limiter, Passed};

/// Writes the log of one build. Never waits.
pub(crate) struct Journal {
    log: BuildLog,
    limiter: Mutex<Limiter>,
    began: Instant,
}

impl Journal {
    /// Opens it.
    pub(crate) fn open(broker: &Broker, build: &BuildId) -> Self {
        Self { log: broker.build_log(build), limiter: Mutex::default(), began: Instant::now() }
    }

    /// A phase begins.
    pub(crate) fn began(&self, phase: &str) {
        self.log.write(&LogEntry::Began { phase: phase.to_owned() }, Bytes::new());
    }

    /// Lines that a phase printed, the last without its end.
    pub(crate) fn lines(&self, phase: &str, text: &Bytes) {
        let Passed { before, keep } = self.limiter().take(self.began.elapsed(), self.log.has_room(), phase, text);
        self.say(before);
        if let Some(kept) = keep.checked_sub(1) {
            self.log.write(&LogEntry::Lines { phase: phase.to_owned() }, text.slice(..kept.min(text.len())));
        }
    }

    /// A phase is over.
    pub(crate) fn ended(&self, report: &PhaseReport) {
        let left_out = self.limiter().phase_over();
        self.say(left_out);
        self.log.write(&LogEntry::Ended(report.clone()), Bytes::new());
    }

    /// The build is over. Without a result nobody waits for it any more.
    pub(crate) fn over(&self, result: Option<&BuildResult>) {
        let left_out = {
            let mut limiter = self.limiter();
            [limiter.phase_over(), limiter.build_over()]
        };
        left_out.into_iter().for_each(|cut| self.say(cut));
        let outcome = result.map_or(Outcome::Returned, |result| result.outcome);
        let error = result.and_then(|result| result.error.as_deref()).unwrap_or_default();
        let why = error.lines().next().unwrap_or_default().to_owned();
        let private = result.is_some_and(|result| result.private);
        self.log.write(&LogEntry::Over { outcome, private }, why);
    }

    /// See [`BuildLog::finish`].
    pub(crate) async fn finish(self) -> u64 {
        self.log.finish().await
    }

    fn say(&self, cut: Option<Cut>) {
        if let Some(cut) = cut {
            self.log.write(&LogEntry::Lines { phase: cut.phase.clone() }, cut.to_string());
        }
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
