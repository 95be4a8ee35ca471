//! The loop of a leader: gather what happened, decide, commit, release.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use packline_broker::{Broker, Bucket, CommitError, StreamName};
use packline_domain::{
    Command, Mode,
    record::{Intended, Intention, Leader, Worker},
};
use packline_scheduler::{Behind, Input, Now, Scheduler};
use packline_service::{Health, Shutdown};

use crate::{
    batch::{Batch, MAX_EFFECT_KEYS, Standing},
    clock::Clock,
    commit,
    config::Config,
    effects::Outbox,
    housekeeping::Housekeeping,
    inputs::Long,
    intake::{Arrived, Intake, Open},
    leader::Leadership,
    liveness::Liveness,
    metrics::Metrics,
    pace::Pace,
    questions::{Desk, Glance},
    stall,
};

/// Permits that one commit withdraws; small, because one race lost refuses the whole.
const WITHDRAWALS: usize = 100;

/// How long a leader that is asked to stop may take; a broker that is away must not hold it.
const STOP: Duration = Duration::from_secs(5);

/// How long a leader that leaves waits for its last messages to be stored.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Records that [`Input::TimePassed`] may touch at a time.
const FORGET: usize = 50;

/// Why a leader leads no longer.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Another leads: stand by.
    Deposed,
    /// What is in memory cannot be relied on: take the lease again and load. The input named, if any,
    /// made the scheduler panic and is refused next time.
    Reload(Option<(StreamName, u64)>),
    /// Asked to stop.
    Stopped,
    /// Drained by this commit: exit.
    Drained,
    /// The broker refuses what is needed.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// A leader at work.
pub(crate) struct Driver {
    pub(crate) broker: Broker,
    pub(crate) bucket: Bucket,
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Metrics,
    pub(crate) leadership: Leadership,
    pub(crate) scheduler: Scheduler,
    pub(crate) intake: Intake,
    pub(crate) outbox: Outbox,
    pub(crate) liveness: Liveness,
    /// Whether the scheduler was told of all workers that there are; before that no answer would be true.
    pub(crate) knows_workers: bool,
    /// What `permits.<n>` is known to hold.
    pub(crate) permits: BTreeMap<u32, Standing>,
    /// Which of `effects.<i>` may not be out yet, with their commits.
    pub(crate) effect_keys: BTreeMap<u32, u64>,
    /// Slots of live workers as the scheduler was last told.
    pub(crate) live: BTreeMap<String, u32>,
    /// Workers of earlier releases, as the scheduler was told last.
    pub(crate) behind: BTreeMap<String, Behind>,
    /// A long announcement that is being worked off.
    pub(crate) long: Option<Long>,
    /// An input that made the scheduler panic.
    pub(crate) poison: Option<(StreamName, u64)>,
    /// Streams to be read anew after the next commit.
    pub(crate) skipped: Vec<StreamName>,
    pub(crate) housekeeping: Housekeeping,
    /// How soon one commit follows another.
    pub(crate) pace: Pace,
    pub(crate) stall: stall::Alarm,
    /// When it was last looked at.
    pub(crate) looked: Duration,
    pub(crate) glance: Glance,
}

impl Driver {
    /// Leads until that ends. A leader that is asked to stop and cannot reach the broker goes all the same:
    /// what it leaves unfinished is what a crash would leave.
    pub(crate) async fn lead(mut self, health: &Health) -> Ended {
        let shutdown = self.shutdown.clone();
        let overdue = async {
            shutdown.requested().await;
            tokio::time::sleep(STOP).await;
        };
        tokio::select! {
            ended = self.lead_on(health) => ended,
            () = overdue => Ended::Stopped,
        }
    }

    async fn lead_on(&mut self, health: &Health) -> Ended {
        loop {
            health.turn();
            match self.lead_one(health).await {
                Ok(()) => {}
                Err(Ended::Reload(input)) => return health.waiting(self.leave(Ended::Reload(input))).await,
                Err(ended) => return ended,
            }
        }
    }

    /// One turn: each ends with all that it took committed, sent and acknowledged.
    /// All but gathering waits for nothing but the broker.
    async fn lead_one(&mut self, health: &Health) -> Result<(), Ended> {
        let withdrew = health.waiting(self.withdraw_one()).await?;
        let mut batch = self.gather(!withdrew).await?;
        health.waiting(self.settle(&mut batch)).await
    }

    async fn settle(&mut self, batch: &mut Batch) -> Result<(), Ended> {
        self.decide(batch).await?;
        if !batch.is_empty() || self.leadership.lease.until_renewal().is_zero() {
            self.commit(batch).await?;
        }
        self.keep_house().await;
        self.end().await
    }

