//! The log of a build, on its way while the build runs.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesOrdered};
use packline_domain::{BuildId, LogEntry, MAX_PAYLOAD};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Broker, BrokerError, Message,
    batch::{self, Outgoing},
    patience::Patience,
    topology,
};

/// Bytes that wait to be stored; beyond them there is no room for lines.
const WAITING: usize = 4 << 20;
/// What a message takes beside its body.
const BESIDE: usize = 256;
/// Messages sent and not yet known to be stored.
const IN_FLIGHT: usize = 256;
/// How long the end of a log is waited for.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where the log of one build goes: `builds.log.<buildId>`. Never holds up the build.
///
/// What the broker does not take is sent again for as long as the build runs. After a lost connection
/// something may be stored twice, or behind what follows it: the header `Number` puts it right for a reader.
pub struct BuildLog {
    subject: String,
    /// Messages go in the order of their numbers.
    sender: Mutex<(mpsc::UnboundedSender<Outgoing>, u64)>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    stored: AtomicU64,
}

impl Broker {
    /// Opens the log of a build.
    pub fn build_log(&self, build: &BuildId) -> BuildLog {
        let (sender, messages) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        let shipped = Ship {
            patience: Patience::new(format!("store the log of build {build}")),
            broker: self.clone(),
            counts: Arc::clone(&counts),
            unstored: VecDeque::new(),
        };
        let task = tokio::spawn(shipped.run(messages));
        BuildLog { subject: topology::build_log(build), sender: Mutex::new((sender, 0)), counts, task }
    }
}

impl BuildLog {
    /// Whether there is room for lines: false while the broker takes less than is written.
    pub fn has_room(&self) -> bool {
        self.counts.waiting.load(Ordering::Relaxed) < WAITING
    }

    /// Hands over one message of at most 256 KiB: of lines several where they came together. Lines want
    /// [`Self::has_room`]; what else a log says is little.
    pub fn write(&self, entry: &LogEntry, body: impl Into<Bytes>) {
        let body = body.into();
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.1 += 1;
        if body.len() > MAX_PAYLOAD {
            return;
        }
        let message = Message { headers: entry.headers(sender.1), ..Message::new(self.subject.as_str(), body) };
        let message = Outgoing::from(message);
        self.counts.waiting.fetch_add(size(&message), Ordering::Relaxed);
        // Gone only with the whole process.
        let _ = sender.0.send(message);
    }

    /// Waits up to 5 s for what is on its way; answers how many messages are not known to be stored.
    pub async fn finish(self) -> u64 {
        let Self { sender, counts, mut task, .. } = self;
        let (sender, given) = sender.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(sender);
        if tokio::time::timeout(LAST_WORDS, &mut task).await.is_err() {
            task.abort();
        }
        given.saturating_sub(counts.stored.load(Ordering::Relaxed))
    }
}

fn size(message: &Outgoing) -> usize {
    message.payload.len() + BESIDE
}

/// Brings messages to the stream in their order.
struct Ship {
    broker: Broker,
    counts: Arc<Counts>,
    patience: Patience,
    /// In order; the first of them are sent.
    unstored: VecDeque<Outgoing>,
}

impl Ship {
    async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Outgoing>) {
        let mut connections = self.broker.reconnects();
        // While nothing is confirmed one message at a time is enough to find out.
        let mut window = IN_FLIGHT;
        let mut open = true;
        loop {
            let mut acks = FuturesOrdered::new();
            let failed = loop {
                if let Some(next) = self.unstored.get(acks.len()).filter(|_| acks.len() < window) {
                    if acks.is_empty() {
                        connections.mark_unchanged();
                    }
                    match batch::send(&self.broker, next).await {
                        Ok(ack) => acks.push_back(ack.into_future()),
                        Err(error) => break error,
                    }
                    continue;
                }
                tokio::select! {
                    message = messages.recv(), if open && self.unstored.len() < window => match message {
                        Some(message) => self.unstored.push_back(message),
                        None => open = false,
                    },
                    Some(ack) = acks.next() => match ack.map_err(BrokerError::from) {
                        Err(error) if error.is_passing() => break error,
                        ack => {
                            window = IN_FLIGHT;
                            self.settle(ack);
                        }
                    },
                    _ = connections.changed(), if !acks.is_empty() => {
                        break BrokerError::unavailable("the connection was lost before the answer came");
                    }
                    else => return,
                }
            };
            window = 1;
            self.patience.pause(&failed).await;
        }
    }

    /// The first is stored, or refused for ever.
    fn settle(&mut self, ack: Result<impl Sized, BrokerError>) {
        if let Some(message) = self.unstored.pop_front() {
            self.counts.waiting.fetch_sub(size(&message), Ordering::Relaxed);
        }
        match ack {
            Ok(_) => {
                self.counts.stored.fetch_add(1, Ordering::Relaxed);
                self.patience.reset();
            }
            Err(error) => tracing::debug!("a piece of a build's log is not stored: {error}"),
        }
    }
}
