//! Which poller is active: the lease on the key `leader` of the bucket `poller`, and all writes to that bucket.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use packline_broker::{Bucket, Chain, CommitError, Write};
use packline_domain::{SCHEMA, record::Leader};
use packline_service::Health;
use tokio::sync::{mpsc, oneshot};

/// A poller that is silent for so long is replaced.
const LEASE: Duration = Duration::from_secs(6);

/// The most writes of one commit.
const TOGETHER: usize = 256;

/// What the active poller may do as long as it holds the lease; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    confirmed: Arc<Mutex<Instant>>,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    write: Write,
    done: Option<oneshot::Sender<()>>,
}

/// Another poller is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another poller is active now")]
pub(crate) struct Deposed;

impl Lease {
    /// Whether nobody else can have become active since the last confirmed rewrite.
    pub(crate) fn is_valid(&self) -> bool {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < LEASE
    }

    /// Writes a key of the bucket, or marks it as deleted, together with the lease.
    ///
    /// # Errors
    /// When another poller is active; nothing was written.
    pub(crate) async fn write(&self, key: impl Into<String>, value: Option<Vec<u8>>) -> Result<(), Deposed> {
        let (done, written) = oneshot::channel();
        let write = Write { key: key.into(), value: value.map(Into::into), expect: None };
        self.requests.send(Request { write, done: Some(done) }).await.map_err(|_| Deposed)?;
        written.await.map_err(|_| Deposed)
    }

    /// The same, without waiting until it is written; writes keep their order.
    ///
    /// # Errors
    /// When another poller is active.
    pub(crate) async fn note(&self, key: impl Into<String>, value: Option<Vec<u8>>) -> Result<(), Deposed> {
        let write = Write { key: key.into(), value: value.map(Into::into), expect: None };
        self.requests.send(Request { write, done: None }).await.map_err(|_| Deposed)
    }
}

/// The one writer of the bucket, for as long as this poller is active.
pub(crate) struct Keeper {
    chain: Chain,
    record: Leader,
    confirmed: Arc<Mutex<Instant>>,
    requests: mpsc::Receiver<Request>,
}

impl Keeper {
    /// Takes the lease where `observed` still is the revision of `leader`.
    ///
    /// # Errors
    /// [`CommitError::Deposed`] when another was faster.
    pub(crate) async fn take(
        bucket: &Bucket,
        (observed, previous): (u64, Option<Leader>),
        me: &str,
    ) -> Result<(Self, Lease), CommitError> {
        let mut record = previous.unwrap_or_default();
        record.schema = SCHEMA;
        record.holder = Some(me.to_owned());
        record.term += 1;
        record.commit += 1;
        record.attempt = attempt();
        record.lease_millis = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let sent = Instant::now();
        let chain = Chain::take(bucket, observed, &record).await?;
        let confirmed = Arc::new(Mutex::new(sent));
        let (sender, requests) = mpsc::channel(TOGETHER);
        let lease = Lease { confirmed: Arc::clone(&confirmed), requests: sender };
        Ok((Self { chain, record, confirmed, requests }, lease))
    }

    /// The term in which this poller is the active one.
    pub(crate) fn term(&self) -> u64 {
        self.record.term
    }

    /// The revision of `leader` that took the lease, or was written last.
    pub(crate) fn revision(&self) -> u64 {
        self.chain.revision()
    }

    /// Keeps the lease, and writes what is asked for, until the last [`Lease`] is dropped; then gives it up,
    /// so that the next poller need not wait.
    ///
    /// # Errors
    /// [`CommitError::Deposed`] when another poller is active.
    pub(crate) async fn keep(mut self, health: &Health) -> Result<(), CommitError> {
        loop {
            health.turn();
            let age = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            let mut requests = Vec::new();
            tokio::select! {
                count = self.requests.recv_many(&mut requests, TOGETHER) => if count == 0 { break },
                () = tokio::time::sleep((LEASE / 3).saturating_sub(age)) => {}
            }
            let (writes, done): (Vec<_>, Vec<_>) =
                requests.into_iter().map(|request| (request.write, request.done)).unzip();
            health.waiting(self.commit(&writes)).await?;
            for done in done.into_iter().flatten() {
                let _ = done.send(());
            }
        }
        self.record.holder = None;
        health.waiting(self.commit(&[])).await
    }

    async fn commit(&mut self, writes: &[Write]) -> Result<(), CommitError> {
        self.record.commit += 1;
        self.record.attempt = attempt();
        let sent = Instant::now();
        self.chain.commit(&self.record, writes).await?;
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = sent;
        Ok(())
    }
}

fn attempt() -> String {
    format!("{:016x}", fastrand::u64(..))
}
