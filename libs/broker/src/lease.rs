//! The lease: when a standby may take over.

use std::time::{Duration, Instant};

use packline_domain::record::{LEADER, Leader};

use crate::{BrokerError, Bucket, Entry, Watch, Watched, patience::Patience};

/// Looks within one lease.
const LOOKS: u32 = 6;
/// Between two looks no more than this part of the lease may pass, else the count starts anew.
const GAP: u32 = 2;
/// Between looks at a record that cannot be read.
const UNREADABLE: Duration = Duration::from_secs(60);

/// Waits for the key `leader` of a bucket to be held by nobody.
pub struct LeaseWatch;

impl LeaseWatch {
    /// Returns when nobody leads: there is no key, its holder is null, or its revision has stood still for
    /// the lease that it names, on our own monotonic clock, while it could be read without a gap. Answers
    /// the revision to take it at, and the record.
    ///
    /// # Errors
    /// When the bucket is missing or may not be read.
    pub async fn vacant(bucket: &Bucket, me: &str) -> Result<(u64, Option<Leader>), BrokerError> {
        let mut watch = bucket.watch(LEADER);
        let mut connections = bucket.broker().reconnects();
        let mut count = Count::default();
        let mut patience = Patience::new(format!("read who leads in bucket {}", bucket.name().as_str()));
        let mut said = None;
        loop {
            let asked = Instant::now();
            let entry = match bucket.get(LEADER).await {
                Ok(entry) => entry,
                Err(error) if error.is_passing() => {
                    count = Count::default();
                    patience.pause(&error).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if connections.has_changed().unwrap_or(false) {
                connections.mark_unchanged();
                count = Count::default();
            }
            patience.reset();
            let wait = match look(entry) {
                Seen::Vacant(revision, leader) => return Ok((revision, leader)),
                Seen::Unreadable(error) => {
                    tracing::error!("the key {LEADER} cannot be read, so nobody can lead: {error}");
                    UNREADABLE
                }
                Seen::Held(revision, leader) => {
                    let lease = Duration::from_millis(leader.lease_millis);
                    if count.look(revision, lease, asked, Instant::now()) {
                        return Ok((revision, Some(leader)));
                    }
                    if said != leader.holder {
                        tracing::info!("{me} stands by: {} leads", leader.holder.as_deref().unwrap_or("nobody"));
                        said = leader.holder;
                    }
                    lease / LOOKS
                }
            };
            tokio::select! {
                () = hint(&mut watch) => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// Returns when it may be worth a look before its time. A busy leader's commits are not.
async fn hint(watch: &mut Watch) {
    loop {
        match watch.next().await {
            Watched::Entry(entry) => {
                if matches!(look(Some(entry)), Seen::Vacant(..)) {
                    return;
                }
            }
            Watched::Gap => return,
            Watched::Complete => {}
        }
    }
}

enum Seen {
    Vacant(u64, Option<Leader>),
    Held(u64, Leader),
    Unreadable(serde_json::Error),
}

fn look(entry: Option<Entry>) -> Seen {
    let Some(Entry { value, revision, .. }) = entry else { return Seen::Vacant(0, None) };
    let Some(value) = value else { return Seen::Vacant(revision, None) };
    match serde_json::from_slice::<Leader>(&value) {
        Ok(leader) if leader.holder.is_none() => Seen::Vacant(revision, Some(leader)),
        Ok(leader) => Seen::Held(revision, leader),
        Err(error) => Seen::Unreadable(error),
    }
}

/// How long the revision has stood still. Pure: it is told the time.
#[derive(Debug, Default)]
struct Count {
    since: Option<(u64, Instant)>,
    last: Option<Instant>,
}

impl Count {
    /// Notes a read that was asked for and answered then; whether the lease is over.
    ///
    /// The time counts from the answer of the first look to the question of the last, so never too much.
    fn look(&mut self, revision: u64, lease: Duration, asked: Instant, answered: Instant) -> bool {
        let gap = self.last.is_some_and(|last| answered.saturating_duration_since(last) > lease / GAP);
        self.last = Some(answered);
        match self.since {
            Some((seen, since)) if seen == revision && !gap => asked.saturating_duration_since(since) >= lease,
            _ => {
                self.since = Some((revision, answered));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(6000);

    /// Feeds looks `(revision, milliseconds)` that each take 10 ms; which of them found the lease over.
    fn looks(script: &[(u64, u64)]) -> Vec<bool> {
        let start = Instant::now();
        let mut count = Count::default();
        let at = |millis| start + Duration::from_millis(millis);
        script.iter().map(|(revision, millis)| count.look(*revision, LEASE, at(*millis), at(millis + 10))).collect()
    }

    #[test]
    fn a_revision_that_stands_still_for_the_lease_is_vacant() {
        let found = looks(&[(5, 0), (5, 1000), (5, 2000), (5, 3000), (5, 4000), (5, 5000), (5, 6009), (5, 6010)]);
        assert_eq!(found, [false, false, false, false, false, false, false, true]);
    }

    #[test]
    fn a_rewrite_starts_the_count_anew() {
        let found = looks(&[(5, 0), (5, 2000), (5, 4000), (6, 5900), (6, 7000), (6, 9000), (6, 11000), (6, 12000)]);
        assert_eq!(found, [false, false, false, false, false, false, false, true]);
    }

    #[test]
    fn a_gap_in_reading_starts_the_count_anew() {
        let found = looks(&[(5, 0), (5, 2000), (5, 8000), (5, 10000), (5, 12000), (5, 14020)]);
        assert_eq!(found, [false, false, false, false, false, true]);
    }

    #[test]
    fn nobody_leads_where_there_is_no_key_a_marker_or_no_holder() {
        let entry = |value: Option<&'static str>| {
            Some(Entry { key: LEADER.into(), value: value.map(|text| text.as_bytes().into()), revision: 9 })
        };
        let record = |holder: Option<&str>| {
            serde_json::to_string(&Leader { holder: holder.map(Into::into), ..Leader::default() }).unwrap().leak() as &_
        };
        assert!(matches!(look(None), Seen::Vacant(0, None)));
        assert!(matches!(look(entry(None)), Seen::Vacant(9, None)));
        assert!(matches!(look(entry(Some(record(None)))), Seen::Vacant(9, Some(_))));
        assert!(matches!(look(entry(Some(record(Some("a"))))), Seen::Held(9, _)));
        assert!(matches!(look(entry(Some("rubbish"))), Seen::Unreadable(_)));
    }
}
