//! Results on their way: stored for certain, then the order is over.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::worker::{Outgoing, Worker};

/// Results that are stored together.
const GROUP: usize = 512;
/// So many that are over, and permits are read before the next heartbeat.
const OVER: usize = 256;

/// Stores results, as many together as there are, for as long as this process lives.
pub(crate) async fn send(worker: Arc<Worker>, mut waiting: mpsc::UnboundedReceiver<Outgoing>) {
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, GROUP).await > 0 {
        // Builds that were claimed together and end at once come along.
        tokio::task::yield_now().await;
        while group.len() < GROUP
            && let Ok(more) = waiting.try_recv()
        {
            group.push(more);
        }
        let messages = group.iter().filter_map(|outgoing| outgoing.build.result()).collect();
        worker.broker.publish_stored(messages).await;
        for Outgoing { build, slot } in group.drain(..) {
            build.note_stored();
            worker.acks.push(build.take_acker());
            drop(slot);
        }
        if worker.table.over() > OVER {
            worker.review.notify_one();
        }
    }
}
