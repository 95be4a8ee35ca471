//! Storing what an operator sends, once.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use packline_broker::{Broker, BrokerError, Message, StreamName};
use packline_domain::MAX_PAYLOAD;

/// How long the broker may take.
const STORED_WITHIN: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(200);

/// Stores a message in a stream, and makes the streams where there are none yet; its sequence.
pub(crate) async fn store(broker: &Broker, stream: StreamName, message: Message) -> anyhow::Result<u64> {
    let subject = message.subject.clone();
    if message.payload.len() > MAX_PAYLOAD {
        bail!("{subject} has {} bytes; a message has at most {MAX_PAYLOAD}", message.payload.len());
    }
    // Sent again after a lost answer it is stored once.
    let message = Message { id: Some(format!("packline-{:032x}", fastrand::u128(..))), ..message };
    let began = Instant::now();
    loop {
        let error = match broker.publish(message.clone()).await {
            Ok(sequence) => return Ok(sequence),
            Err(error) => error,
        };
        if !error.is_passing() {
            return Err(error).with_context(|| format!("{subject} is not stored"));
        }
        // Given before anything else runs it must not be lost.
        if matches!(broker.stream_state(stream).await, Err(BrokerError::Missing(_))) {
            broker.ensure_topology().await?;
        }
        if began.elapsed() > STORED_WITHIN {
            bail!(
                "it is not known whether {subject} is stored, look with `nats stream view {}`: {error}; a user who may not \
                 publish there gets no answer either",
                stream.as_str()
            );
        }
        tokio::time::sleep(AGAIN).await;
    }
}
