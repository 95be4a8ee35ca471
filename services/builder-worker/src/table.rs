//! The builds of this worker, each from before its claim until its permit is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use packline_broker::{Acker, Message};
use packline_domain::{BuildId, BuildOrder, Timestamp, record::WorkerBuild, text::one_line};
use tokio::sync::watch;

use crate::life::Life;

/// Why a build is killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// Its permit is withdrawn.
    Withdrawn,
    /// It took longer than its order allows.
    Deadline,
    /// This worker stops.
    Stopping,
    /// The broker was away for too long.
    FuseBlown,
    /// Its permit is no longer ours; nobody waits for its result.
    Gone,
}

/// One build.
pub(crate) struct Build {
    /// As it came.
    pub(crate) order: BuildOrder,
    /// The name that it is taken under.
    pub(crate) life: Arc<Life>,
    /// When it was taken.
    pub(crate) taken_at: Timestamp,
    /// The same, for its deadline.
    pub(crate) taken: Instant,
    kill: watch::Sender<Option<Kill>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of our last write to its permit; 0 while it is not claimed.
    revision: u64,
    phase: Option<String>,
    /// What another build makes that it waits for.
    waiting_for: Option<String>,
    /// The order's message, until it is acknowledged.
    held: Option<(u64, Acker)>,
    /// Its result, once it is over, and when that was last stored.
    result: Option<(Message, Option<Instant>)>,
}

impl Build {
    pub(crate) fn new(order: BuildOrder, life: Arc<Life>, sequence: u64, acker: Acker) -> Self {
        let state = State { held: Some((sequence, acker)), ..State::default() };
        Self {
            order,
            life,
            taken_at: now(),
            taken: Instant::now(),
            kill: watch::Sender::new(None),
            state: Mutex::new(state),
        }
    }

    /// Kills it, unless it is being killed already.
    pub(crate) fn kill(&self, why: Kill) {
        self.kill.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(why);
            }
            first
        });
    }

    /// Why it is being killed.
    pub(crate) fn killed(&self) -> Option<Kill> {
        self.kill.borrow().clone()
    }

    /// Returns when it is to be killed.
    pub(crate) async fn to_be_killed(&self) {
        let mut kill = self.kill.subscribe();
        let _ = kill.wait_for(Option::is_some).await;
    }

    /// The revision of our last write to its permit; 0 while it is not claimed.
    pub(crate) fn revision(&self) -> u64 {
        self.state().revision
    }

    pub(crate) fn set_revision(&self, revision: u64) {
        self.state().revision = revision;
    }

    pub(crate) fn set_phase(&self, phase: Option<&str>) {
        self.state().phase = phase.map(str::to_owned);
    }

    pub(crate) fn set_waiting_for(&self, what: Option<&str>) {
        self.state().waiting_for = what.map(one_line);
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.state().result.is_some()
    }

    /// It is over, with this result.
    pub(crate) fn set_result(&self, result: Message) {
        self.state().result = Some((result, None));
    }

    pub(crate) fn result(&self) -> Option<Message> {
        self.state().result.as_ref().map(|(message, _)| message.clone())
    }

    /// Its result was stored just now.
    pub(crate) fn note_stored(&self) {
        if let Some((_, stored)) = &mut self.state().result {
            *stored = Some(Instant::now());
        }
    }

    /// When its result was last stored.
    pub(crate) fn stored_at(&self) -> Option<Instant> {
        self.state().result.as_ref().and_then(|(_, stored)| *stored)
    }

    /// What its order is acknowledged with, once.
    pub(crate) fn take_acker(&self) -> Option<Acker> {
        self.state().held.take().map(|(_, acker)| acker)
    }

    /// What its order is kept with.
    fn acker(&self) -> Option<Acker> {
        self.state().held.as_ref().map(|(_, acker)| acker.clone())
    }

    /// The same message was delivered again: from now on it is kept by that delivery. False when this is
    /// another message, or the order is not held any more.
    fn hold_again(&self, sequence: u64, acker: &Acker) -> bool {
        match &mut self.state().held {
            Some((held, kept)) if *held == sequence => {
                *kept = acker.clone();
                true
            }
            _ => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All builds of this worker.
#[derive(Default)]
pub(crate) struct Table {
    builds: Mutex<HashMap<BuildId, Arc<Build>>>,
}

/// What the table says to an order.
pub(crate) enum Entered {
    /// It was not there; it is now.
    New(Arc<Build>),
    /// It is there, and this is the same message once more.
    Held,
    /// It is there, and this is a copy: to be dropped.
    Copy,
}

impl Table {
    /// Enters a build, unless it is there already.
    pub(crate) fn enter(&self, order: BuildOrder, life: &Arc<Life>, sequence: u64, acker: Acker) -> Entered {
        let mut builds = self.builds();
        if let Some(build) = builds.get(&order.build_id) {
            return if build.hold_again(sequence, &acker) { Entered::Held } else { Entered::Copy };
        }
        let build = Arc::new(Build::new(order, Arc::clone(life), sequence, acker));
        builds.insert(build.order.build_id.clone(), Arc::clone(&build));
        Entered::New(build)
    }

    /// Forgets a build whose permit is gone.
    pub(crate) fn forget(&self, build: &BuildId) {
        self.builds().remove(build);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Build>> {
        self.builds().values().cloned().collect()
    }

    /// What keeps the orders that are held.
    pub(crate) fn ackers(&self) -> Vec<Acker> {
        self.builds().values().filter_map(|build| build.acker()).collect()
    }

    /// How many are over and wait for their permits to go.
    pub(crate) fn over(&self) -> usize {
        self.builds().values().filter(|build| build.is_over()).count()
    }

    /// The builds taken under a name, as its heartbeat lists them: those that run before those that are
    /// over, and no more than fit into a message.
    pub(crate) fn listed(&self, name: &str) -> Vec<WorkerBuild> {
        const MOST: usize = 500;
        let mut listed: Vec<(bool, WorkerBuild)> = Vec::new();
        for build in self.builds().values().filter(|build| build.life.name == name) {
            let state = build.state();
            let (build_id, permit) = (build.order.build_id.clone(), build.order.permit);
            let (phase, waiting_for) = (state.phase.clone(), state.waiting_for.clone());
            listed.push((state.result.is_some(), WorkerBuild { build_id, permit, phase, waiting_for }));
        }
        listed.sort_by(|(over, one), (too, other)| (over, one.permit).cmp(&(too, other.permit)));
        listed.into_iter().take(MOST).map(|(_, build)| build).collect()
    }

    fn builds(&self) -> MutexGuard<'_, HashMap<BuildId, Arc<Build>>> {
        self.builds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This machine's time, for people to read.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
