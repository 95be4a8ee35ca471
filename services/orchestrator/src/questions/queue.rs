//! `orchestrator.queue`: the packages, page by page.

use packline_domain::{
    PackageName, SCHEMA,
    answer::{self, QueueQuestion, QueueRow, Standing},
    record::{Queue, State},
};
use packline_scheduler::Scheduler;

use super::state::seconds;

/// The most packages of one page, and how many it has where nobody says.
const MOST: usize = 200;
const USUAL: usize = 50;
/// A page ends when it has so many bytes, whatever its limit; a package more may have 128 KiB.
const BYTES: usize = 96 * 1024;

/// Those that wait in the order in which they will be built, all others in the order of names.
pub(super) fn queue(scheduler: &Scheduler, body: &[u8]) -> Result<answer::Queue, String> {
    let asked = if body.trim_ascii().is_empty() { QueueQuestion::default() } else { read(body)? };
    let limit = asked.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(format!("`limit` is a whole number from 1 to {MOST}"));
    }
    let after = asked.cursor.as_deref().map(PackageName::from_typed).transpose().map_err(|error| error.to_string())?;
    let mut found: Box<dyn Iterator<Item = &Queue>> = match asked.state {
        None => Box::new(scheduler.upcoming(after.as_ref())),
        Some(standing) => scheduler.standing_so(standing, after.as_ref()),
    };
    let (mut packages, mut bytes, mut ahead) = (Vec::new(), 0, None);
    while packages.len() < limit && bytes < BYTES {
        let Some(queue) = found.next() else { break };
        let row = row(scheduler, queue, &mut ahead);
        bytes += serde_json::to_vec(&row).map_or(0, |row| row.len());
        packages.push(row);
    }
    let more = found.next().is_some();
    let cursor = packages.last().filter(|_| more).map(|row: &QueueRow| row.package_name.clone());
    Ok(answer::Queue { schema: SCHEMA, packages, cursor })
}

fn read(body: &[u8]) -> Result<QueueQuestion, String> {
    let right = r#"{"state": "ready", "limit": 50, "cursor": "@acme/core"}"#;
    serde_json::from_slice(body).map_err(|error| format!("{error}; the body is empty, or has some of {right}"))
}

/// `ahead` counts those that are ready and come before, from the first row on.
fn row(scheduler: &Scheduler, queue: &Queue, ahead: &mut Option<usize>) -> QueueRow {
    let name = &queue.package.name;
    let state = scheduler.standing(name);
    let mut before = 0;
    if state == Some(Standing::Ready) && scheduler.can_start() {
        before = ahead.map_or_else(|| scheduler.ahead_of(name), |last| last + 1);
        *ahead = Some(before);
    }
    QueueRow {
        package_name: name.clone(),
        state,
        priority: scheduler.priority(name).unwrap_or(queue.package.priority),
        dependencies: queue.package.dependencies.clone(),
        attempts: scheduler.retries(name).map_or(0, |retries| retries.failures),
        private: matches!(queue.state, State::Published { private: true, .. }),
        reason: scheduler.first_reason(name, before).to_string(),
        estimated_seconds: scheduler.estimate(name).map(seconds),
    }
}
