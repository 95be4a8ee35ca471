//! What the leader answers, from what is stored: at once, also while a commit is on its way.

mod package;
mod queue;
mod state;

use std::time::Duration;

use packline_broker::Question;
use packline_domain::record::Leader;
use packline_scheduler::Scheduler;

use crate::{clock::Clock, leader::Lease, liveness::Liveness, stall};

/// The name of the micro service.
pub(crate) const SERVICE: &str = "orchestrator";
/// What it can be asked: `orchestrator.<endpoint>`.
pub(crate) const ENDPOINTS: &[&str] = &[STATE, "queue", "why", "history"];
/// The whole at a glance.
const STATE: &str = "state";

/// All that answers are made of.
pub(crate) struct Desk<'a> {
    pub(crate) scheduler: &'a mut Scheduler,
    pub(crate) liveness: &'a Liveness,
    pub(crate) stall: &'a stall::Alarm,
    pub(crate) clock: &'a Clock,
    pub(crate) claim: Duration,
    /// As last committed.
    pub(crate) leader: &'a Leader,
    pub(crate) lease: &'a Lease,
    pub(crate) glance: &'a mut Glance,
}

/// The state as it was after the last commit, kept while somebody asks for it again and again: then an answer under
/// load costs next to nothing.
#[derive(Default)]
pub(crate) struct Glance {
    /// When somebody last asked for the state.
    asked: Option<Duration>,
    /// The answer, and the commit that it shows.
    answer: Option<(u64, Vec<u8>)>,
}

impl Glance {
    /// How long after the last question the answer is kept at hand.
    const KEPT: Duration = Duration::from_secs(10);

    fn of(&self, commit: u64) -> Option<&Vec<u8>> {
        self.answer.as_ref().filter(|(shows, _)| *shows == commit).map(|(_, answer)| answer)
    }
}

impl Desk<'_> {
    /// Answers one question; one who may have been deposed says nothing (law 3).
    pub(crate) async fn answer(&mut self, question: &Question) {
        if !self.lease.is_valid() {
            return;
        }
        if question.endpoint == STATE {
            self.glance.asked = Some(self.clock.monotonic());
            if let Some(answer) = self.glance.of(self.leader.commit).filter(|_| self.scheduler.is_ahead()) {
                return question.respond(answer.clone()).await;
            }
        }
        match self.look(|view| view.answer(question)) {
            Ok(Ok(body)) => question.respond(body).await,
            Ok(Err(error)) => question.refuse(500, &format!("failed to write the answer: {error}")).await,
            Err(wrong) => question.refuse(400, &wrong).await,
        }
    }

    /// All is stored: the time to look at it for those who will ask before the next commit is.
    pub(crate) fn glance(&mut self) {
        let now = self.clock.monotonic();
        let wanted = self.glance.asked.is_some_and(|asked| now.saturating_sub(asked) < Glance::KEPT);
        let answer = if wanted { self.look(|view| serde_json::to_vec(&state::state(view))).ok() } else { None };
        self.glance.answer = answer.map(|answer| (self.leader.commit, answer));
    }

    fn look<T>(&mut self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let Self { scheduler, liveness, stall, clock, claim, leader, .. } = self;
        scheduler.as_stored(clock.now(), |stored| {
            look(&View { scheduler: stored, liveness, stall, clock, claim: *claim, leader })
        })
    }
}

/// What one answer is made of.
struct View<'a> {
    scheduler: &'a Scheduler,
    liveness: &'a Liveness,
    stall: &'a stall::Alarm,
    clock: &'a Clock,
    claim: Duration,
    leader: &'a Leader,
}

impl View<'_> {
    /// The answer, or what is wrong with the question.
    fn answer(&self, question: &Question) -> Result<serde_json::Result<Vec<u8>>, String> {
        let (scheduler, body) = (self.scheduler, &question.payload);
        Ok(match question.endpoint.as_str() {
            "queue" => serde_json::to_vec(&queue::queue(scheduler, body)?),
            "why" => serde_json::to_vec(&package::why(scheduler, body)?),
            "history" => serde_json::to_vec(&package::history(scheduler, body)?),
            _ => serde_json::to_vec(&state::state(self)),
        })
    }
}
