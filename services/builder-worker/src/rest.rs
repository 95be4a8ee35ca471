//! A worker whose machine fails again and again rests, so that it cannot eat the fleet's retries.

use std::time::{Duration, Instant};

use packline_domain::Outcome;

const IN_A_ROW: u32 = 3;
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);

/// How this machine fares.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    failures: u32,
    until: Option<Instant>,
}

impl Rest {
    /// Counts the end of a build; answers how long to rest where that begins now.
    pub(crate) fn note(&mut self, outcome: Outcome, now: Instant) -> Option<Duration> {
        match outcome {
            Outcome::Infrastructure => self.failures += 1,
            Outcome::Published | Outcome::Failed | Outcome::TimedOut => self.failures = 0,
            Outcome::Cancelled | Outcome::Returned => {}
        }
        if outcome != Outcome::Infrastructure || self.failures < IN_A_ROW || self.is_resting(now) {
            return None;
        }
        let doublings = (self.failures - IN_A_ROW).min(16);
        let pause = (FIRST * 2_u32.pow(doublings)).min(LONGEST);
        self.until = Some(now + pause);
        Some(pause)
    }

    /// Whether it rests.
    pub(crate) fn is_resting(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_of_the_machine_in_a_row_are_a_rest_and_each_further_one_doubles_it() {
        let mut rest = Rest::default();
        let mut now = Instant::now();
        assert_eq!(rest.note(Outcome::Infrastructure, now), None);
        assert_eq!(rest.note(Outcome::Failed, now), None);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            if let Some(pause) = rest.note(Outcome::Infrastructure, now) {
                assert!(rest.is_resting(now));
                // Builds that were under way meanwhile do not count twice.
                now += pause;
                pauses.push(pause.as_secs());
            }
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600, 600, 600]);
        assert!(!rest.is_resting(now));
        assert_eq!(rest.note(Outcome::Published, now), None);
        assert_eq!(rest.note(Outcome::Infrastructure, now), None);
    }
}
