//! Publishing: stored means acknowledged by the broker, and nothing less.

use bytes::Bytes;
use futures::future::join_all;
use serde::Serialize;

use crate::{
    Broker, BrokerError, DeadLetter, StreamName,
    batch::{self, MAX_BATCH, Outgoing},
    patience::Patience,
};

/// From so many messages of one stream on, one atomic batch costs less than as many single ones.
pub const BATCH_FROM: usize = 16;
/// A message and its headers must fit into what the broker takes at once.
const HEADER_ROOM: usize = 8 * 1024;

/// A message to be stored in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where, see [`crate::topology`].
    pub subject: String,
    /// Its body.
    pub payload: Bytes,
    /// Stored at most once within the stream's window; a saving, never the argument.
    pub id: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl Message {
    /// A message with `body` as JSON.
    ///
    /// # Panics
    /// When `body` has a map with keys that are no strings, which nothing of `packline-domain` has.
    pub fn json(subject: impl Into<String>, body: &impl Serialize) -> Self {
        let payload = serde_json::to_vec(body).expect("messages are serializable");
        Self::new(subject, payload)
    }

    /// A message with these bytes.
    pub fn new(subject: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), payload: payload.into(), id: None, headers: Vec::new() }
    }
}

impl From<Message> for Outgoing {
    fn from(message: Message) -> Self {
        let Message { subject, payload, id, headers } = message;
        Self { id, headers, ..Self::new(subject, payload) }
    }
}

impl Broker {
    /// Stores one message and answers its sequence; one try.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] when it may be stored or not.
    pub async fn publish(&self, message: Message) -> Result<u64, BrokerError> {
        batch::store(self, &message.into()).await
    }

    /// Stores all messages, those of each stream in their order, and returns when all are stored, however
    /// long that takes. Many of one stream go as one batch, few are pipelined. After a failure what follows
    /// it is sent again, so the last copies are in order. To give up, drop it: what was stored stays.
    ///
    /// Answers their sequences, as many and in the same order; of one that was stored before under its id
    /// that of then.
    pub async fn publish_stored(&self, messages: Vec<Message>) -> Vec<u64> {
        let largest = self.client().max_payload().saturating_sub(HEADER_ROOM);
        let mut sequences = vec![0; messages.len()];
        let mut queues: Vec<(Option<StreamName>, Vec<usize>, Vec<Outgoing>)> = Vec::new();
        for (place, message) in messages.into_iter().enumerate() {
            // It could never be stored, and would hold up all others for ever.
            let message = if message.payload.len() > largest { too_large(message) } else { message };
            let stream = StreamName::of(&message.subject);
            if stream == Some(StreamName::Dead) {
                self.count_dead_letter(&message.subject);
            }
            match queues.iter_mut().find(|(of, ..)| *of == stream) {
                Some((_, places, queue)) => {
                    places.push(place);
                    queue.push(message.into());
                }
                None => queues.push((stream, vec![place], vec![message.into()])),
            }
        }
        let stored = join_all(queues.iter().map(|(stream, _, queue)| self.store_queue(*stream, queue))).await;
        for ((_, places, _), stored) in queues.iter().zip(stored) {
            for (place, sequence) in places.iter().zip(stored) {
                if let Some(slot) = sequences.get_mut(*place) {
                    *slot = sequence;
                }
            }
        }
        sequences
    }

    async fn store_queue(&self, stream: Option<StreamName>, queue: &[Outgoing]) -> Vec<u64> {
        let mut patience = Patience::new(format!("publish to {}", stream.map_or("a stream", StreamName::as_str)));
        let mut sequences = Vec::with_capacity(queue.len());
        for chunk in queue.chunks(MAX_BATCH) {
            // One that was stored before under its id has the whole refused: then they go singly.
            let mut whole = chunk.len() >= BATCH_FROM && stream.is_some_and(StreamName::takes_batches);
            let mut rest = chunk;
            while !rest.is_empty() {
                let failed = if whole {
                    match batch::store_all(self, rest).await {
                        Ok(first) => {
                            sequences.extend((first..).take(rest.len()));
                            break;
                        }
                        Err(error) => error,
                    }
                } else {
                    let before = sequences.len();
                    let ended = self.store_singly(rest, &mut sequences).await;
                    rest = rest.get(sequences.len() - before..).unwrap_or_default();
                    match ended {
                        Ok(()) => break,
                        Err(error) => error,
                    }
                };
                whole &= failed.is_passing();
                patience.pause(&failed).await;
            }
        }
        sequences
    }

    /// Sends all, then awaits their acks; after a failure `sequences` has grown by those stored before it.
    async fn store_singly(&self, messages: &[Outgoing], sequences: &mut Vec<u64>) -> Result<(), BrokerError> {
        let storing = async {
            let mut acks = Vec::with_capacity(messages.len());
            for message in messages {
                acks.push(batch::send(self, message).await?);
            }
            for ack in acks {
                sequences.push(ack.await?.sequence);
            }
            Ok::<(), BrokerError>(())
        };
        self.heard(storing).await
    }
}

fn too_large(message: Message) -> Message {
    let bytes = message.payload.len();
    tracing::error!("a message of {bytes} bytes for {} is too large for the broker", message.subject);
    DeadLetter {
        kind: "oversized".to_owned(),
        reason: format!("{bytes} bytes are more than the broker takes"),
        source_subject: message.subject,
        source: None,
        payload: message.payload,
    }
    .message()
}
