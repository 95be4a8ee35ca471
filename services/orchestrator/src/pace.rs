//! How soon one synced write follows another: under load fewer and larger ones carry more (law 4).

use std::time::{Duration, Instant};

/// Rests in proportion to what the last write took, so that what comes meanwhile shares the syncs of the
/// next. After a pause there is no rest: a single message on an idle line is never held up.
pub(crate) struct Pace {
    factor: u32,
    longest: Duration,
    ready: Instant,
}

impl Pace {
    /// The rest after a write is `factor` times as long as the write was, and never longer than `longest`: a
    /// disk that stood still for once must not hold up the line.
    pub(crate) fn new(factor: u32, longest: Duration) -> Self {
        Self { factor, longest, ready: Instant::now() }
    }

    /// Without rests.
    pub(crate) fn at_once() -> Self {
        Self::new(0, Duration::ZERO)
    }

    /// A write took so long, and ended now.
    pub(crate) fn wrote(&mut self, took: Duration) {
        self.ready = Instant::now() + (took * self.factor).min(self.longest);
    }

    /// When the next write may begin.
    pub(crate) fn ready(&self) -> Instant {
        self.ready
    }
}
