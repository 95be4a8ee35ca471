//! Reading single messages of a stream, beside all consumers.

use async_nats::{
    HeaderMap,
    jetstream::{
        ErrorCode,
        message::StreamMessage,
        stream::{RawMessageError, RawMessageErrorKind},
    },
};
use bytes::Bytes;
use packline_domain::Timestamp;
use serde_json::json;

use crate::{Broker, BrokerError, Refusal, StreamName, delivery::Place};

/// One message as the stream keeps it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where it was published.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the broker stored it, by the broker's clock.
    pub stored_at: Timestamp,
    /// Its body.
    pub payload: Bytes,
    headers: HeaderMap,
}

impl Stored {
    pub(crate) fn new(message: async_nats::Message, place: Place) -> Self {
        Self {
            subject: message.subject.to_string(),
            sequence: place.stream,
            stored_at: millis(i128::from(place.stored)),
            payload: message.payload,
            headers: message.headers.unwrap_or_default(),
        }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.as_str())
    }
}

impl Broker {
    /// The first message of a stream at or after the sequence `from`; none where there is no such.
    ///
    /// # Errors
    /// When the broker is not available or refuses.
    pub async fn stored(&self, stream: StreamName, from: u64) -> Result<Option<Stored>, BrokerError> {
        let found = self.context().get_stream_no_info(stream.as_str()).await.map_err(BrokerError::unavailable)?;
        sorted(found.raw_message_builder().sequence(from.max(1)).next_by_subject(">").send().await)
    }

    /// The newest message on a subject of a stream; none where there is no such.
    ///
    /// # Errors
    /// When the broker is not available or refuses.
    pub async fn newest(&self, stream: StreamName, subject: &str) -> Result<Option<Stored>, BrokerError> {
        let found = self.context().get_stream_no_info(stream.as_str()).await.map_err(BrokerError::unavailable)?;
        sorted(found.raw_message_builder().last_by_subject(subject).send().await)
    }

    /// Deletes one message of a stream; whether it was still there.
    ///
    /// # Errors
    /// When the broker is not available or refuses.
    pub async fn delete_stored(&self, stream: StreamName, sequence: u64) -> Result<bool, BrokerError> {
        let subject = format!("STREAM.MSG.DELETE.{}", stream.as_str());
        match self.api::<serde_json::Value>(subject, &json!({"seq": sequence})).await {
            Ok(_) => Ok(true),
            Err(error) if error.has_code(ErrorCode::SEQUENCE_NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes what a stream stored before `before`, as far as it is at or below the sequence `through`.
    ///
    /// # Errors
    /// When the broker is not available or refuses.
    pub async fn purge_older(&self, stream: StreamName, before: Timestamp, through: u64) -> Result<(), BrokerError> {
        let first = self.stream_state(stream).await?.first_sequence;
        // Sequences below `old` are old, those from `new` on are not, or beyond what may go.
        let (mut old, mut new) = (first, through.saturating_add(1));
        while old < new {
            let middle = old + (new - old) / 2;
            match self.stored(stream, middle).await? {
                Some(found) if found.stored_at < before && found.sequence < new => old = found.sequence + 1,
                _ => new = middle,
            }
        }
        if old > first { self.purge_before(stream, old).await } else { Ok(()) }
    }
}

fn millis(nanos: i128) -> Timestamp {
    Timestamp::from_millis(i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX))
}

fn sorted(found: Result<StreamMessage, RawMessageError>) -> Result<Option<Stored>, BrokerError> {
    match found {
        Ok(message) => Ok(Some(Stored {
            subject: message.subject.to_string(),
            sequence: message.sequence,
            stored_at: millis(message.time.unix_timestamp_nanos()),
            payload: message.payload,
            headers: message.headers,
        })),
        Err(error) => match error.kind() {
            RawMessageErrorKind::NoMessageFound => Ok(None),
            RawMessageErrorKind::JetStream(refusal) if refusal.code() != 503 => {
                Err(BrokerError::Refused(Refusal { code: refusal.error_code().0, description: refusal.to_string() }))
            }
            RawMessageErrorKind::JetStream(_) | RawMessageErrorKind::InvalidSubject | RawMessageErrorKind::Other => {
                Err(BrokerError::unavailable(error))
            }
        },
    }
}
