//! What all parts of one worker process share.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use packline_broker::{Broker, Bucket, BucketName};
use packline_domain::{Outcome, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit, RwLock, Semaphore, mpsc, watch};

use crate::{
    Config,
    acks::Acks,
    life::{Life, host},
    recipe::Recipe,
    rest::Rest,
    scratch::Scratch,
    script::Toolchains,
    table::{Build, Kill, Table, now},
    workspace::Ground,
};

/// A result on its way, with the slot that stays taken until it is stored.
pub(crate) struct Outgoing {
    pub(crate) build: Arc<Build>,
    pub(crate) slot: Option<Arc<Slot>>,
}

/// One worker process.
pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) recipe: Recipe,
    pub(crate) broker: Broker,
    pub(crate) orchestrator: Bucket,
    pub(crate) workers: Bucket,
    pub(crate) host: String,
    pub(crate) since: Timestamp,
    pub(crate) table: Table,
    pub(crate) slots: Slots,
    /// The program that guards are: this one.
    pub(crate) guard_program: PathBuf,
    /// `None` where builds have no phases.
    pub(crate) scratch: Option<Scratch>,
    /// `None` where builds are in isolated mode.
    pub(crate) ground: Option<Arc<Ground>>,
    /// What each npm tells scripts, asked when one is to be run.
    pub(crate) toolchains: Toolchains,
    pub(crate) results: mpsc::UnboundedSender<Outgoing>,
    /// Of orders that are over.
    pub(crate) acks: Acks,
    /// Read by each log of a build that is over while its end is on its way.
    pub(crate) last_words: RwLock<()>,
    life: watch::Sender<Arc<Life>>,
    rest: Mutex<Rest>,
    stopping: watch::Sender<bool>,
    /// Something in the heartbeat's record changed.
    pub(crate) changed: Notify,
    /// Permits are to be read.
    pub(crate) review: Notify,
    /// Orders may be taken that could not be before.
    pub(crate) ready: Notify,
}

impl Worker {
    pub(crate) fn new(
        config: Config,
        recipe: Recipe,
        broker: Broker,
        scratch: Option<Scratch>,
        ground: Option<Arc<Ground>>,
        results: mpsc::UnboundedSender<Outgoing>,
    ) -> Self {
        let host = host();
        let life = watch::Sender::new(Arc::new(Life::new(&host, None)));
        Self {
            orchestrator: broker.bucket(BucketName::Orchestrator),
            workers: broker.bucket(BucketName::Workers),
            slots: Slots::new(config.slots),
            guard_program: crate::guard::OWN_PROGRAM.into(),
            toolchains: Toolchains::default(),
            since: now(),
            table: Table::default(),
            rest: Mutex::default(),
            stopping: watch::Sender::new(false),
            changed: Notify::new(),
            review: Notify::new(),
            ready: Notify::new(),
            config,
            recipe,
            broker,
            host,
            scratch,
            ground,
            results,
            acks: Acks::default(),
            last_words: RwLock::default(),
            life,
        }
    }

    /// The name and fuse in force.
    pub(crate) fn life(&self) -> Arc<Life> {
        Arc::clone(&self.life.borrow())
    }

    /// Follows changes of [`Worker::life`].
    pub(crate) fn lives(&self) -> watch::Receiver<Arc<Life>> {
        self.life.subscribe()
    }

    /// Ends every build, and goes on under a new name: a lost worker never comes back.
    pub(crate) fn begin_new_life(&self, old: &Life) {
        let next = Arc::new(Life::new(&self.host, Some(old.claim())));
        tracing::warn!(
            "no heartbeat of {} was confirmed for three quarters of CLAIM: its builds end, and it goes on as {}",
            old.name,
            next.name
        );
        for build in self.table.all() {
            build.kill(Kill::FuseBlown);
        }
        self.life.send_replace(next);
        self.changed.notify_one();
    }

    /// Takes no more orders.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
        self.changed.notify_one();
        self.ready.notify_one();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns when no more orders are to be taken.
    pub(crate) async fn stopped(&self) {
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Counts the end of a build, and rests where this machine fails again and again.
    pub(crate) fn note_outcome(&self, outcome: Outcome) {
        let pause = self.rest.lock().unwrap_or_else(PoisonError::into_inner).note(outcome, Instant::now());
        if let Some(pause) = pause {
            tracing::warn!("this machine failed again and again: resting for {} s", pause.as_secs());
            self.changed.notify_one();
        }
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).is_resting(Instant::now())
    }

    /// Whether it may take an order now.
    pub(crate) fn may_take(&self) -> bool {
        !self.is_stopping() && !self.is_resting() && self.life().is_fresh()
    }
}

/// NPM_TOKEN.
pub(crate) fn token(config: &Config) -> Option<&str> {
    config.npm_token.as_ref().map(|token| secrecy::ExposeSecret::expose_secret(token).trim())
}

/// Room for builds.
pub(crate) struct Slots {
    count: u32,
    free: Arc<Semaphore>,
    numbers: Arc<Mutex<Vec<u32>>>,
}

/// Room for one build, free again when dropped.
pub(crate) struct Slot {
    /// From 0.
    pub(crate) number: u32,
    numbers: Arc<Mutex<Vec<u32>>>,
    _room: OwnedSemaphorePermit,
}

impl Slots {
    fn new(count: u32) -> Self {
        let free = Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(1)));
        Self { count, free, numbers: Arc::new(Mutex::new((0..count).rev().collect())) }
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Returns when at least one is free.
    pub(crate) async fn some_free(&self) {
        // Closed by nobody; and given back at once.
        let _ = self.free.acquire().await;
    }

    /// Returns when all are free.
    pub(crate) async fn all_free(&self) {
        let _ = self.free.acquire_many(self.count).await;
    }

    /// Takes one, where one is free.
    pub(crate) fn take(&self) -> Option<Slot> {
        let room = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let number = self.numbers.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Slot { number, numbers: Arc::clone(&self.numbers), _room: room })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}

/// A short wait before something is tried again at an edge that has no patience of its own.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);
