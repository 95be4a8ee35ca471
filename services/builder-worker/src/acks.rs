//! Acknowledgements of orders that are over. They go a little later, for the leader clears such orders many
//! at a time: what is gone by then costs the broker nothing, while each other one costs it a sync (law 4).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use packline_broker::Acker;

use crate::worker::Worker;

/// How much later; far below the durable's patience, after which an order would be delivered again.
const LATER: Duration = Duration::from_secs(1);

/// Those that wait.
#[derive(Default)]
pub(crate) struct Acks {
    waiting: Mutex<Vec<Acker>>,
}

impl Acks {
    /// The order that `acker` belongs to is over.
    pub(crate) fn push(&self, acker: Option<Acker>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(acker);
    }

    /// Sends all that wait.
    pub(crate) async fn flush(&self) {
        while let Some(acker) = self.next() {
            acker.ack().await;
        }
    }

    fn next(&self) -> Option<Acker> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Sends what waits, for as long as this process lives.
pub(crate) async fn send(worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(LATER).await;
        worker.acks.flush().await;
    }
}
