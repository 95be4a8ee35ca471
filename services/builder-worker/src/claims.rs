//! Claims that come together are written together: one batch costs less than as many single writes (law 4).

use std::sync::Arc;

use bytes::Bytes;
use packline_broker::BATCH_FROM;
use tokio::sync::{mpsc, oneshot};

use crate::worker::Worker;

/// Claims of one batch; more wait for the next.
const GROUP: usize = 512;

/// One compare-and-set that claims a permit.
pub(crate) struct Claim {
    key: String,
    value: Bytes,
    expected: u64,
    answer: oneshot::Sender<Option<u64>>,
}

/// The way to claim together with others.
pub(crate) struct Claims {
    queue: mpsc::UnboundedSender<Claim>,
}

impl Claims {
    /// The way in, and what [`write`] takes them from.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Claim>) {
        let (queue, waiting) = mpsc::unbounded_channel();
        (Self { queue }, waiting)
    }

    /// The revision of the write, where it was done together with others. `None` when it was not, or nobody
    /// knows: then it is to be written alone.
    pub(crate) async fn write(&self, key: String, value: Bytes, expected: u64) -> Option<u64> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Claim { key, value, expected, answer }).ok()?;
        answered.await.ok().flatten()
    }
}

/// Writes what waits, as much together as there is, for as long as this process lives.
pub(crate) async fn write(worker: Arc<Worker>, mut waiting: mpsc::UnboundedReceiver<Claim>) {
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, GROUP).await > 0 {
        if group.len() < BATCH_FROM {
            // Alone, and beside each other.
            group.clear();
            continue;
        }
        let (answers, writes): (Vec<_>, Vec<_>) =
            group.drain(..).map(|claim| (claim.answer, (claim.key, claim.value, claim.expected))).unzip();
        match worker.orchestrator.update_all(&writes).await {
            Ok(first) => {
                for (answer, revision) in answers.into_iter().zip(first..) {
                    let _ = answer.send(Some(revision));
                }
            }
            // One permit that was withdrawn meanwhile has the whole batch refused.
            Err(error) => tracing::debug!("{} claims are written one by one: {error}", answers.len()),
        }
    }
}
