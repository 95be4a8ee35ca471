//! Asks the catalogue what is to be built, and announces it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use packline_broker::{Broker, BrokerError, BucketName, DeadLetter, Message, topology};
use packline_domain::{
    PackageName, Refused, SCHEMA,
    record::{LAST, LEADER, LastPoll, Leader},
};
use packline_service::Shutdown;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::{
    announce::{Asked, announce},
    catalogue::Catalogue,
    clock,
    commands::Commands,
    failures::{Failures, Told},
    lease::{Deposed, Lease},
    metrics,
    reporter::Question,
    schedule::{NextPoll, Schedule},
    session::CallError,
};

/// Before another look where there is no broker.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two questions for what waits to be reported.
const SETTLING: Duration = Duration::from_millis(50);
/// What waits to be reported is known within the ack wait of an earlier poller's messages, or so.
const SAID_AFTER: Duration = Duration::from_secs(30);

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
    broker: Broker,
    catalogue: Catalogue,
    lease: Lease,
    schedule: Schedule,
    questions: mpsc::Sender<Question>,
    commands: Commands,
    failures: Failures,
}

impl Polls {
    pub(crate) fn new(
        broker: Broker,
        catalogue: Catalogue,
        lease: Lease,
        schedule: Schedule,
        questions: mpsc::Sender<Question>,
    ) -> Self {
        let commands = Commands::new(broker.clone());
        Self { broker, catalogue, lease, schedule, questions, commands, failures: Failures::default() }
    }

    /// Polls when it is due and on command, until asked to stop.
    pub(crate) async fn run(mut self, shutdown: Shutdown) -> Result<(), Deposed> {
        let mut next = tokio::select! {
            next = self.first() => next,
            () = shutdown.requested() => return Ok(()),
        };
        loop {
            self.tell(&next);
            tokio::select! {
                () = until_due(&self.schedule, next) => {}
                () = self.commands.poll_now() => tracing::info!("told to poll now"),
                () = shutdown.requested() => return Ok(()),
            }
            let polled = self.poll_one(&shutdown).await;
            if shutdown.is_requested() {
                return Ok(());
            }
            let command = self.commands.covered();
            let mut last = LastPoll { schema: SCHEMA, at: clock::now(), packages: 0, error: None, command };
            match polled {
                Ok(found) => last.packages = found,
                Err(PollError::Deposed(deposed)) => return Err(deposed),
                Err(error) => last.error = Some(error.to_string()),
            }
            metrics::polled(last.error.is_none());
            self.lease.write(LAST, serde_json::to_vec(&last).ok()).await?;
            let told = self.failures.note(last.error.as_deref());
            next = self.schedule.next(last.at, self.failures.count(), fastrand::f64());
            let wait =
                humantime::format_duration(Duration::from_secs(next.left(last.at, Duration::ZERO).as_secs().max(1)));
            let error = last.error.unwrap_or_default();
            match told {
                Told::New => tracing::error!("failed to poll, trying again in {wait}: {error}"),
                Told::Known => tracing::debug!("failed to poll again, trying again in {wait}: {error}"),
                Told::Over(times) => tracing::info!("polled again, after {times} polls that failed"),
                Told::Nothing => {}
            }
        }
    }

    /// When to poll first, as the poller before this one has left things.
    async fn first(&mut self) -> NextPoll {
        loop {
            match self.look_back().await {
                Ok(next) => return next,
                Err(error) => {
                    tracing::warn!("failed to see when the catalogue was polled last: {error}");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn look_back(&mut self) -> Result<NextPoll, BrokerError> {
        let entry = self.broker.bucket(BucketName::Poller).get(LAST).await?;
        // one that cannot be read counts as none
        let last: Option<LastPoll> = entry.and_then(|entry| serde_json::from_slice(&entry.value?).ok());
        let newest = self.commands.newest().await?;
        let next = self.schedule.first(clock::now(), last.as_ref(), newest);
        if next != NextPoll::NOW {
            self.commands.cover(newest);
        }
        Ok(next)
    }

    fn tell(&self, next: &NextPoll) {
        if let (Schedule::Cron(cron), NextPoll { at: Some(at), within: None }) = (&self.schedule, next) {
            tracing::info!("polls next at {}; `control.poll` polls now", cron.shown(*at));
        }
    }

    /// One poll; how many packages the catalogue named.
    async fn poll_one(&mut self, shutdown: &Shutdown) -> Result<usize, PollError> {
        // whatever was commanded before a poll begins is done by it
        let newest = self.commands.newest().await?;
        self.commands.cover(newest);
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
            let letter = DeadLetter {
                kind: "catalogue".to_owned(),
                reason,
                source_subject: self.catalogue.queue_tool().to_owned(),
                source: None,
                payload: payload.into(),
            };
            letters.push(letter.message());
        }
        self.broker.publish_stored(letters).await;
    }
}

fn packages(count: usize) -> String {
    if count == 1 { "1 package".to_owned() } else { format!("{count} packages") }
}

/// Waits until a poll is due. The clock of the wall is looked at often: it may be set, and the monotonic one
/// stands still while the machine sleeps.
async fn until_due(schedule: &Schedule, mut next: NextPoll) {
    const LOOK: Duration = Duration::from_secs(10);
    let since = Instant::now();
    loop {
        let now = clock::now();
        let left = next.left(now, since.elapsed());
        if left.is_zero() {
            return;
        }
        sleep(left.min(LOOK)).await;
        next = schedule.seen_again(next, clock::now());
    }
}
