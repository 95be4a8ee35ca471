//! Asks the catalogue what is to be built, and announces it.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use packline_broker::{Broker, BrokerError, BucketName, DeadLetter, Message, Pull, topology};
use packline_domain::{
    Command, PackageName, Refused, SCHEMA,
    record::{LEADER, LastPoll, Leader},
};
use packline_service::Shutdown;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, sleep_until},
};

use crate::{
    announce::{Asked, announce},
    catalogue::Catalogue,
    clock,
    lease::{Deposed, Lease},
    reporter::Question,
    schedule::until_next_poll,
    session::CallError,
};

/// The key of [`LastPoll`].
const LAST: &str = "last";
/// Between two questions for what waits to be reported.
const SETTLING: Duration = Duration::from_millis(50);
/// What waits to be reported is known within the ack wait of an earlier poller's messages, or so.
const SAID_AFTER: Duration = Duration::from_secs(60);

/// Why a poll announced nothing.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error("the catalogue cannot be asked: {0}")]
    Catalogue(#[from] CallError),
    #[error("{0}")]
    Broker(#[from] BrokerError),
    #[error("the key {LEADER} of the orchestrator cannot be read: {0}")]
    Leader(#[from] serde_json::Error),
    #[error(transparent)]
    Deposed(#[from] Deposed),
}

/// The polls of one term of the active poller.
pub(crate) struct Polls {
    pub(crate) broker: Broker,
    pub(crate) catalogue: Catalogue,
    pub(crate) lease: Lease,
    pub(crate) interval: Duration,
    pub(crate) questions: mpsc::Sender<Question>,
}

impl Polls {
    /// Polls now, then every interval and on command, until asked to stop.
    pub(crate) async fn run(self, shutdown: Shutdown) -> Result<(), Deposed> {
        let mut commands = Commands { broker: self.broker.clone(), pull: None };
        let mut failures = 0_u32;
        loop {
            let polled = self.poll_one(&shutdown).await;
            if shutdown.is_requested() {
                return Ok(());
            }
            let mut last = LastPoll { schema: SCHEMA, at: clock::now(), packages: 0, error: None };
            match polled {
                Ok(found) => {
                    failures = 0;
                    last.packages = found;
                }
                Err(PollError::Deposed(deposed)) => return Err(deposed),
                Err(error) => {
                    failures = failures.saturating_add(1);
                    last.error = Some(error.to_string());
                }
            }
            self.lease.write(LAST, serde_json::to_vec(&last).ok()).await?;
            let wait = until_next_poll(self.interval, failures, fastrand::f64());
            if let Some(error) = last.error {
                let seconds = Duration::from_secs(wait.as_secs().max(1));
                tracing::error!("failed to poll, trying again in {}: {error}", humantime::format_duration(seconds));
            }
            tokio::select! {
                () = sleep_until((Instant::now() + wait).into()) => {}
                () = commands.poll_now() => tracing::info!("told to poll now"),
                () = shutdown.requested() => return Ok(()),
            }
        }
    }

    /// One poll; how many packages the catalogue named.
    async fn poll_one(&self, shutdown: &Shutdown) -> Result<usize, PollError> {
        // in this order: an outcome that is not on packages.status by now is later than the mark, and one
        // that is, is either known to the catalogue before it is asked, or left out
        let reported_through = self.reported_through().await?;
        let unreported = self.unreported(shutdown).await?;
        let at = clock::now();
        let items = self.catalogue.queue(shutdown).await?;
        tracing::info!("found {} in the catalogue", packages(items.len()));
        let announced = announce(&items, Asked { at, reported_through, unreported: &unreported });
        if !announced.left_out.is_empty() {
            let names: Vec<&str> = announced.left_out.iter().map(PackageName::as_str).take(10).collect();
            tracing::info!(
                "left out {} whose outcome the catalogue does not know yet: {}",
                packages(announced.left_out.len()),
                names.join(", ")
            );
        }
        self.refuse(announced.refused).await;
        if announced.messages.is_empty() {
            tracing::info!("nothing to announce");
            return Ok(items.len());
        }
        let count: usize = announced.messages.iter().map(|message| message.packages.len()).sum();
        let poll = format!("poll-{:016x}", fastrand::u64(..));
        let messages = announced.messages.iter().enumerate().map(|(part, body)| {
            let id = Some(format!("{poll}-{part}"));
            Message { id, ..Message::json(topology::packages_new(), body) }
        });
        self.broker.publish_stored(messages.collect()).await;
        tracing::info!("announced {} on packages.new", packages(count));
        Ok(items.len())
    }

    async fn reported_through(&self) -> Result<u64, PollError> {
        let entry = self.broker.bucket(BucketName::Orchestrator).get(LEADER).await?;
        let Some(value) = entry.and_then(|entry| entry.value) else { return Ok(0) };
        Ok(serde_json::from_slice::<Leader>(&value)?.effects_through)
    }

    /// Waits until it is known whose outcome the catalogue has not accepted.
    async fn unreported(&self, shutdown: &Shutdown) -> Result<BTreeSet<PackageName>, PollError> {
        let since = Instant::now();
        let mut said = false;
        loop {
            let (question, answer) = oneshot::channel();
            self.questions.send(question).await.map_err(|_| Deposed)?;
            if let Some(packages) = answer.await.map_err(|_| Deposed)? {
                return Ok(packages);
            }
            if since.elapsed() >= SAID_AFTER && !std::mem::replace(&mut said, true) {
                tracing::warn!("the poll waits for messages of packages.status that an earlier poller took");
            }
            tokio::select! {
                () = sleep(SETTLING) => {}
                () = shutdown.requested() => return Err(CallError::Broken("asked to stop".into()).into()),
            }
        }
    }

    /// Each item that is no package goes to `dead.catalogue`, once a day however often it is named.
    async fn refuse(&self, refused: Vec<Refused>) {
        let mut letters = Vec::with_capacity(refused.len());
        for Refused { payload, reason, index } in refused {
            tracing::warn!("item {index} of the catalogue's answer is left out: {reason}");
            let mut hasher = DefaultHasher::new();
            (&payload, &reason).hash(&mut hasher);
            let letter = DeadLetter {
                kind: "catalogue".to_owned(),
                reason,
                source_subject: self.catalogue.queue_tool().to_owned(),
                source: None,
                payload: payload.into(),
            };
            letters.push(Message { id: Some(format!("catalogue:{:016x}", hasher.finish())), ..letter.message() });
        }
        self.broker.publish_stored(letters).await;
    }
}

fn packages(count: usize) -> String {
    if count == 1 { "1 package".to_owned() } else { format!("{count} packages") }
}

/// `control.poll`, as it comes.
struct Commands {
    broker: Broker,
    pull: Option<Pull>,
}

impl Commands {
    /// Returns once somebody commands a poll. All commands that wait are one. They are acknowledged before
    /// the poll: a poller that dies meanwhile is followed by one that polls at its start.
    async fn poll_now(&mut self) {
        const MOST: usize = 256;
        const FETCH: Duration = Duration::from_secs(30);
        loop {
            match self.fetch(MOST, FETCH).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("failed to take control.poll: {error}");
                    self.pull = None;
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn fetch(&mut self, most: usize, expires: Duration) -> Result<bool, BrokerError> {
        let pull = match &mut self.pull {
            Some(pull) => pull,
            none => none.insert(self.broker.polls().await?),
        };
        let mut commanded = false;
        for delivery in pull.fetch(most, expires).await? {
            // what cannot be understood is dead-lettered by the orchestrator, which sees all commands
            commanded |= Command::parse("poll", &delivery.payload).is_ok();
            delivery.ack().await;
        }
        Ok(commanded)
    }
}
