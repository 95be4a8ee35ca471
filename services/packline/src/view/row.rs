//! One line for each package: what a person sees of it while the line runs.

use std::time::Duration;

use packline_domain::Timestamp;

use super::{
    board::Board,
    remarks,
    standing::{Standing, in_phase},
    standings::Standings,
};

/// What is shown of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    /// Why it is in this state, where that is not plain.
    pub(crate) reason: String,
    pub(crate) attempt: u32,
    pub(crate) worker: String,
    pub(crate) phase: String,
    /// Since its build was granted, while one runs.
    pub(crate) elapsed: Option<Duration>,
}

/// The rows of these packages, in this order.
pub(crate) fn rows<'a>(names: impl IntoIterator<Item = &'a str>, board: &Board, now: Timestamp) -> Vec<Row> {
    let standings = Standings::of(board);
    names.into_iter().map(|name| row(name, board, standings.get(name), now)).collect()
}

fn row(name: &str, board: &Board, standing: Option<&Standing>, now: Timestamp) -> Row {
    let permit = board.permit_of(name);
    let reason = match standing {
        Some(Standing::Building | Standing::Queued) | None => String::new(),
        Some(Standing::Published { version, .. }) => {
            let remarks = remarks::of(name, board);
            let said = [version.clone().unwrap_or_default(), remarks];
            said.into_iter().filter(|said| !said.is_empty()).collect::<Vec<_>>().join(", ")
        }
        Some(Standing::Retrying) => last_error(name, board),
        Some(other) => other.to_string(),
    };
    Row {
        name: name.to_owned(),
        state: standing.map_or("not announced", Standing::word),
        reason,
        attempt: board.attempts(name),
        worker: permit.and_then(|permit| permit.worker.clone()).unwrap_or_default(),
        phase: permit.and_then(|permit| board.phase_of(permit)).unwrap_or_default().to_owned(),
        elapsed: permit.map(|permit| now.since(permit.granted_at)),
    }
}

fn last_error(name: &str, board: &Board) -> String {
    let last = board.retries.get(name).and_then(|retries| retries.attempts.last());
    let error = last.and_then(|attempt| attempt.error.as_deref()).unwrap_or_default();
    in_phase(last.and_then(|attempt| attempt.failed_phase.as_deref()), error)
}

impl Row {
    /// The whole row, in columns; at most `width` characters.
    pub(crate) fn line(&self, width: usize) -> String {
        let attempt = if self.attempt > 0 { format!("attempt {}", self.attempt) } else { String::new() };
        let elapsed = self.elapsed.map_or(String::new(), |elapsed| format!("{:.1} s", elapsed.as_secs_f64()));
        let doing = [self.phase.as_str(), self.worker.as_str(), self.reason.as_str()];
        let doing: Vec<&str> = doing.into_iter().filter(|part| !part.is_empty()).collect();
        let line = format!("{:<13} {:<13} {attempt:<9} {elapsed:>7}  {}", self.name, self.state, doing.join(", "));
        line.trim_end().chars().take(width).collect()
    }

    /// Whether anything but the time has changed.
    pub(crate) fn differs(&self, earlier: &Self) -> bool {
        Self { elapsed: None, ..self.clone() } != Self { elapsed: None, ..earlier.clone() }
    }
}
