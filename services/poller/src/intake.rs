//! Takes what comes on `packages.status`.

use std::time::Duration;

use packline_broker::{Broker, Delivery};
use tokio::{sync::mpsc, time::sleep};

/// The most messages that are taken in at once.
const BATCH: usize = 256;
/// Shorter than the lease: the request of a poller that stands still is over when the next one takes its place.
const FETCH: Duration = Duration::from_secs(5);
/// Before the next try where there is no broker, or no durable.
const AGAIN: Duration = Duration::from_secs(1);

/// Takes messages from the durable, for ever.
pub(crate) async fn forever(broker: Broker, batches: mpsc::Sender<Vec<Delivery>>) {
    loop {
        let mut pull = match broker.statuses().await {
            Ok(pull) => pull,
            Err(error) => {
                tracing::warn!("failed to take packages.status: {error}");
                sleep(AGAIN).await;
                continue;
            }
        };
        loop {
            match pull.fetch(BATCH, FETCH).await {
                Ok(batch) if batch.is_empty() => {}
                Ok(batch) => {
                    if batches.send(batch).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!("failed to take packages.status: {error}");
                    sleep(AGAIN).await;
                    break;
                }
            }
        }
    }
}
