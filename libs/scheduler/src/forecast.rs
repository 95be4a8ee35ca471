//! How long builds take by their own past, and the whole queue with them.

use std::{collections::BTreeMap, time::Duration};

use packline_domain::{
    Attempt, FailureClass, PackageName, Timestamp,
    answer::{Counts, Standing},
    record::Retries,
};

use crate::Scheduler;

/// Builds under way that are looked at one by one; more are taken for like these.
const LOOKED_AT: usize = 200;

/// How long a package's build takes: the median of its last attempts that were published, or, where there
/// are none, of those that failed by themselves. In milliseconds.
pub(crate) fn own_past(retries: &Retries) -> Option<u32> {
    let took = |wanted: fn(&Attempt) -> bool| {
        let attempts = retries.attempts.iter().filter(|attempt| wanted(attempt));
        median(attempts.map(|attempt| attempt.finished_at.since(attempt.started_at)).collect())
    };
    let failed = |attempt: &Attempt| match attempt.class {
        Some(FailureClass::Own | FailureClass::Permanent) => true,
        Some(
            FailureClass::Infrastructure | FailureClass::WorkerLost | FailureClass::Cancelled | FailureClass::Returned,
        )
        | None => false,
    };
    let median = took(|attempt| attempt.class.is_none()).or_else(|| took(failed))?;
    Some(u32::try_from(median.as_millis()).unwrap_or(u32::MAX))
}

fn median(mut durations: Vec<Duration>) -> Option<Duration> {
    durations.sort_unstable();
    let (below, above) = (durations.len().checked_sub(1)? / 2, durations.len() / 2);
    Some((*durations.get(below)? + *durations.get(above)?) / 2)
}

/// What is known of durations, kept as records change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forecast {
    /// Of every package with a past.
    known: Multiset,
    /// Sum over those that wait.
    waiting_millis: u64,
    /// How many of those that wait have a past.
    waiting_known: usize,
}

/// Whether a package that stands so is built without anybody's help, as far as can be told without a look at others.
fn is_ahead(standing: Option<Standing>) -> bool {
    match standing {
        Some(Standing::Ready | Standing::Blocked | Standing::Retrying) => true,
        Some(
            Standing::Unresolvable | Standing::Building | Standing::Published | Standing::Failed | Standing::Cancelled,
        )
        | None => false,
    }
}

impl Forecast {
    /// A package with this past stands elsewhere now.
    pub(crate) fn moved(&mut self, past: Option<u32>, from: Option<Standing>, to: Option<Standing>) {
        let Some(past) = past else { return };
        match (is_ahead(from), is_ahead(to)) {
            (false, true) => self.add(past),
            (true, false) => self.remove(past),
            (true, true) | (false, false) => {}
        }
    }

    /// A package that stands so has another past now.
    pub(crate) fn learned(&mut self, standing: Option<Standing>, from: Option<u32>, to: Option<u32>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.known.remove(from);
            if is_ahead(standing) {
                self.remove(from);
            }
        }
        if let Some(to) = to {
            self.known.insert(to);
            if is_ahead(standing) {
                self.add(to);
            }
        }
    }

    fn add(&mut self, past: u32) {
        self.waiting_millis = self.waiting_millis.saturating_add(u64::from(past));
        self.waiting_known += 1;
    }

    fn remove(&mut self, past: u32) {
        self.waiting_millis = self.waiting_millis.saturating_sub(u64::from(past));
        self.waiting_known = self.waiting_known.saturating_sub(1);
    }

    /// The same from all packages at once; for the check of the index.
    pub(crate) fn says(&self, packages: &[(Option<Standing>, u32)]) -> Result<(), String> {
        let mut all = Self::default();
        for (standing, past) in packages {
            all.learned(*standing, None, Some(*past));
        }
        let mut sorted: Vec<u32> = packages.iter().map(|(_, past)| *past).collect();
        sorted.sort_unstable();
        let median = sorted.len().checked_sub(1).and_then(|last| sorted.get(last / 2)).copied();
        let index = (self.waiting_millis, self.waiting_known, self.known.median());
        let records = (all.waiting_millis, all.waiting_known, median);
        if index == records { Ok(()) } else { Err(format!("forecast: the index says {index:?}, not {records:?}")) }
    }
}

