//! Workers of earlier releases: orders that they do not understand wait, and nothing that they say of one counts.

use packline_domain::{
    Command, FailureClass, Outcome, Package, StatusKind,
    answer::{Outdated, Reason},
    record::{Ending, State},
};
use packline_scheduler::{Input, Standing};

use crate::line::{Line, name, package};

fn moved(text: &str) -> Package {
    Package { path: Some(format!("src/{text}").parse().unwrap()), ..package(text, 9, &[]) }
}

fn outdated() -> Outdated {
    Outdated { worker: "old".into(), version: "0.0.9".into(), protocol: 1, needs: 2 }
}

fn told(line: &Line) -> Vec<&str> {
    line.events.iter().filter(|event| event.kind == "outdated").map(|event| &*event.message).collect()
}

/// A line with a worker of this release, and one of an earlier one.
fn mixed() -> Line {
    let mut line = Line::without_workers(9, packline_scheduler::Config::default());
    line.workers(&[("new", 2), ("old", 2)]);
    line.behind(&[("old", true)]);
    line
}

#[test]
fn an_order_for_another_folder_waits_while_an_older_worker_is_live_and_others_start() {
    let mut line = mixed();
    line.announce(&[moved("a"), moved("b"), package("usual", 0, &[])]);
    let by_path = Package { path: "packages/named".parse().ok(), ..package("named", 0, &[]) };
    line.announce(&[by_path]);
    assert!(line.scheduler.can_start());
    assert_eq!(line.dispatch(), ["usual", "named"], "they need what every worker speaks");
    assert!(!line.scheduler.can_start(), "or the driver would turn for ever");
    assert!(line.dispatch().is_empty());
    let why = [Reason::NoWorker { outdated: Some(outdated()) }];
    assert_eq!(line.scheduler.why(&name("a")), why);
    assert_eq!(line.scheduler.first_reason(&name("a"), 0), why[0]);
    assert_eq!(line.standing("a"), Some(Standing::Ready));
    assert_eq!(
        why[0].to_string(),
        "worker old of version 0.0.9 speaks protocol 1, and 2 is needed; it starts when that worker is gone"
    );
    line.behind(&[]);
    line.workers(&[("new", 9)]);
    assert_eq!(line.dispatch(), ["a", "b"]);
}

#[test]
fn one_event_names_the_worker_and_its_version() {
    let mut line = mixed();
    line.announce(&[package("usual", 0, &[])]);
    assert!(told(&line).is_empty(), "nothing is held back");
    line.announce(&[moved("a"), moved("b"), moved("c")]);
    let expected = "@t/a and 2 other packages cannot start: worker old of version 0.0.9 speaks protocol 1, and 2 is \
                    needed; update that worker, or stop it";
    assert_eq!(told(&line), [expected]);
    for _ in 0..3 {
        line.poll(&[moved("a"), moved("d")], 99);
        line.dispatch();
        line.behind(&[("old", true)]);
    }
    assert_eq!(told(&line).len(), 1);
    line.behind(&[("old", true), ("another", true)]);
    line.behind(&[("another", true)]);
    assert_eq!(told(&line).len(), 2, "another worker is news");
    assert!(told(&line)[1].contains("worker another of version 0.0.9"));
}

#[test]
fn a_worker_that_is_behind_and_no_longer_live_holds_nothing_back() {
    let mut line = mixed();
    line.behind(&[("old", false)]);
    line.announce(&[moved("a")]);
    assert!(told(&line).is_empty());
    assert_eq!(line.dispatch(), ["a"]);
}

#[test]
fn no_event_is_told_while_nothing_is_started_anyway() {
    let mut line = mixed();
    line.command(Command::Pause);
    line.announce(&[moved("a")]);
    assert!(told(&line).is_empty());
    line.command(Command::Resume);
    assert_eq!(told(&line).len(), 1);
}

/// It came while the order was out, and has taken it.
fn taken_by_an_older_one(line: &mut Line) {
    line.announce(&[moved("a")]);
    assert_eq!(line.dispatch(), ["a"]);
    line.workers(&[("new", 2), ("old", 2)]);
    line.behind(&[("old", true)]);
    line.take_order("a", "old");
}

fn finished_by(line: &mut Line, worker: &str, outcome: Outcome, retry: bool) {
    let mut result = line.result(&line.build_id("a"), outcome);
    result.worker = worker.into();
    result.retry = retry;
    line.feed(Input::Finished(Box::new(result)));
}

#[test]
fn what_an_older_worker_says_of_such_an_order_counts_as_returned() {
    for outcome in [Outcome::Failed, Outcome::TimedOut, Outcome::Infrastructure, Outcome::Cancelled, Outcome::Returned]
    {
        let mut line = Line::of(2);
        taken_by_an_older_one(&mut line);
        finished_by(&mut line, "old", outcome, false);
        assert_eq!(line.state("a"), State::Queued, "{outcome:?}");
        let retries = line.scheduler.retries(&name("a")).unwrap();
        assert_eq!((retries.failures, retries.infrastructure, retries.lost), (0, 0, 0));
        assert_eq!(retries.attempts[0].class, Some(FailureClass::Returned));
        let message = "returned @t/a: worker old of version 0.0.9 speaks protocol 1, and 2 is needed; queued again";
        assert!(line.events.iter().any(|event| event.kind == "returned" && event.message == message));
        assert!(line.dispatch().is_empty(), "not while it is live");
        line.behind(&[]);
        assert_eq!(line.dispatch(), ["a"]);
        assert_eq!(line.orders.last().unwrap().attempt, 1);
    }
}

#[test]
fn published_is_a_fact_whoever_says_it_and_a_worker_of_this_release_is_believed() {
    let mut line = Line::of(2);
    taken_by_an_older_one(&mut line);
    finished_by(&mut line, "old", Outcome::Published, true);
    assert!(matches!(line.state("a"), State::Published { .. }));

    let mut line = Line::of(2);
    taken_by_an_older_one(&mut line);
    finished_by(&mut line, "w", Outcome::Failed, false);
    assert!(matches!(line.state("a"), State::Failed { .. }));

    let mut line = mixed();
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    line.take_order("a", "old");
    finished_by(&mut line, "old", Outcome::Failed, false);
    assert!(matches!(line.state("a"), State::Failed { .. }), "it understands that order");
}

#[test]
fn a_cancel_wins_over_what_an_older_worker_says() {
    let mut line = Line::of(2);
    taken_by_an_older_one(&mut line);
    line.command(Command::Cancel { package_name: name("a") });
    line.withdraw(100);
    assert!(matches!(line.permit("a").unwrap().ending, Some(Ending::Cancel(_))));
    finished_by(&mut line, "old", Outcome::Failed, false);
    assert!(matches!(line.state("a"), State::Cancelled { .. }));
    assert_eq!(line.reported("a").last(), Some(&StatusKind::Cancelled));
}
