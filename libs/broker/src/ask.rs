//! Asking a question that a micro service answers.

use bytes::Bytes;

use crate::{Broker, BrokerError};

/// The header by which a micro service says that it cannot answer.
const SERVICE_ERROR: &str = "Nats-Service-Error";

impl Broker {
    /// The answer to `question`, such as `orchestrator.state`.
    ///
    /// # Errors
    /// `Unavailable` when nobody answers, or not in time; `Refused` with the service's own words.
    pub async fn ask(&self, question: &str, body: impl Into<Bytes>) -> Result<Bytes, BrokerError> {
        let asked = self.client().request(question.to_owned(), body.into()).await;
        let answer = asked.map_err(BrokerError::unavailable)?;
        match answer.headers.as_ref().and_then(|headers| headers.get(SERVICE_ERROR)) {
            Some(refusal) => Err(BrokerError::refused(refusal.to_string())),
            None => Ok(answer.payload),
        }
    }
}
