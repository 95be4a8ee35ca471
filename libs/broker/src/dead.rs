//! Dead letters: what was refused, where it came from and why, for an operator.

use bytes::Bytes;
use packline_domain::MAX_PAYLOAD;
use sha2::{Digest, Sha256};

use crate::{Broker, Message, StreamName, topology};

/// What is kept of a body that is larger than any message may be.
const KEPT: usize = 64 * 1024;

/// Something refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The last token of the subject `dead.<kind>`: `packages`, `control`, `results`, `catalogue`, …
    pub kind: String,
    /// Why, in one line for people.
    pub reason: String,
    /// Where it was published.
    pub source_subject: String,
    /// The message that it was, or was part of, where that came from a stream.
    pub source: Option<Source>,
    /// What was refused; of a batch, the item.
    pub payload: Bytes,
}

/// A message of a stream, or an item of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The stream.
    pub stream: StreamName,
    /// Its sequence there.
    pub sequence: u64,
    /// When it was stored, in nanoseconds since 1970. A stream that was recreated counts from 1 again.
    pub stored: u64,
    /// Its place in the message, where it was one of several.
    pub item: Option<usize>,
}

impl DeadLetter {
    /// What the broker tells it from all others by, as often as it is stored.
    fn id(&self) -> String {
        match self.source {
            Some(Source { stream, sequence, stored, item }) => {
                let item = item.map(|item| format!(":{item}")).unwrap_or_default();
                format!("{}:{sequence}:{stored}{item}", stream.as_str())
            }
            None => {
                let mut hash = Sha256::new();
                for part in [self.source_subject.as_bytes(), self.reason.as_bytes(), &self.payload] {
                    hash.update(part.len().to_be_bytes());
                    hash.update(part);
                }
                format!("{}:{}", self.kind, hex::encode(hash.finalize()))
            }
        }
    }

    /// The message to `dead.<kind>`. A body above 256 KiB is cut to its first 64 KiB, with its size and
    /// SHA-256 in the headers. The same letter is kept once, of those without a source the same text once a day.
    pub fn message(self) -> Message {
        let id = Some(self.id());
        let mut headers = vec![("Reason".to_owned(), self.reason), ("Source-Subject".to_owned(), self.source_subject)];
        if let Some(source) = self.source {
            headers.push(("Source-Sequence".to_owned(), source.sequence.to_string()));
        }
        let mut payload = self.payload;
        if payload.len() > MAX_PAYLOAD {
            headers.push(("Size".to_owned(), payload.len().to_string()));
            headers.push(("SHA-256".to_owned(), hex::encode(Sha256::digest(&payload))));
            payload = payload.slice(..KEPT);
        }
        Message { subject: topology::dead(&self.kind), payload, id, headers }
    }
}

impl Broker {
    /// Stores a dead letter, however long that takes. Do it before the source is acknowledged.
    pub async fn dead_letter(&self, letter: DeadLetter) {
        self.publish_stored(vec![letter.message()]).await;
    }
}