impl Scheduler {
    /// How long a build of this package takes, by its own past.
    pub fn estimate(&self, name: &PackageName) -> Option<Duration> {
        self.packages.find(name)?.past.map(millis)
    }

    /// How long it takes until all that is under way and all that waits is built, as if nothing failed and as
    /// many builds ran as may: the work by its own past, that of packages without one by the median of the
    /// others, over the builds at a time. None where nothing has a past, or nothing can run.
    pub fn forecast(&self, now: Timestamp) -> Option<Duration> {
        let Counts { ready, blocked, retrying, .. } = self.counts();
        let (waiting, running) = (ready + blocked + retrying, self.permits().len());
        if waiting + running == 0 {
            return Some(Duration::ZERO);
        }
        let forecast = &self.packages.forecast;
        let usual = u64::from(forecast.known.median()?);
        let at_a_time = u64::from(self.control().max_concurrent).min(self.slots()).min((waiting + running) as u64);
        let unknown = waiting.saturating_sub(forecast.waiting_known) as u64;
        let ahead = forecast.waiting_millis.saturating_add(unknown.saturating_mul(usual));
        let remaining = self.permits().take(LOOKED_AT).map(|(_, permit)| {
            let past = self.packages.find(&permit.package_name).and_then(|node| node.past).map_or(usual, u64::from);
            millis_of(Duration::from_millis(past).saturating_sub(now.since(permit.granted_at)))
        });
        let (sum, longest) = remaining.fold((0_u64, 0), |(sum, longest), left| (sum + left, longest.max(left)));
        let seen = running.clamp(1, LOOKED_AT) as u64;
        let under_way = sum.saturating_mul(running as u64) / seen;
        let work = ahead.saturating_add(under_way).checked_div(at_a_time)?;
        Some(Duration::from_millis(work.max(longest)))
    }
}

fn millis(past: u32) -> Duration {
    Duration::from_millis(u64::from(past))
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Numbers in two halves, so that the one in the middle is at hand: none of `lower` is above any of `upper`,
/// and `lower` has as many, or one more.
#[derive(Clone, Debug, Default)]
struct Multiset {
    lower: Half,
    upper: Half,
}

#[derive(Clone, Debug, Default)]
struct Half {
    counts: BTreeMap<u32, usize>,
    len: usize,
}

impl Half {
    fn insert(&mut self, number: u32) {
        *self.counts.entry(number).or_default() += 1;
        self.len += 1;
    }

    fn remove(&mut self, number: u32) -> bool {
        let Some(count) = self.counts.get_mut(&number) else { return false };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&number);
        }
        self.len -= 1;
        true
    }
}

impl Multiset {
    /// The lower one of the two in the middle.
    fn median(&self) -> Option<u32> {
        self.lower.counts.last_key_value().map(|(number, _)| *number)
    }

    fn insert(&mut self, number: u32) {
        let half = if self.median().is_none_or(|median| number <= median) { &mut self.lower } else { &mut self.upper };
        half.insert(number);
        self.balance();
    }

    fn remove(&mut self, number: u32) {
        if !self.lower.remove(number) {
            self.upper.remove(number);
        }
        self.balance();
    }

    fn balance(&mut self) {
        if self.lower.len > self.upper.len + 1
            && let Some(number) = self.median()
        {
            self.lower.remove(number);
            self.upper.insert(number);
        }
        if self.upper.len > self.lower.len
            && let Some((number, _)) = self.upper.counts.first_key_value().map(|(number, count)| (*number, *count))
        {
            self.upper.remove(number);
            self.lower.insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_middle_of_a_multiset_is_that_of_a_sorted_list(steps in prop::collection::vec((any::<bool>(), 0_u32..6), 0..200)) {
            let (mut set, mut model) = (Multiset::default(), Vec::new());
            for (comes, number) in steps {
                if comes {
                    set.insert(number);
                    model.push(number);
                } else if let Some(at) = model.iter().position(|known| *known == number) {
                    set.remove(number);
                    model.remove(at);
                }
                model.sort_unstable();
                let middle = model.len().checked_sub(1).map(|last| model[last / 2]);
                prop_assert_eq!(set.median(), middle);
            }
        }
    }
}
