//! Storing messages: one singly, several as one atomic batch that is whole or absent.

use async_nats::{
    HeaderMap, HeaderValue, Subject,
    header::{
        NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
        NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID,
    },
    jetstream::{context::PublishAckFuture, message::PublishMessage},
};
use bytes::Bytes;

use crate::{Broker, BrokerError, error::Refusal, header};

/// The most messages that one batch may have.
pub(crate) const MAX_BATCH: usize = 1000;

const KV_OPERATION: &str = "KV-Operation";

/// A message ready to be stored, as often as it takes.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: Subject,
    pub(crate) payload: Bytes,
    pub(crate) id: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    /// The sequence that the last message of this subject must have; 0 for none.
    pub(crate) expect: Option<u64>,
    /// Whether it marks its key as deleted.
    pub(crate) delete: bool,
}

impl Outgoing {
    pub(crate) fn new(subject: impl Into<Subject>, payload: Bytes) -> Self {
        Self { subject: subject.into(), payload, id: None, headers: Vec::new(), expect: None, delete: false }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(name.as_str(), header::value(value).as_str());
        }
        if let Some(id) = &self.id {
            headers.insert(NATS_MESSAGE_ID, header::value(id).as_str());
        }
        if let Some(revision) = self.expect {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(revision));
        }
        if self.delete {
            headers.insert(KV_OPERATION, "DEL");
        }
        headers
    }
}

/// Sends one message; its ack may be awaited later.
pub(crate) async fn send(broker: &Broker, message: &Outgoing) -> Result<PublishAckFuture, BrokerError> {
    Ok(transmit(broker, message, message.headers()).await?)
}

/// Stores one message and answers its sequence.
pub(crate) async fn store(broker: &Broker, message: &Outgoing) -> Result<u64, BrokerError> {
    let ack = broker.heard(async { send(broker, message).await?.await.map_err(BrokerError::from) }).await?;
    Ok(ack.sequence)
}

/// Stores all messages, of one stream, or none; answers the sequence of the first. The others follow it without a gap.
///
/// Each call uses a batch id of its own: one that arrived in part can never be completed.
pub(crate) async fn store_all(broker: &Broker, messages: &[Outgoing]) -> Result<u64, BrokerError> {
    match messages {
        [one] => store(broker, one).await,
        several => broker.heard(store_batch(broker, several)).await,
    }
}

async fn store_batch(broker: &Broker, messages: &[Outgoing]) -> Result<u64, BrokerError> {
    let Some((last, others)) = messages.split_last() else { return Err(BrokerError::refused("an empty batch")) };
    let id = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let client = broker.client();
    for (message, number) in others.iter().zip(1_usize..) {
        let mut headers = message.headers();
        headers.insert(NATS_BATCH_ID, id.as_str());
        headers.insert(NATS_BATCH_SEQUENCE, HeaderValue::from(number));
        client.publish_with_headers(message.subject.clone(), headers, message.payload.clone()).await.map_err(
            |error| match error.kind() {
                async_nats::client::PublishErrorKind::Send => BrokerError::Unavailable(error.into()),
                _ => BrokerError::refused(error.to_string()),
            },
        )?;
    }
    let mut headers = last.headers();
    headers.insert(NATS_BATCH_ID, id.as_str());
    headers.insert(NATS_BATCH_SEQUENCE, HeaderValue::from(messages.len()));
    headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
    let ack = transmit(broker, last, headers).await?.await?;
    let count = messages.len() as u64;
    if ack.batch_size != Some(count) {
        return Err(BrokerError::Refused(Refusal {
            code: 0,
            description: format!(
                "a batch of {count} was acknowledged as {}: this nats-server does not keep batches whole",
                ack.batch_size.map_or_else(|| "no batch".to_owned(), |size| size.to_string())
            ),
        }));
    }
    Ok(ack.sequence.saturating_sub(count - 1))
}

async fn transmit(
    broker: &Broker,
    message: &Outgoing,
    headers: HeaderMap,
) -> Result<PublishAckFuture, async_nats::jetstream::context::PublishError> {
    let publish = PublishMessage::build().headers(headers).payload(message.payload.clone());
    broker.context().send_publish(message.subject.clone(), publish).await
}