    /// One commit of what a standing intention, a passed deadline or a lost worker withdraws (law 8);
    /// whether there was anything. It enters the scheduler only when it is committed.
    async fn withdraw_one(&mut self) -> Result<bool, Ended> {
        let now = self.now();
        let Some(plan) = self.scheduler.plan_withdrawal(&now, WITHDRAWALS) else { return Ok(false) };
        let mut batch = Batch::default();
        batch.absorb(plan.actions());
        let writes = self.prepare(&batch, true)?;
        match self.store(&batch, writes).await {
            Ok(stored) => {
                self.feed(&mut Batch::default(), &now, Input::Withdrawn(plan))?;
                self.release(&mut batch, stored);
            }
            Err(CommitError::Conflict) => self.read_permits().await?,
            Err(error) => return Err(commit::ended(error)),
        }
        Ok(true)
    }

    /// Waits for something to happen, where nothing is left to do, and takes all that has happened.
    async fn gather(&mut self, idle: bool) -> Result<Batch, Ended> {
        let mut batch = Batch::default();
        self.free_effect_keys();
        let idle = idle && !self.can_slice() && !self.requeueing() && !self.can_start();
        if idle {
            self.wait(&mut batch).await?;
        }
        // What operators say finds room also where an announcement fills one commit after the other.
        self.take_waiting(Open::control_alone, &mut batch).await?;
        if self.can_slice() {
            self.announce_slice(&mut batch)?;
        }
        loop {
            self.take_waiting(Open::inputs, &mut batch).await?;
            // What is full of announcements waits for no results: more of both follow at once.
            let waits = idle && batch.takes_announcements() && !self.is_congested();
            if !waits || !self.rest(&mut batch).await? {
                return Ok(batch);
            }
        }
    }

    /// Takes all that has happened, as far as there is room. Questions are answered where there is time: while it waits.
    async fn take_waiting(&mut self, narrow: fn(Open) -> Open, batch: &mut Batch) -> Result<(), Ended> {
        while batch.room() > 0 {
            let open = narrow(self.open(batch));
            let Some(arrived) = futures::FutureExt::now_or_never(self.intake.next(open)) else { break };
            self.take(arrived, batch).await?;
        }
        Ok(())
    }

    /// Waits for one thing more that may share the syncs of the next commit; whether there was one. While
    /// builds are under way their results are to be expected; nobody who waits for an answer is kept waiting.
    async fn rest(&mut self, batch: &mut Batch) -> Result<bool, Ended> {
        if batch.is_urgent() || self.scheduler.permits().len() == 0 {
            return Ok(false);
        }
        let (open, renewal) = (self.open(batch), Instant::now() + self.leadership.lease.until_renewal());
        tokio::select! {
            biased;
            () = self.shutdown.requested() => Ok(false),
            () = tokio::time::sleep_until(self.pace.ready().min(renewal).into()) => Ok(false),
            arrived = self.intake.next(open) => self.take(arrived, batch).await.map(|()| true),
        }
    }

    async fn wait(&mut self, batch: &mut Batch) -> Result<(), Ended> {
        let congested = self.is_congested();
        let draining = self.scheduler.control().mode == Mode::Draining;
        let (open, until) = (self.open(batch), self.until_next_change());
        tokio::select! {
            biased;
            () = self.shutdown.requested() => Ok(()),
            () = self.outbox.progress(), if draining || congested => Ok(()),
            arrived = self.intake.next(open) => self.take(arrived, batch).await,
            () = tokio::time::sleep(until) => Ok(()),
        }
    }

    /// Too much is decided that is not out yet: no results and announcements are taken until it is. Operators
    /// are heard all the same, and who lives is followed.
    pub(crate) fn is_congested(&self) -> bool {
        self.effect_keys.len() >= MAX_EFFECT_KEYS
    }

    /// A command that touches many records is being worked off.
    fn requeueing(&self) -> bool {
        self.scheduler.intention().is_some_and(|intention| {
            matches!(&intention.what, Intended::Control { command: Command::RequeueFailed, .. })
        })
    }

    /// A long announcement is being worked off, and nothing is more urgent.
    fn can_slice(&self) -> bool {
        self.long.is_some() && self.is_settled() && !self.is_congested()
    }

    /// No command stands that has permits to withdraw.
    fn is_settled(&self) -> bool {
        !self.scheduler.intention().is_some_and(Intention::withdraws)
    }

    fn can_start(&self) -> bool {
        self.scheduler.can_start() && !self.is_congested()
    }

    fn open(&self, batch: &Batch) -> Open {
        let (congested, bearable) = (self.is_congested(), self.effect_keys.len() < 2 * MAX_EFFECT_KEYS);
        Open {
            questions: self.knows_workers,
            control: self.is_settled() && bearable,
            results: !congested,
            packages: !congested && self.long.is_none() && batch.takes_announcements(),
        }
    }

