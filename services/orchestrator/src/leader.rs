//! Leadership: the lease, and the record that every commit rewrites (laws 2 and 3).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use packline_broker::{Bucket, Chain, CommitError, Committed, Write};
use packline_domain::record::Leader;

/// How long the last confirmed rewrite of `leader` still counts; clones see the same.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    length: Duration,
    confirmed: Arc<Mutex<Instant>>,
}

impl Lease {
    fn new(length: Duration, sent: Instant) -> Self {
        Self { length, confirmed: Arc::new(Mutex::new(sent)) }
    }

    /// How long ago the last confirmed rewrite was sent.
    pub(crate) fn age(&self) -> Duration {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Whether nobody else can have taken over. Beyond this a leader says and publishes nothing.
    pub(crate) fn is_valid(&self) -> bool {
        self.age() < self.length
    }

    /// How long until the record must be rewritten.
    pub(crate) fn until_renewal(&self) -> Duration {
        (self.length / 3).saturating_sub(self.age())
    }

    fn confirm(&self, sent: Instant) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = sent;
    }
}

/// The one writer of the bucket.
pub(crate) struct Leadership {
    chain: Chain,
    /// As last committed.
    pub(crate) record: Leader,
    pub(crate) lease: Lease,
}

impl Leadership {
    /// Takes the lease where `observed` still is the revision of `leader`.
    ///
    /// # Errors
    /// [`CommitError::Deposed`] when another was faster.
    pub(crate) async fn take(
        bucket: &Bucket,
        observed: u64,
        previous: Option<Leader>,
        me: &str,
        lease: Duration,
        claim: Duration,
    ) -> Result<Self, CommitError> {
        let mut record = previous.unwrap_or_default();
        record.schema = packline_domain::SCHEMA;
        record.holder = Some(me.to_owned());
        record.term += 1;
        record.commit += 1;
        record.attempt = random_identity();
        record.lease_millis = millis(lease);
        record.claim_millis = millis(claim);
        let sent = Instant::now();
        let chain = Chain::take(bucket, observed, &record).await?;
        Ok(Self { chain, record, lease: Lease::new(lease, sent) })
    }

    /// The revision of `leader` that this leader wrote last.
    pub(crate) fn revision(&self) -> u64 {
        self.chain.revision()
    }

    /// The number that the next commit will have.
    pub(crate) fn next_commit(&self) -> u64 {
        self.record.commit + 1
    }

    /// One commit: `change` says what else of the leader's record changes with it.
    ///
    /// # Errors
    /// [`CommitError::Deposed`] when another leads; [`CommitError::Conflict`] when an expectation among
    /// `writes` failed and nothing was stored.
    pub(crate) async fn commit(
        &mut self,
        change: impl FnOnce(&mut Leader),
        writes: &[Write],
    ) -> Result<Committed, CommitError> {
        let mut record = self.record.clone();
        record.commit = self.next_commit();
        record.attempt = random_identity();
        change(&mut record);
        let sent = Instant::now();
        let committed = self.chain.commit(&record, writes).await?;
        self.lease.confirm(sent);
        self.record = record;
        Ok(committed)
    }
}

impl Leadership {
    /// Waits for `work` and keeps the lease meanwhile. The number of the commit stays: what is being
    /// decided under the next one is not stored yet.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) async fn keeping<T>(&mut self, work: impl Future<Output = T>) -> Result<T, CommitError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(self.lease.until_renewal()) => self.renew().await?,
            }
        }
    }

    async fn renew(&mut self) -> Result<(), CommitError> {
        let mut record = self.record.clone();
        record.attempt = random_identity();
        let sent = Instant::now();
        self.chain.commit(&record, &[]).await?;
        self.lease.confirm(sent);
        self.record = record;
        Ok(())
    }
}

fn random_identity() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
