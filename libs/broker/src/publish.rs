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
    pub async fn publish_stored(&self, messages: Vec<Message>) {
        let largest = self.client().max_payload().saturating_sub(HEADER_ROOM);
        let mut queues: Vec<(Option<StreamName>, Vec<Outgoing>)> = Vec::new();
        for message in messages {
            // It could never be stored, and would hold up all others for ever.
            let message = if message.payload.len() > largest { too_large(message) } else { message };
            let stream = StreamName::of(&message.subject);
            if stream == Some(StreamName::Dead) {
                self.count_dead_letter(&message.subject);
            }
            match queues.iter_mut().find(|(of, _)| *of == stream) {
                Some((_, queue)) => queue.push(message.into()),
                None => queues.push((stream, vec![message.into()])),
            }
        }
        join_all(queues.iter().map(|(stream, queue)| self.store_queue(*stream, queue))).await;
    }

    async fn store_queue(&self, stream: Option<StreamName>, queue: &[Outgoing]) {
        let mut patience = Patience::new(format!("publish to {}", stream.map_or("a stream", StreamName::as_str)));
        for chunk in queue.chunks(MAX_BATCH) {
            // One that was stored before under its id has the whole refused: then they go singly.
            let mut whole = chunk.len() >= BATCH_FROM && stream.is_some_and(StreamName::takes_batches);
            let mut rest = chunk;
            while !rest.is_empty() {
                let stored = if whole {
                    batch::store_all(self, rest).await.map(|_| ()).map_err(|error| (0, error))
                } else {
                    self.store_singly(rest).await
                };
                match stored {
                    Ok(()) => break,
                    Err((count, error)) => {
                        whole &= error.is_passing();
                        rest = rest.get(count..).unwrap_or_default();
                        patience.pause(&error).await;
                    }
                }
            }
        }
    }

    /// Sends all, then awaits their acks; after a failure how many were stored before it.
    async fn store_singly(&self, messages: &[Outgoing]) -> Result<(), (usize, BrokerError)> {
        let mut stored = 0;
        let storing = async {
            let mut acks = Vec::with_capacity(messages.len());
            for message in messages {
                acks.push(batch::send(self, message).await?);
            }
            for ack in acks {
                ack.await?;
                stored += 1;
            }
            Ok::<(), BrokerError>(())
        };
        let ended = self.heard(storing).await;
        ended.map_err(|error| (stored, error))
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
