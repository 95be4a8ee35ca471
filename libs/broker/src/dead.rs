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
    /// The last token of the subject `dead.<kind>`: `packages`, `control`, `result`, `catalogue`, …
    pub kind: String,
    /// Why, in one line for people.
    pub reason: String,
    /// Where it was published.
    pub source_subject: String,
    /// Its stream, its sequence there, and its place in the batch where it was one of several. The same
    /// refused twice is kept once.
    pub source: Option<(StreamName, u64, usize)>,
    /// What was refused; of a batch, the item.
    pub payload: Bytes,
}

impl DeadLetter {
    /// The message to `dead.<kind>`. A body above 256 KiB is cut to its first 64 KiB, with its size and
    /// SHA-256 in the headers.
    pub fn message(self) -> Message {
        let mut headers = vec![("Reason".to_owned(), self.reason), ("Source-Subject".to_owned(), self.source_subject)];
        if let Some((_, sequence, _)) = self.source {
            headers.push(("Source-Sequence".to_owned(), sequence.to_string()));
        }
        let mut payload = self.payload;
        if payload.len() > MAX_PAYLOAD {
            headers.push(("Size".to_owned(), payload.len().to_string()));
            headers.push(("SHA-256".to_owned(), hex::encode(Sha256::digest(&payload))));
            payload = payload.slice(..KEPT);
        }
        let id = self.source.map(|(stream, sequence, index)| format!("{}:{sequence}:{index}", stream.as_str()));
        Message { subject: topology::dead(&self.kind), payload, id, headers }
    }
}

impl Broker {
    /// Stores a dead letter, however long that takes. Do it before the source is acknowledged.
    pub async fn dead_letter(&self, letter: DeadLetter) {
        self.publish_stored(vec![letter.message()]).await;
    }
}
