//! The log of a build, on its way while the build runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use packline_domain::{BuildId, MAX_PAYLOAD};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Broker, Message,
    batch::{self, Outgoing},
    topology,
};

/// Messages that wait to be sent; beyond it lines are lost rather than the build held up.
const WAITING: usize = 4096;
/// Messages sent and not yet stored.
const IN_FLIGHT: usize = 256;
/// How long the end of a build waits for its log.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where the lines of one build go: `builds.log.<buildId>`. Never holds up the build.
pub struct BuildLog {
    subject: String,
    sender: mpsc::Sender<Outgoing>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    given: AtomicU64,
    stored: AtomicU64,
}

impl Broker {
    /// Opens the log of a build.
    pub fn build_log(&self, build: &BuildId) -> BuildLog {
        let (sender, lines) = mpsc::channel(WAITING);
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(ship(self.clone(), lines, Arc::clone(&counts)));
        BuildLog { subject: topology::build_log(build), sender, counts, task }
    }
}

impl BuildLog {
    /// Hands over what a phase printed: one line, or several in one message of at most 256 KiB.
    pub fn line(&self, phase: &str, text: impl Into<Bytes>) {
        let text = text.into();
        self.counts.given.fetch_add(1, Ordering::Relaxed);
        if text.len() > MAX_PAYLOAD {
            return;
        }
        let headers = vec![("Phase".to_owned(), phase.to_owned())];
        let message = Message { headers, ..Message::new(self.subject.as_str(), text) };
        // A full queue loses the line, and `finish` counts it.
        let _ = self.sender.try_send(message.into());
    }

    /// Waits up to 5 s for what is on its way; answers how many messages are not known to be stored.
    pub async fn finish(self) -> u64 {
        drop(self.sender);
        let mut task = self.task;
        if tokio::time::timeout(LAST_WORDS, &mut task).await.is_err() {
            task.abort();
        }
        self.counts.given.load(Ordering::Relaxed).saturating_sub(self.counts.stored.load(Ordering::Relaxed))
    }
}

async fn ship(broker: Broker, mut lines: mpsc::Receiver<Outgoing>, counts: Arc<Counts>) {
    let mut acks = FuturesUnordered::new();
    loop {
        tokio::select! {
            line = lines.recv(), if acks.len() < IN_FLIGHT => match line {
                Some(line) => {
                    if let Ok(ack) = batch::send(&broker, &line).await {
                        acks.push(ack.into_future());
                    }
                }
                None => break,
            },
            Some(ack) = acks.next() => note(ack.is_ok(), &counts),
        }
    }
    while let Some(ack) = acks.next().await {
        note(ack.is_ok(), &counts);
    }
}

fn note(stored: bool, counts: &Counts) {
    if stored {
        counts.stored.fetch_add(1, Ordering::Relaxed);
    }
}
