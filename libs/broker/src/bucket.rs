//! Buckets: the last word for each key, read from the leader, written by compare-and-set.

use async_nats::{Subject, jetstream::ErrorCode};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::{
    Broker, BrokerError, BucketName, Watch,
    batch::{self, Outgoing},
    load,
    patience::Patience,
};

/// The last word for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, without the bucket.
    pub key: String,
    /// `None`: it was deleted.
    pub value: Option<Bytes>,
    /// Grows with every write to the bucket.
    pub revision: u64,
}

/// The key has not the revision that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("somebody else wrote the key first")]
pub struct Conflict;

/// Why a compare-and-set was not done, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Not done: the key has another revision. Read it.
    #[error("{0}")]
    Conflict(#[from] Conflict),
    /// Perhaps done: send it again unchanged, or read.
    #[error("{0}")]
    Unknown(BrokerError),
    /// Not done, and never will be.
    #[error("{0}")]
    Refused(BrokerError),
}

/// One bucket. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    broker: Broker,
    which: BucketName,
}

impl Bucket {
    pub(crate) fn new(broker: Broker, which: BucketName) -> Self {
        Self { broker, which }
    }

    /// Which one it is.
    pub fn name(&self) -> BucketName {
        self.which
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(crate) fn subject(&self, key: &str) -> String {
        format!("{}{key}", self.which.prefix())
    }

    /// The last word for a key; `None` where it was never written.
    ///
    /// # Errors
    /// When the broker is not available, or has no such bucket.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, BrokerError> {
        let subject = format!("STREAM.MSG.GET.{}", self.which.stream());
        let found: Result<Found, _> = self.broker.api(subject, &json!({"last_by_subj": self.subject(key)})).await;
        match found {
            Ok(Found { message }) => Ok(Some(message.entry(key)?)),
            Err(BrokerError::Missing(said)) if said.contains(&ErrorCode::NO_MESSAGE_FOUND.0.to_string()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The highest revision ever written.
    ///
    /// # Errors
    /// When the broker is not available, or has no such bucket.
    pub async fn revision(&self) -> Result<u64, BrokerError> {
        self.broker.last_sequence(self.which.stream()).await
    }

    /// Writes a key whatever it is, and answers its revision. For keys that one process alone writes.
    ///
    /// # Errors
    /// When it is not known to be done.
    pub async fn put(&self, key: &str, value: Bytes) -> Result<u64, BrokerError> {
        batch::store(&self.broker, &self.write(key, Some(value), None)).await
    }

    /// Writes all keys, each if its revision is the expected one, or none; answers the revision of the
    /// first, which those of the others follow. One try: for many keys it costs less than single writes.
    ///
    /// # Errors
    /// When not all are known to be written. Write each by [`Self::write_until_decided`] then, which also
    /// finds out what an answer that was lost would have said.
    pub async fn update_all(&self, writes: &[(String, Bytes, u64)]) -> Result<u64, BrokerError> {
        let records: Vec<_> =
            writes.iter().map(|(key, value, expected)| self.write(key, Some(value.clone()), Some(*expected))).collect();
        batch::store_all(&self.broker, &records).await
    }

    /// Writes a key if its revision is `expected` (0: it was never written), and answers the new one.
    ///
    /// # Errors
    /// See [`UpdateError`]. Of two writers that expect the same revision one at most succeeds.
    pub async fn update(&self, key: &str, value: Bytes, expected: u64) -> Result<u64, UpdateError> {
        batch::store(&self.broker, &self.write(key, Some(value), Some(expected))).await.map_err(|error| {
            if error.is_conflict() {
                UpdateError::Conflict(Conflict)
            } else if error.is_passing() {
                UpdateError::Unknown(error)
            } else {
                UpdateError::Refused(error)
            }
        })
    }

    /// The same, sent again unchanged until it is accepted or refused for its revision.
    ///
    /// # Errors
    /// [`Conflict`] also when an earlier try without an answer was done after all: read the key, and
    /// compare its value with your own.
    pub async fn write_until_decided(&self, key: &str, value: Bytes, expected: u64) -> Result<u64, Conflict> {
        let mut patience = Patience::new(format!("write {key} of bucket {}", self.which.as_str()));
        loop {
            match self.update(key, value.clone(), expected).await {
                Ok(revision) => return Ok(revision),
                Err(UpdateError::Conflict(conflict)) => return Err(conflict),
                Err(error) => patience.pause(&error).await,
            }
        }
    }

    /// Marks a key as deleted, whatever it is.
    ///
    /// # Errors
    /// When it is not known to be done.
    pub async fn delete(&self, key: &str) -> Result<(), BrokerError> {
        batch::store(&self.broker, &self.write(key, None, None)).await.map(|_| ())
    }

    /// The last words of all keys that match `filter` (`>`, `permits.*`), delete markers included, in the
    /// order of their revisions. Retried until it is read without a gap.
    ///
    /// With `through` it is complete only when the key `leader` was seen at that revision or a later one,
    /// so a load that follows a takeover or a commit sees all that came before it, on every replica.
    ///
    /// # Errors
    /// When the broker refuses, or has no such bucket.
    pub async fn load(&self, filter: &str, through: u64) -> Result<Vec<Entry>, BrokerError> {
        self.load_into(filter, through).await.map(load::last_words)
    }

    /// The same, each word handed over as it comes, so that a large bucket is never in memory as a whole. What was
    /// read before a gap is dropped. A key that is written meanwhile may come twice: the later word counts.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_into<T: Default + Extend<Entry>>(&self, filter: &str, through: u64) -> Result<T, BrokerError> {
        let mut patience = Patience::new(format!("load bucket {}", self.which.as_str()));
        loop {
            match load::load(self, filter, through).await {
                Err(error) if error.is_passing() => patience.pause(&error).await,
                done => return done,
            }
        }
    }

    /// The last words of all keys that match `filter`, then every new one. See [`Watch`].
    pub fn watch(&self, filter: &str) -> Watch {
        Watch::start(self.clone(), filter)
    }

    pub(crate) fn write(&self, key: &str, value: Option<Bytes>, expect: Option<u64>) -> Outgoing {
        let delete = value.is_none();
        Outgoing { expect, delete, ..Outgoing::new(Subject::from(self.subject(key)), value.unwrap_or_default()) }
    }
}

#[derive(Deserialize)]
struct Found {
    message: Stored,
}

#[derive(Deserialize)]
struct Stored {
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Stored {
    fn entry(self, key: &str) -> Result<Entry, BrokerError> {
        let decode = |text: &str| STANDARD.decode(text).map_err(|error| BrokerError::refused(error.to_string()));
        let deleted = is_deleted(&decode(&self.hdrs)?);
        let value = if deleted { None } else { Some(Bytes::from(decode(&self.data)?)) };
        Ok(Entry { key: key.to_owned(), value, revision: self.seq })
    }
}

/// Whether the raw headers mark a deleted key.
fn is_deleted(headers: &[u8]) -> bool {
    let text = String::from_utf8_lossy(headers);
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.eq_ignore_ascii_case("KV-Operation") && matches!(value.trim(), "DEL" | "PURGE"))
}
