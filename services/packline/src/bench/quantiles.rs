//! Quantiles of what was measured.

use std::fmt;

use serde::Serialize;

/// How durations are spread, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    count: usize,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Quantiles {
    /// Of these milliseconds; each quantile is one of them (nearest rank).
    pub(super) fn of(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        let count = millis.len();
        let rank = |percent: usize| millis.get((count * percent).div_ceil(100).saturating_sub(1)).copied();
        let at = |percent| rank(percent).unwrap_or_default();
        Self { count, p50: at(50), p99: at(99), max: at(100) }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} measured)", self.p50, self.p99, self.max, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let all = Quantiles::of((1..=200).rev().map(f64::from).collect());
        assert_eq!(all, Quantiles { count: 200, p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Quantiles::of(vec![7.0]), Quantiles { count: 1, p50: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }
}
