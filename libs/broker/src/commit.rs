//! The fenced chain of commits: one writer, and the broker enforces it.

use bytes::Bytes;
use packline_domain::record::{LEADER, Leader};

use crate::{
    BrokerError, Bucket,
    batch::{self, MAX_BATCH, Outgoing},
    patience::Patience,
};

/// The most writes of one commit; with `leader` that is the most that one batch may have.
pub const MAX_WRITES: usize = MAX_BATCH - 1;

/// One record that a commit writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its key.
    pub key: String,
    /// `None` marks it as deleted.
    pub value: Option<Bytes>,
    /// The revision that it must have, where others write it too; 0: never written.
    pub expect: Option<u64>,
}

/// A commit that is stored, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Revision of `leader`; write i (from 0) has `first + 1 + i`.
    pub first: u64,
}

/// Why a commit is not stored. Nothing of it is, nor ever will be.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else leads: drop all that is in memory and stand by.
    #[error("somebody else leads now")]
    Deposed,
    /// A record has not the revision that was expected; the chain stands. Read, decide again, commit again.
    #[error("a record was written by somebody else meanwhile")]
    Conflict,
    /// More than [`MAX_WRITES`] writes.
    #[error("{0} writes do not fit into one commit of at most {MAX_WRITES}")]
    TooLarge(usize),
    /// The broker refuses it for another reason: stop.
    #[error("failed to commit: {0}")]
    Fatal(BrokerError),
}

/// The chain, held by its revision: each commit rewrites `leader` and fails whole where somebody else did.
pub struct Chain {
    bucket: Bucket,
    revision: u64,
}

/// What reading `leader` says about a try without a clear answer.
enum Standing {
    /// Stored: `leader` carries this try.
    Ours(u64),
    /// `leader` is as it was before the try.
    Unchanged,
    /// Another chain.
    Theirs,
}

impl Chain {
    /// Takes the lease by one compare-and-set at the revision `observed` (0: there is no key).
    ///
    /// # Errors
    /// [`CommitError::Deposed`] when somebody else was faster.
    pub async fn take(bucket: &Bucket, observed: u64, leader: &Leader) -> Result<Self, CommitError> {
        let mut chain = Self { bucket: bucket.clone(), revision: observed };
        chain.commit(leader, &[]).await?;
        Ok(chain)
    }

    /// Revision of `leader` as of the last commit.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Stores `leader` and all writes, or nothing. Returns only when that is decided, however long the
    /// broker is away. `leader.attempt` must be new and random: by it a commit whose answer was lost is
    /// recognised.
    ///
    /// Dropped before it returns, the commit is unknown, and so is this chain: take the lease anew.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&mut self, leader: &Leader, writes: &[Write]) -> Result<Committed, CommitError> {
        if writes.len() > MAX_WRITES {
            return Err(CommitError::TooLarge(writes.len()));
        }
        let records = self.records(leader, writes)?;
        let fenced_only = writes.iter().all(|write| write.expect.is_none());
        let mut patience = Patience::new(format!("commit {}", leader.commit));
        loop {
            let error = match batch::store_all(self.bucket.broker(), &records).await {
                Ok(first) => return Ok(self.stored(first)),
                Err(error) => error,
            };
            match self.standing(leader).await? {
                Standing::Ours(first) => return Ok(self.stored(first)),
                Standing::Theirs => return Err(CommitError::Deposed),
                Standing::Unchanged if error.is_conflict() && !fenced_only => return Err(CommitError::Conflict),
                Standing::Unchanged if error.is_conflict() || error.is_passing() => patience.pause(&error).await,
                Standing::Unchanged => return Err(CommitError::Fatal(error)),
            }
        }
    }

    fn records(&self, leader: &Leader, writes: &[Write]) -> Result<Vec<Outgoing>, CommitError> {
        let value =
            serde_json::to_vec(leader).map_err(|error| CommitError::Fatal(BrokerError::refused(error.to_string())))?;
        let mut records = Vec::with_capacity(writes.len() + 1);
        records.push(self.bucket.write(LEADER, Some(value.into()), Some(self.revision)));
        records.extend(writes.iter().map(|write| self.bucket.write(&write.key, write.value.clone(), write.expect)));
        Ok(records)
    }

    fn stored(&mut self, first: u64) -> Committed {
        self.revision = first;
        Committed { first }
    }

    /// Reads `leader`, for as long as it takes. An earlier copy of the same try may still arrive after that;
    /// it carries the same try under the same fence, so only one copy can ever be stored.
    async fn standing(&self, leader: &Leader) -> Result<Standing, CommitError> {
        let mut patience = Patience::new(format!("read how commit {} ended", leader.commit));
        let entry = loop {
            match self.bucket.get(LEADER).await {
                Ok(entry) => break entry,
                Err(error) if error.is_passing() => patience.pause(&error).await,
                Err(error) => return Err(CommitError::Fatal(error)),
            }
        };
        let revision = entry.as_ref().map_or(0, |entry| entry.revision);
        if revision == self.revision {
            return Ok(Standing::Unchanged);
        }
        let found = entry.and_then(|entry| entry.value).and_then(|value| serde_json::from_slice::<Leader>(&value).ok());
        Ok(match found {
            Some(found) if found.attempt == leader.attempt => Standing::Ours(revision),
            _ => Standing::Theirs,
        })
    }
}
