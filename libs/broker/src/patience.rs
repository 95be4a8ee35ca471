//! Trying again: exponential waits with jitter, said at once and then once a minute.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use backoff::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Waits longer and longer between tries of one thing, and says so now and then.
pub(crate) struct Patience {
    what: String,
    waits: ExponentialBackoff,
    said: Option<Instant>,
}

impl Patience {
    /// `what` completes "failed to …".
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), waits: waits(), said: None }
    }

    /// Waits before the next try.
    pub(crate) async fn pause(&mut self, error: &impl Display) {
        if self.said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            tracing::warn!("failed to {}, trying again: {error}", self.what);
            self.said = Some(Instant::now());
        }
        let wait = self.waits.next().unwrap_or(LONGEST).min(LONGEST);
        tokio::time::sleep(wait).await;
    }

    /// It worked: the next failure is the first one again.
    pub(crate) fn reset(&mut self) {
        self.waits = waits();
        self.said = None;
    }
}

fn waits() -> ExponentialBackoff {
    ExponentialBuilder::new().with_min_delay(SHORTEST).with_max_delay(LONGEST).without_max_times().with_jitter().build()
}
