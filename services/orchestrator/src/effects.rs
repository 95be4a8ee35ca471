//! What commits imply is published here, in commit order, beside the loop (law 5c).

use std::time::Duration;

use packline_broker::{Broker, Message, topology};
use packline_domain::Effect;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::leader::Lease;

/// The effects of one commit.
pub(crate) type Committed = (u64, Vec<Effect>);

/// The way out. Dropped with the leadership; what it had not sent stands in `effects.<i>`.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::UnboundedSender<Committed>,
    through: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outbox {
    /// Starts publishing; everything up to the commit `through` is out already.
    pub(crate) fn start(broker: Broker, lease: Lease, through: u64) -> Self {
        let (queue, queued) = mpsc::unbounded_channel();
        let (done, through) = watch::channel(through);
        let task = tokio::spawn(publish(broker, lease, queued, done));
        Self { queue, through, task }
    }

    /// Hands over the effects of a commit, also where it has none: so `through` moves on.
    pub(crate) fn send(&self, committed: Committed) {
        let _ = self.queue.send(committed);
    }

    /// The commit up to which all effects are out.
    pub(crate) fn through(&self) -> u64 {
        *self.through.borrow()
    }

    /// Returns when more is out than was known before.
    pub(crate) async fn progress(&mut self) {
        if self.through.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn publish(
    broker: Broker,
    lease: Lease,
    mut queued: mpsc::UnboundedReceiver<Committed>,
    done: watch::Sender<u64>,
) {
    while let Some(first) = queued.recv().await {
        let mut commits = vec![first];
        while let Ok(more) = queued.try_recv() {
            commits.push(more);
        }
        let mut through = *done.borrow();
        let mut messages = Vec::new();
        let mut wakes = Vec::new();
        for (commit, effects) in commits {
            through = commit;
            for effect in effects {
                match effect {
                    Effect::Wake(worker) => wakes.push(worker),
                    other => messages.extend(message(&other)),
                }
            }
        }
        while !lease.is_valid() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for worker in wakes {
            broker.wake(&worker).await;
        }
        if !messages.is_empty() {
            broker.publish_stored(messages).await;
        }
        done.send_replace(through);
    }
}

/// The message of an effect that is stored by a stream.
fn message(effect: &Effect) -> Option<Message> {
    Some(match effect {
        Effect::Order(order) => {
            let message = Message::json(topology::builds_start(), order);
            Message { id: Some(order.build_id.to_string()), ..message }
        }
        Effect::Status(status) => {
            let id = format!("{}.{}.{:?}", status.package_name.key(), status.commit, status.status);
            Message { id: Some(id), ..Message::json(topology::packages_status(), status) }
        }
        Effect::Event(event) => Message::json(topology::event(&event.kind), event),
        Effect::Wake(_) => return None,
    })
}
