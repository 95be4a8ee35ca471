//! The leader's clock: wall time that only moves forward (law 16).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use packline_domain::Timestamp;

/// Wall time as it was at the start, moved on by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Timestamp,
    origin: Instant,
}

impl Clock {
    /// Reads the wall clock, once.
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: Timestamp::default().after(since_epoch), origin: Instant::now() }
    }

    /// Time since the start.
    pub(crate) fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The time that goes into records.
    pub(crate) fn now(&self) -> Timestamp {
        self.wall.after(self.monotonic())
    }

    /// How long until `at`; zero when it has passed.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        at.since(self.now())
    }
}
