//! What commits imply is published here, beside the loop, each kind in commit order (law 5c).

use std::time::{Duration, Instant};

use packline_broker::{Broker, Message, topology};
use packline_domain::{Effect, Event};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{clearing::Clearing, leader::Lease, pace::Pace};

/// How long reports are gathered at most: no build is waiting for them.
const REPORTS: Duration = Duration::from_millis(250);

/// What follows from one commit.
#[derive(Debug)]
pub(crate) struct Released {
    /// Its number.
    pub(crate) commit: u64,
    /// What it implies, in order.
    pub(crate) effects: Vec<Effect>,
    /// No build with a lower serial than this stands; looked up where something is ordered, else 0.
    pub(crate) standing: u64,
}

/// The way out. Dropped with the leadership; what it had not sent stands in `effects.<i>`.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Each in commit order; none waits for another.
    lanes: [Lane; LANES],
}

/// Wake-ups, orders, and what others read about it.
const LANES: usize = 3;

fn lane(effect: &Effect) -> usize {
    match effect {
        Effect::Wake(_) => 0,
        Effect::Order(_) => 1,
        Effect::Status(_) | Effect::Event(_) => 2,
    }
}

#[derive(Debug)]
struct Lane {
    queue: mpsc::UnboundedSender<Released>,
    through: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outbox {
    /// Starts publishing; everything up to the commit `through` is out already.
    pub(crate) fn start(broker: &Broker, lease: &Lease, through: u64) -> Self {
        let start = |pace, clearing| {
            let sender = Sender { broker: broker.clone(), lease: lease.clone(), pace, clearing };
            Lane::start(sender, through)
        };
        let lanes = [
            start(Pace::at_once(), None),
            start(Pace::at_once(), Some(Clearing::new(broker))),
            start(Pace::new(10, REPORTS), None),
        ];
        Self { lanes }
    }

    /// Hands over what follows from a commit, also where that is nothing: so `through` moves on.
    pub(crate) fn send(&self, released: Released) {
        let Released { commit, effects, standing } = released;
        let mut parts: [Vec<Effect>; LANES] = Default::default();
        for effect in effects {
            if let Some(part) = parts.get_mut(lane(&effect)) {
                part.push(effect);
            }
        }
        for (lane, effects) in self.lanes.iter().zip(parts) {
            let _ = lane.queue.send(Released { commit, effects, standing });
        }
    }

    /// The commit up to which all effects are out.
    pub(crate) fn through(&self) -> u64 {
        self.lanes.iter().map(|lane| *lane.through.borrow()).min().unwrap_or_default()
    }

    /// Returns when more is out than was known before.
    pub(crate) async fn progress(&mut self) {
        let moved = self.lanes.iter_mut().map(|lane| Box::pin(lane.through.changed()));
        if futures::future::select_all(moved).await.0.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Lane {
    fn start(mut sender: Sender, through: u64) -> Self {
        let (queue, mut queued) = mpsc::unbounded_channel::<Released>();
        let (done, through) = watch::channel(through);
        let task = tokio::spawn(async move {
            while let Some(first) = queued.recv().await {
                if !first.effects.is_empty() {
                    tokio::time::sleep_until(sender.pace.ready().into()).await;
                }
                let Released { mut commit, mut effects, mut standing } = first;
                while let Ok(more) = queued.try_recv() {
                    effects.extend(more.effects);
                    (commit, standing) = (more.commit, standing.max(more.standing));
                }
                sender.send(effects, standing).await;
                done.send_replace(commit);
            }
        });
        Self { queue, through, task }
    }
}

/// What sends the effects of a lane.
struct Sender {
    broker: Broker,
    lease: Lease,
    pace: Pace,
    /// Of the lane of orders.
    clearing: Option<Clearing>,
}

impl Sender {
    async fn send(&mut self, effects: Vec<Effect>, standing: u64) {
        while !self.lease.is_valid() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (mut messages, mut serials) = (Vec::new(), Vec::new());
        for effect in &effects {
            match effect {
                Effect::Wake(worker) => self.broker.wake(worker).await,
                Effect::Order(order) => {
                    serials.push(order.build_id.serial);
                    messages.extend(message(effect));
                }
                Effect::Event(event) => {
                    // An alarm went into the log when it was raised, as an error.
                    if event.kind != Event::STALLED {
                        tracing::info!("{}", event.message);
                    }
                    messages.extend(message(effect));
                }
                Effect::Status(_) => messages.extend(message(effect)),
            }
        }
        if messages.is_empty() {
            return;
        }
        let sent = Instant::now();
        let sequences = self.broker.publish_stored(messages).await;
        self.pace.wrote(sent.elapsed());
        if let Some(clearing) = &mut self.clearing {
            for (serial, sequence) in serials.into_iter().zip(sequences) {
                clearing.note(serial, sequence);
            }
            clearing.clear(standing);
        }
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
