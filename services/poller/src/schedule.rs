//! When the catalogue is asked next, and how long a failed call waits. Pure.

use std::time::Duration;

/// The first wait after a poll that failed.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// How far a poll may stray from its interval, so that many lines do not ask one catalogue at once.
const STRAY: f64 = 0.05;

/// How long until the next poll, after `failures` polls in a row that failed. `random` is from 0 to 1.
///
/// A failed poll is tried again sooner than the interval, and never later.
pub fn until_next_poll(interval: Duration, failures: u32, random: f64) -> Duration {
    let wait = match failures.checked_sub(1) {
        None => interval,
        Some(earlier) => doubled(FIRST_RETRY, earlier, interval),
    };
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
}
