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
pub(crate) const ENDPOINTS: &[&str] = &["state", "queue", "why", "history"];

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
}

impl Desk<'_> {
    /// Answers one question; one who may have been deposed says nothing (law 3).
    pub(crate) async fn answer(&mut self, question: &Question) {
        if !self.lease.is_valid() {
            return;
        }
        let Self { scheduler, liveness, stall, clock, claim, leader, .. } = self;
        let look = |stored: &Scheduler| {
            let view = View { scheduler: stored, liveness, stall, clock, claim: *claim, leader };
            view.answer(question)
        };
        match scheduler.as_stored(clock.now(), look) {
            Ok(Ok(body)) => question.respond(body).await,
            Ok(Err(error)) => question.refuse(500, &format!("failed to write the answer: {error}")).await,
            Err(wrong) => question.refuse(400, &wrong).await,
        }
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
