//! What the leader answers from committed memory.

mod package;
mod queue;
mod state;

use packline_broker::Question;

use crate::driver::Driver;

/// The name of the micro service.
pub(crate) const SERVICE: &str = "orchestrator";
/// What it can be asked: `orchestrator.<endpoint>`.
pub(crate) const ENDPOINTS: &[&str] = &["state", "queue", "why", "history"];

/// Answers one question.
pub(crate) async fn answer(question: &Question, driver: &Driver) {
    let scheduler = &driver.scheduler;
    let answer = match question.endpoint.as_str() {
        "queue" => queue::queue(scheduler, &question.payload).map(|answer| serde_json::to_vec(&answer)),
        "why" => package::why(scheduler, &question.payload).map(|answer| serde_json::to_vec(&answer)),
        "history" => package::history(scheduler, &question.payload).map(|answer| serde_json::to_vec(&answer)),
        _ => Ok(serde_json::to_vec(&state::state(driver))),
    };
    match answer {
        Ok(Ok(body)) => question.respond(body).await,
        Ok(Err(error)) => question.refuse(500, &format!("failed to write the answer: {error}")).await,
        Err(wrong) => question.refuse(400, &wrong).await,
    }
}
