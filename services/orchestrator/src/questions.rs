//! What the leader answers, from what is stored: at once, also while a commit is on its way.

mod package;
mod queue;
mod state;

use std::time::Duration;

use bytes::Bytes;
use packline_broker::Question;
use packline_domain::record::Leader;
use packline_scheduler::Scheduler;

use crate::{clock::Clock, leader::Lease, liveness::Liveness, stall};

/// The name of the micro service.
pub(crate) const SERVICE: &str = "orchestrator";
/// What it can be asked: `orchestrator.<endpoint>`.
pub(crate) const ENDPOINTS: &[&str] = &[STATE, "queue", "why", "history"];
/// Said to those who ask when more ask than can be answered.
pub(crate) const BUSY: &str = "the leader is asked more than it can answer; ask again, less often";
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

/// The state as it was last looked at, kept while somebody asks for it again and again: then an answer under
/// load costs next to nothing.
#[derive(Default)]
pub(crate) struct Glance {
    /// When somebody last asked for the state.
    asked: Option<Duration>,
    last: Option<Answer>,
}

/// The last answer about the state.
struct Answer {
    /// The commit that it shows.
    commit: u64,
    /// When it was made; who lives and what time brought is not shown later than that.
    at: Duration,
    body: Bytes,
}

impl Glance {
    /// How long after the last question the answer is kept at hand.
    const KEPT: Duration = Duration::from_secs(10);
    /// How old an answer may be that is given again.
    const FRESH: Duration = Duration::from_millis(250);

    fn of(&self, commit: u64, now: Duration) -> Option<&Answer> {
        self.last.as_ref().filter(|last| last.commit == commit && now.saturating_sub(last.at) < Self::FRESH)
    }
}

impl Desk<'_> {
    /// Answers one question; one who may have been deposed says nothing (law 3).
    pub(crate) async fn answer(&mut self, question: &Question) {
        if !self.lease.is_valid() {
            return;
        }
        let answer = if question.endpoint == STATE {
            self.state()
        } else {
            match self.look(|view| view.answer(question)) {
                Ok(answer) => answer.map(Bytes::from),
                Err(wrong) => return question.refuse(400, &wrong).await,
            }
        };
        match answer {
            Ok(body) => question.respond(body).await,
            Err(error) => question.refuse(500, &format!("failed to write the answer: {error}")).await,
        }
    }

    fn state(&mut self) -> serde_json::Result<Bytes> {
        let now = self.clock.monotonic();
        self.glance.asked = Some(now);
        match self.glance.of(self.leader.commit, now).filter(|_| self.scheduler.is_ahead()) {
            Some(last) => Ok(last.body.clone()),
            None => self.look_at_state(now),
        }
    }

    /// All is stored: the time to look at it for those who will ask before the next commit is.
    pub(crate) fn glance(&mut self) {
        let now = self.clock.monotonic();
        if self.glance.asked.is_some_and(|asked| now.saturating_sub(asked) < Glance::KEPT) {
            // Who asks is told what is wrong.
            let _ = self.look_at_state(now);
        }
    }

    fn look_at_state(&mut self, at: Duration) -> serde_json::Result<Bytes> {
        let body = Bytes::from(self.look(|view| serde_json::to_vec(&state::state(view)))?);
        self.glance.last = Some(Answer { commit: self.leader.commit, at, body: body.clone() });
        Ok(body)
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
            "why" => serde_json::to_vec(&package::why(scheduler, self.liveness, body)?),
            "history" => serde_json::to_vec(&package::history(scheduler, body)?),
            _ => serde_json::to_vec(&state::state(self)),
        })
    }
}
