//! Waking a worker: a nudge to read its permits again, which it does by itself sooner or later.

use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt;

use crate::{Broker, BrokerError, topology};

/// The nudges for one worker.
pub struct Wakeups {
    subscriber: Subscriber,
}

impl Broker {
    /// Listens for nudges on `builds.stop.<worker>`.
    ///
    /// # Errors
    /// When the connection is closed, or the name cannot be part of a subject.
    pub async fn wakeups(&self, worker: &str) -> Result<Wakeups, BrokerError> {
        let subscriber = self.client().subscribe(topology::stop(worker)).await.map_err(BrokerError::unavailable)?;
        Ok(Wakeups { subscriber })
    }

    /// Nudges a worker; where it does not listen, nothing happens.
    pub async fn wake(&self, worker: &str) {
        if let Err(error) = self.client().publish(topology::stop(worker), Bytes::new()).await {
            tracing::debug!("{worker} was not woken: {error}");
        }
    }
}

impl Wakeups {
    /// Returns at the next nudge. Cancellation safe.
    pub async fn next(&mut self) {
        if self.subscriber.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
