//! Whether and when a package that failed is tried again: each class on its own budget.

use std::time::Duration;

use packline_domain::{FailureClass, Timestamp, record::Retries};

use crate::{Config, Now};

/// What follows the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another attempt, not before `until`.
    Retry {
        until: Timestamp,
        /// Which retry this is, and of how many.
        retry: u32,
        of: u32,
    },
    /// None by itself: this many of this many were used.
    GiveUp { used: u32, of: u32 },
    /// None ever.
    Permanent,
    /// Back to the queue as if nothing had been.
    Requeue,
    /// Dropped.
    Drop,
}

/// Counts the end of an attempt against its budget, and says what follows. `serial` is that of the build:
/// it tells apart the jitter of builds that end in one step.
pub(crate) fn next(class: FailureClass, retries: &mut Retries, config: &Config, now: &Now, serial: u64) -> Next {
    retries.next_attempt_at = None;
    let (count, of) = match class {
        FailureClass::Own => (&mut retries.failures, config.max_attempts),
        FailureClass::Infrastructure => (&mut retries.infrastructure, config.max_infrastructure),
        FailureClass::WorkerLost => (&mut retries.lost, config.max_lost),
        FailureClass::Permanent => {
            retries.failures = retries.failures.saturating_add(1);
            return Next::Permanent;
        }
        FailureClass::Cancelled => return Next::Drop,
        FailureClass::Returned => return Next::Requeue,
    };
    *count = count.saturating_add(1);
    let used = *count;
    if used >= of {
        return Next::GiveUp { used, of };
    }
    let until = now.at.after(pause(used, config, now.seed ^ serial));
    retries.next_attempt_at = Some(until);
    Next::Retry { until, retry: used, of: of.saturating_sub(1) }
}

/// A pause drawn evenly from zero to `RETRY_BASE`·2^(failures - 1), at most `RETRY_MAX`.
fn pause(failures: u32, config: &Config, seed: u64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let longest = config.retry_base.saturating_mul(doubled).min(config.retry_max);
    let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    // The high half of a product with 64 random bits is even over the range.
    let drawn = (u128::from(mixed(seed)) * (u128::from(millis) + 1)) >> 64;
    Duration::from_millis(u64::try_from(drawn).unwrap_or(millis))
}

/// One step of splitmix64: near seeds give far numbers.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(base: u64, max: u64) -> Config {
        Config { retry_base: Duration::from_secs(base), retry_max: Duration::from_secs(max), ..Config::default() }
    }

    #[test]
    fn the_longest_pause_doubles_until_it_is_clamped() {
        let config = config(10, 60);
        for (failures, longest) in [(1, 10), (2, 20), (3, 40), (4, 60), (40, 60), (u32::MAX, 60)] {
            let pauses: Vec<Duration> = (0..2000).map(|seed| pause(failures, &config, seed)).collect();
            let longest = Duration::from_secs(longest);
            assert!(pauses.iter().all(|pause| *pause <= longest), "{failures}");
            assert!(pauses.iter().any(|pause| *pause > longest.mul_f64(0.95)), "{failures}: jitter is full");
            assert!(pauses.iter().any(|pause| *pause < longest.mul_f64(0.05)), "{failures}: jitter is full");
            let mean = pauses.iter().sum::<Duration>() / 2000;
            assert!(mean > longest.mul_f64(0.45) && mean < longest.mul_f64(0.55), "{failures}: {mean:?}");
        }
    }

    #[test]
    fn the_largest_durations_do_not_overflow() {
        let config = Config { retry_base: Duration::MAX, retry_max: Duration::MAX, ..Config::default() };
        let now = Now { at: Timestamp::from_millis(i64::MAX), commit: 1, seed: u64::MAX };
        let mut retries = Retries { failures: 1, ..Retries::default() };
        let next = next(FailureClass::Own, &mut retries, &config, &now, u64::MAX);
        assert!(matches!(next, Next::Retry { retry: 2, of: 2, .. }), "{next:?}");
    }
}
