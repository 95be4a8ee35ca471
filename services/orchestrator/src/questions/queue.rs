//! `orchestrator.queue`: the packages, page by page.

use packline_domain::{
    SCHEMA,
    answer::{self, QueueQuestion, QueueRow, Standing},
    control::typed_package,
    record::Queue,
};
use packline_scheduler::Scheduler;

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
    let after = asked.cursor.as_deref().map(|name| typed_package(name.as_bytes())).transpose()?;
    let standing = |queue: &Queue| scheduler.standing(&queue.package.name);
    let wanted = |queue: &&Queue| asked.state.is_none_or(|state| standing(queue) == Some(state));
    let mut found: Box<dyn Iterator<Item = &Queue>> = match asked.state {
        None | Some(Standing::Ready | Standing::Blocked | Standing::Unresolvable | Standing::Retrying) => {
            Box::new(scheduler.upcoming(after.as_ref()).filter(wanted))
        }
        Some(Standing::Building | Standing::Published | Standing::Failed | Standing::Cancelled) => {
            let passed = move |queue: &&Queue| after.as_ref().is_some_and(|after| queue.package.name <= *after);
            Box::new(scheduler.packages().skip_while(passed).filter(wanted))
        }
    };
    let (mut packages, mut bytes) = (Vec::new(), 0);
    while packages.len() < limit && bytes < BYTES {
        let Some(queue) = found.next() else { break };
        let row = row(scheduler, queue);
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

fn row(scheduler: &Scheduler, queue: &Queue) -> QueueRow {
    let name = &queue.package.name;
    QueueRow {
        package_name: name.clone(),
        state: scheduler.standing(name),
        priority: scheduler.priority(name).unwrap_or(queue.package.priority),
        dependencies: queue.package.dependencies.clone(),
        attempts: scheduler.retries(name).map_or(0, |retries| retries.failures),
        reason: scheduler.why(name).first().map(ToString::to_string).unwrap_or_default(),
        estimated_seconds: None,
    }
}
