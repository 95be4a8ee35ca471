//! What a person wants to know of a broker before a line runs on it. Nothing here is stored.

use std::time::Duration;

use async_nats::{HeaderMap, jetstream::ErrorCode};
use bytes::Bytes;
use packline_domain::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Broker, BrokerError, StreamName, TopologyError, ensure::Replicas};

/// A denied publish is never answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// No stream is called so: what must be stored there is stored nowhere.
const NO_STREAM: &str = "PACKLINE-NOWHERE";

#[derive(Deserialize)]
struct PublishAnswer {
    error: Option<PublishRefusal>,
}

#[derive(Deserialize)]
struct PublishRefusal {
    err_code: u64,
    description: String,
}

#[derive(Deserialize)]
struct StreamTime {
    ts: Timestamp,
}

impl Broker {
    /// As the server says it.
    pub fn server_version(&self) -> String {
        self.client().server_info().version
    }

    /// Whether this account has JetStream.
    ///
    /// # Errors
    /// When it has not, or may not be asked.
    pub async fn check_jetstream(&self) -> Result<(), BrokerError> {
        self.api::<Value>("INFO".into(), &json!({})).await.map(|_| ())
    }

    /// As the server says it; another one on the same machine has another.
    pub fn server_id(&self) -> String {
        self.client().server_info().server_id
    }

    /// The first thing that is missing of the streams, buckets and shared consumers; none where all are there.
    /// How often they are kept is the orchestrator's choice.
    ///
    /// # Errors
    /// When something exists with other settings that matter, or the broker does not say.
    pub async fn check_topology(&self) -> Result<Option<String>, TopologyError> {
        self.first_missing(Replicas::Any)
            .await?
            .map_err(|source| TopologyError::Refused { what: "sure of it".into(), source })
    }

    /// The broker's clock, as it answers a question about one of Packline's streams.
    ///
    /// # Errors
    /// When the broker is not available, or has no such stream.
    pub async fn clock(&self) -> Result<Timestamp, BrokerError> {
        let subject = format!("STREAM.INFO.{}", StreamName::Control.as_str());
        self.api::<StreamTime>(subject, &json!({})).await.map(|info| info.ts)
    }

    /// Whether this user may publish on `subject`, which a stream captures. Asked by a message that the stream
    /// has to refuse.
    ///
    /// # Errors
    /// When it may not, or no stream captures the subject.
    pub async fn check_publish(&self, subject: &str) -> Result<(), BrokerError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", NO_STREAM);
        let client = self.client();
        let asked = client.request_with_headers(subject.to_owned(), headers, Bytes::new());
        let answer = tokio::time::timeout(ANSWERED_WITHIN, asked)
            .await
            .map_err(|_| match self.last_denied().filter(|denied| denied.contains(subject)) {
                Some(denied) => BrokerError::refused(denied),
                None => BrokerError::unavailable("no answer"),
            })?
            .map_err(BrokerError::unavailable)?;
        let refusal = serde_json::from_slice::<PublishAnswer>(&answer.payload).ok().and_then(|answer| answer.error);
        match refusal {
            Some(refusal) if refusal.err_code == ErrorCode::STREAM_NOT_MATCH.0 => Ok(()),
            Some(refusal) => Err(BrokerError::refused(refusal.description)),
            None => Err(BrokerError::refused("the answer is not that of a stream")),
        }
    }
}