    fn until_next_change(&self) -> Duration {
        let monotonic = self.clock.monotonic();
        let workers = self.liveness.next_change(monotonic, self.config.claim).map(|at| at.saturating_sub(monotonic));
        let deadline = self.scheduler.next_deadline().map(|at| self.clock.until(at));
        [workers, deadline, Some(self.housekeeping.until_due(&self.clock))]
            .into_iter()
            .flatten()
            .map(|wait| wait.max(Duration::from_millis(1)))
            .chain([self.leadership.lease.until_renewal()])
            .min()
            .unwrap_or_default()
    }

    async fn take(&mut self, arrived: Arrived, batch: &mut Batch) -> Result<(), Ended> {
        match arrived {
            Arrived::Input(stream, delivery) => self.take_input(stream, delivery, batch),
            Arrived::Skipped(stream) => {
                self.skipped.push(stream);
                Ok(())
            }
            Arrived::Permit(entry) => self.see_permit(&entry),
            Arrived::Worker(entry) => {
                let record = entry.value.and_then(|value| serde_json::from_slice::<Worker>(&value).ok());
                self.liveness.seen(self.clock.monotonic(), &entry.key, entry.revision, record);
                Ok(())
            }
            Arrived::WorkersRead => {
                self.liveness.read();
                Ok(())
            }
            Arrived::Gap => {
                self.liveness.start_anew(self.clock.monotonic());
                Ok(())
            }
            Arrived::Question(question) => {
                self.desk().answer(&question).await;
                Ok(())
            }
        }
    }

    /// What follows from all that is known now: who lives, what time brought, what can start.
    async fn decide(&mut self, batch: &mut Batch) -> Result<(), Ended> {
        self.see_workers(batch).await?;
        let now = self.now();
        if self.scheduler.next_deadline().is_some_and(|at| at <= now.at) && batch.room() > 0 {
            self.feed(batch, &now, Input::TimePassed { limit: FORGET })?;
        }
        if self.requeueing() && batch.room() > 0 {
            let limit = batch.room() / 3;
            self.feed(batch, &now, Input::Continued { limit })?;
        }
        if self.can_start() && batch.room() > 0 {
            let limit = batch.room() / 2 + 1;
            self.feed(batch, &now, Input::Dispatched { limit })?;
        }
        self.watch_for_stalls(batch);
        let drained = self.scheduler.control().mode == Mode::Draining
            && self.scheduler.permits().next().is_none()
            && self.scheduler.intention().is_none()
            && batch.is_empty()
            && self.effects_are_out();
        if drained {
            self.feed(batch, &now, Input::Drained)?;
        }
        Ok(())
    }

    /// Feeds an input of the driver's own; a refusal is a fault of ours.
    pub(crate) fn feed(&mut self, batch: &mut Batch, now: &Now, input: Input) -> Result<(), Ended> {
        let actions = self.apply(now, input).map_err(|refusal| Ended::Failed(refusal.into()))?;
        batch.absorb(actions);
        Ok(())
    }

    pub(crate) fn now(&self) -> Now {
        Now { at: self.clock.now(), commit: self.leadership.next_commit(), seed: fastrand::u64(..) }
    }

    pub(crate) fn desk(&mut self) -> Desk<'_> {
        Desk {
            scheduler: &mut self.scheduler,
            liveness: &self.liveness,
            stall: &self.stall,
            clock: &self.clock,
            claim: self.config.claim,
            leader: &self.leadership.record,
            lease: &self.leadership.lease,
            glance: &mut self.glance,
        }
    }

    /// Whether this turn was the last one.
    async fn end(&mut self) -> Result<(), Ended> {
        if self.scheduler.control().mode == Mode::Drained {
            Err(self.leave(Ended::Drained).await)
        } else if self.shutdown.is_requested() {
            Err(self.leave(Ended::Stopped).await)
        } else {
            Ok(())
        }
    }

    /// Sends what is decided, and gives up the lease: the next takes over at once.
    async fn leave(&mut self, ended: Ended) -> Ended {
        let sent = async {
            while !self.effects_are_out() {
                self.outbox.progress().await;
            }
        };
        // What does not go out in time is sent by the next.
        let _ = tokio::time::timeout(LAST_WORDS, sent).await;
        let through = self.outbox.through();
        let free = |leader: &mut Leader| {
            leader.holder = None;
            leader.effects_through = through;
        };
        match self.leadership.commit(free, &[]).await {
            Ok(_) => ended,
            Err(error) => commit::ended(error),
        }
    }
}
