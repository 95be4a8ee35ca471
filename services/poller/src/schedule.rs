//! When the catalogue is asked next, and how long a failed call waits. Pure.

use std::time::Duration;

use packline_domain::{Timestamp, record::LastPoll};

use crate::cron::CronSchedule;

/// The first wait after a poll that failed.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// The longest one where times are set by a pattern.
const LONGEST_RETRY: Duration = Duration::from_secs(1800);

/// How far a poll may stray from its interval, so that many lines do not ask one catalogue at once.
const STRAY: f64 = 0.05;

/// When the catalogue is asked.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At start, and so long after each poll.
    Every(Duration),
    /// When the pattern says.
    Cron(Box<CronSchedule>),
}

/// When a poll is due: after so long, or at a time on the clock of the wall, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextPoll {
    /// After so long.
    pub within: Option<Duration>,
    /// At that time.
    pub at: Option<Timestamp>,
}

impl NextPoll {
    /// Now.
    pub const NOW: Self = Self { within: Some(Duration::ZERO), at: None };

    /// How long until then, `elapsed` after it was determined.
    pub fn left(&self, now: Timestamp, elapsed: Duration) -> Duration {
        let within = self.within.map(|within| within.saturating_sub(elapsed));
        let at = self.at.map(|at| at.since(now));
        within.into_iter().chain(at).min().unwrap_or(Duration::MAX)
    }
}

impl Schedule {
    /// The next poll, after `failures` polls in a row that failed. `random` is from 0 to 1.
    pub fn next(&self, now: Timestamp, failures: u32, random: f64) -> NextPoll {
        match self {
            Self::Every(interval) => NextPoll { within: Some(until_next_poll(*interval, failures, random)), at: None },
            Self::Cron(cron) => {
                let retry = failures.checked_sub(1).map(|earlier| doubled(FIRST_RETRY, earlier, LONGEST_RETRY));
                NextPoll { within: retry.map(|wait| strayed(wait, random)), at: cron.next(now) }
            }
        }
    }

    /// The first poll of a poller that becomes active after `last`, with `command` the newest `control.poll`.
    ///
    /// At times set by a pattern it makes up for what was missed, and asks for nothing else.
    pub fn first(&self, now: Timestamp, last: Option<&LastPoll>, command: u64) -> NextPoll {
        let Self::Cron(cron) = self else { return NextPoll::NOW };
        let missed = match last {
            None => command > 0,
            Some(last) => {
                last.error.is_some() || last.command != command || cron.next(last.at).is_some_and(|due| due <= now)
            }
        };
        if missed { NextPoll::NOW } else { self.next(now, 0, 0.5) }
    }

    /// The same poll after the clock of the wall has been set: one that went back makes times come again.
    #[must_use]
    pub fn seen_again(&self, next: NextPoll, now: Timestamp) -> NextPoll {
        let Self::Cron(cron) = self else { return next };
        NextPoll { at: next.at.into_iter().chain(cron.next(now)).min(), ..next }
    }
}

/// How long until the next poll, after `failures` polls in a row that failed. `random` is from 0 to 1.
///
/// A failed poll is tried again sooner than the interval, and never later.
pub fn until_next_poll(interval: Duration, failures: u32, random: f64) -> Duration {
    let wait = match failures.checked_sub(1) {
        None => interval,
        Some(earlier) => doubled(FIRST_RETRY, earlier, interval),
    };
    strayed(wait, random)
}

fn strayed(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 - STRAY + 2.0 * STRAY * random.clamp(0.0, 1.0))
}

/// The wait before try `tries + 1` (`tries` failed): doubling from `first` to at most `longest`, of which
/// `random`, from 0 to 1, takes away up to a half.
pub fn backoff(first: Duration, longest: Duration, tries: u32, random: f64) -> Duration {
    doubled(first, tries.saturating_sub(1), longest).mul_f64(1.0 - 0.5 * random.clamp(0.0, 1.0))
}

fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

    fn at(hours: i64, seconds: i64) -> Timestamp {
        Timestamp::from_millis((hours * 3600 + seconds) * 1000)
    }

    /// At 3 o'clock.
    fn nightly() -> Schedule {
        Schedule::Cron(Box::new(CronSchedule::parse("0 3 * * *", jiff::tz::TimeZone::UTC).unwrap()))
    }

    fn last(at: Timestamp, error: Option<&str>, command: u64) -> LastPoll {
        LastPoll { schema: 1, at, packages: 0, error: error.map(Into::into), command }
    }

    #[test]
    fn polls_stray_a_little_around_their_interval() {
        let waits = [0.0, 0.5, 1.0].map(|random| until_next_poll(HALF_AN_HOUR, 0, random).as_secs());
        assert_eq!(waits, [1710, 1800, 1890]);
    }

    #[test]
    fn a_failed_poll_is_tried_again_sooner_and_never_later_than_the_interval() {
        let waits = [1, 2, 3, 20, u32::MAX].map(|failures| until_next_poll(HALF_AN_HOUR, failures, 0.5).as_secs());
        assert_eq!(waits, [5, 10, 20, 1800, 1800]);
        assert_eq!(until_next_poll(Duration::from_secs(1), 3, 0.5), Duration::from_secs(1));
    }

    #[test]
    fn a_failed_call_waits_twice_as_long_each_time_up_to_a_limit() {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(60));
        let waits = [1, 2, 3, 9, u32::MAX].map(|tries| backoff(first, longest, tries, 0.0).as_millis());
        assert_eq!(waits, [500, 1000, 2000, 60_000, 60_000]);
        assert_eq!(backoff(first, longest, 1, 1.0), Duration::from_millis(250));
    }
    #[test]
    fn a_pattern_is_waited_for_and_a_failed_poll_is_tried_again_before_it() {
        let waits =
            [0, 1, 2, 20].map(|failures| nightly().next(at(0, 0), failures, 0.5).left(at(0, 0), Duration::ZERO));
        assert_eq!(waits.map(|wait| wait.as_secs()), [3 * 3600, 5, 10, 1800]);
        let before = nightly().next(at(2, 3595), 3, 0.5);
        assert_eq!(before.left(at(2, 3595), Duration::ZERO).as_secs(), 5, "never later than the pattern says");
    }

    #[test]
    fn a_machine_that_slept_polls_when_it_wakes() {
        let next = nightly().next(at(0, 0), 0, 0.5);
        // the monotonic clock stood still meanwhile
        assert_eq!(next.left(at(5, 0), Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_goes_back_makes_times_come_again_and_one_that_goes_on_changes_nothing() {
        let next = nightly().next(at(30, 0), 0, 0.5);
        assert_eq!(next.at, Some(at(51, 0)));
        assert_eq!(nightly().seen_again(next, at(40, 0)), next);
        assert_eq!(nightly().seen_again(next, at(60, 0)), next, "what came meanwhile is not forgotten");
        assert_eq!(nightly().seen_again(next, at(2, 0)).at, Some(at(3, 0)));
    }

    #[test]
    fn a_start_makes_up_for_what_was_missed_and_polls_for_nothing_else() {
        let first = |last: Option<LastPoll>, command| {
            let next = nightly().first(at(26, 0), last.as_ref(), command);
            next.left(at(26, 0), Duration::ZERO).as_secs()
        };
        assert_eq!(first(None, 0), 3600, "never polled");
        assert_eq!(first(None, 7), 0, "commanded while no poller ran");
        assert_eq!(first(Some(last(at(3, 1), None, 7)), 7), 3600, "nothing missed");
        assert_eq!(first(Some(last(at(3, 1), None, 7)), 9), 0, "commanded since");
        assert_eq!(first(Some(last(at(2, 0), None, 7)), 7), 0, "3 o'clock was missed");
        assert_eq!(first(Some(last(at(3, 1), Some("down"), 7)), 7), 0, "the last one failed");
        assert_eq!(Schedule::Every(HALF_AN_HOUR).first(at(26, 0), None, 0), NextPoll::NOW);
    }
}
