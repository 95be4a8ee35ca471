//! The table of transitions in the crate's docs is what the scheduler does.

use std::{fmt::Write, time::Duration};

use packline_domain::{
    BuildId, Command, Outcome, StatusKind,
    record::{Ending, State},
};
use packline_scheduler::Input;

use crate::line::{Line, name, package};

const HOUR: Duration = Duration::from_secs(3600);

const STATES: [&str; 11] = [
    "unknown",
    "queued",
    "retrying",
    "ordered",
    "building",
    "stopping",
    "cancelling",
    "overdue",
    "published",
    "failed",
    "cancelled",
];

/// A line whose package `a` stands so, and its last build.
fn line_in(state: &str) -> (Line, Option<BuildId>) {
    let mut line = Line::of(1);
    if state == "unknown" {
        return (line, None);
    }
    line.announce(&[package("a", 0, &[])]);
    if state == "queued" {
        return (line, None);
    }
    line.dispatch();
    let build = line.build_id("a");
    if state == "ordered" {
        return (line, Some(build));
    }
    line.take_order("a", "w");
    let cancel = Command::Cancel { package_name: name("a") };
    match state {
        "retrying" => drop(line.finish("a", Outcome::Failed)),
        "building" => {}
        "stopping" => drop(line.command(Command::EmergencyStop)),
        "cancelling" => drop(line.command(cancel)),
        "overdue" => line.pass(HOUR),
        "published" => drop(line.finish("a", Outcome::Published)),
        "failed" => {
            let result = packline_domain::BuildResult { retry: false, ..line.result(&build, Outcome::Failed) };
            line.feed(Input::Finished(Box::new(result)));
        }
        "cancelled" => {
            line.command(cancel);
            line.withdraw(10);
            line.finish("a", Outcome::Cancelled);
        }
        other => panic!("no state {other}"),
    }
    line.withdraw(10);
    if state == "stopping" {
        line.command(Command::Resume);
    }
    (line, Some(build))
}

fn shown(line: &Line) -> String {
    let Some(queue) = line.scheduler.package(&name("a")) else { return "unknown".into() };
    match &queue.state {
        State::Queued => "queued".into(),
        State::Retrying { .. } => "retrying".into(),
        State::Published { .. } => "published".into(),
        State::Failed { .. } => "failed".into(),
        State::Cancelled { .. } => "cancelled".into(),
        State::Building { again, .. } => {
            let permit = line.permit("a").unwrap();
            let word = match permit.ending {
                None if permit.worker.is_none() => "ordered",
                None => "building",
                Some(Ending::Stop) => "stopping",
                Some(Ending::Cancel(_)) => "cancelling",
                Some(Ending::Deadline) => "overdue",
            };
            if *again { format!("{word}, again") } else { word.into() }
        }
    }
}

type Event = (&'static str, fn(&mut Line, Option<&BuildId>));

fn result(line: &mut Line, build: Option<&BuildId>, outcome: Outcome, retry: bool) {
    let Some(build) = build else { return };
    let result = packline_domain::BuildResult { retry, ..line.result(build, outcome) };
    line.feed(Input::Finished(Box::new(result)));
}

const EVENTS: [Event; 20] = [
    ("announced by hand", |line, _| drop(line.announce(&[package("a", 0, &[])]))),
    ("… with other data", |line, _| drop(line.announce(&[package("a", 0, &["x"])]))),
    ("announced by a poll", |line, _| drop(line.poll(&[package("a", 0, &[])], line.now.commit))),
    ("… with other data", |line, _| drop(line.poll(&[package("a", 0, &["x"])], line.now.commit))),
    ("… that knew nothing yet", |line, _| drop(line.poll(&[package("a", 0, &[])], 0))),
    ("dispatched", |line, _| drop(line.dispatch())),
    ("a worker takes it", |line, _| {
        if line.permit("a").is_some_and(|permit| permit.worker.is_none()) {
            line.take_order("a", "w");
        }
    }),
    ("result `published`", |line, build| result(line, build, Outcome::Published, true)),
    ("result `failed`", |line, build| result(line, build, Outcome::Failed, true)),
    ("… with `retry: false`", |line, build| result(line, build, Outcome::Failed, false)),
    ("result `infrastructure`", |line, build| result(line, build, Outcome::Infrastructure, true)),
    ("result `cancelled`, `returned`", |line, build| result(line, build, Outcome::Returned, true)),
    ("its worker is lost", |line, _| drop(line.feed(Input::WorkerLost { worker: "w".into() }))),
    ("its time is over", |line, _| line.pass(HOUR)),
    ("31 days go by", |line, _| line.pass(HOUR * 24 * 31)),
    ("`pause`, `drain`", |line, _| drop(line.command(Command::Pause))),
    ("`emergency-stop`", |line, _| drop(line.command(Command::EmergencyStop))),
    ("`cancel`", |line, _| drop(line.command(Command::Cancel { package_name: name("a") }))),
    ("`requeue`", |line, _| drop(line.command(Command::Requeue { package_name: name("a") }))),
    ("`requeue` all failed", |line, _| drop(line.command(Command::RequeueFailed))),
];

/// What the package becomes, and what the catalogue is told.
fn cell(state: &str, event: fn(&mut Line, Option<&BuildId>)) -> String {
    let (mut line, build) = line_in(state);
    line.forget_effects();
    event(&mut line, build.as_ref());
    line.withdraw(10);
    let became = shown(&line);
    let mut cell = if became == state { String::new() } else { became };
    for status in &line.statuses {
        let word = match status.status {
            StatusKind::Building => "building",
            StatusKind::Published => "published",
            StatusKind::Failed => "failed",
            StatusKind::Cancelled => "cancelled",
            StatusKind::Queued => "queued",
        };
        write!(cell, " ▸{word}").unwrap();
    }
    cell.trim().to_owned()
}

fn table() -> String {
    let mut text = String::from(
        "
# Transitions
What becomes of a package (columns: where it stands) by what happens (rows), with all that is then to be
withdrawn; empty: nothing. After ▸ what the catalogue is told. *Ordered* is building by a permit that no
worker has taken yet; *stopping*, *cancelling* and *overdue* are building by a permit that is `ending`, so
that its worker has yet to say that the build is gone; *again*: newer data wait. Results are those of the
package's last build.

",
    );
    writeln!(text, "| | {} |", STATES.join(" | ")).unwrap();
    writeln!(text, "|---|{}", "---|".repeat(STATES.len())).unwrap();
    for (word, event) in EVENTS {
        let cells = STATES.map(|state| cell(state, event));
        writeln!(text, "| {word} | {} |", cells.join(" | ")).unwrap();
    }
    text
}

#[test]
fn the_table_in_the_docs_is_what_happens() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/transitions.md");
    let now = table();
    if std::env::var_os("PACKLINE_ACCEPT").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(
        golden == now,
        "the scheduler now does\n{now}\nif that is meant: PACKLINE_ACCEPT=1 cargo test -p packline-scheduler transition"
    );
}
