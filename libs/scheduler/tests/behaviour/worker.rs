//! Workers: taking, being lost.

use std::time::Duration;

use packline_domain::{FailureClass, Outcome, StatusKind, record::State};
use packline_scheduler::{Config, Input, Refusal, Standing};

use crate::line::{Line, name, package};

fn taken_by(worker: &str) -> Line {
    let mut line = Line::of(2);
    line.announce(&[package("a", 0, &[]), package("b", 0, &[])]);
    line.dispatch();
    line.take_order("a", worker);
    line
}

#[test]
fn the_builds_of_a_lost_worker_are_tried_again_on_a_budget_of_their_own() {
    let mut line = taken_by("gone-0");
    for lost in 1..=3_u32 {
        line.feed(Input::WorkerLost { worker: format!("gone-{}", lost - 1) });
        assert_eq!(line.standing("a"), Some(Standing::Building), "not before it is committed");
        line.withdraw(100);
        let retries = line.scheduler.retries(&name("a")).unwrap();
        assert_eq!((retries.failures, retries.lost), (0, lost));
        assert_eq!(retries.attempts.last().unwrap().class, Some(FailureClass::WorkerLost));
        if lost == 3 {
            break;
        }
        let (kind, message) = line.last_event();
        assert_eq!(kind, "workerLost");
        let start = format!("lost the build of @t/a: worker gone-{} was lost; retry {lost} of 2 in ", lost - 1);
        assert!(message.starts_with(&start), "{message}");
        assert_eq!(line.reported("a").last(), Some(&StatusKind::Queued));
        line.pass(Duration::from_secs(3600));
        line.dispatch();
        line.take_order("a", &format!("gone-{lost}"));
    }
    let error = "worker gone-2 was lost".to_owned();
    assert_eq!(line.state("a"), State::Failed { error, failed_phase: None });
    assert_eq!(line.standing("b"), Some(Standing::Building), "an order that nobody has taken waits for another");
}

#[test]
fn what_a_lost_worker_is_found_to_hold_later_ends_too() {
    let mut line = taken_by("w");
    line.feed(Input::WorkerLost { worker: "gone".into() });
    assert_eq!(line.withdraw(100), 0);
    line.take_order("b", "gone");
    assert_eq!(line.withdraw(100), 1);
    assert_eq!(line.standing("b"), Some(Standing::Retrying));
}

#[test]
fn a_lost_worker_never_comes_back() {
    let mut line = Line::of(5);
    line.feed(Input::WorkerLost { worker: "gone".into() });
    line.workers(&[("gone", 5)]);
    assert_eq!(line.scheduler.room(), 0);
}

#[test]
fn a_permit_taken_twice_is_refused() {
    let mut line = taken_by("w");
    let mut record = line.permit("a").unwrap();
    record.worker = Some("thief".into());
    let refusal = line.try_feed(Input::PermitSeen { permit: 0, record: Box::new(record) }).unwrap_err();
    assert_eq!(refusal, Refusal::PermitContradicts { permit: 0, known: "w".into(), found: "thief".into() });
}

#[test]
fn a_permit_of_another_time_is_no_news() {
    let mut line = taken_by("w");
    let record = line.permit("a").unwrap();
    line.finish("a", Outcome::Published);
    line.feed(Input::PermitSeen { permit: 0, record: Box::new(record.clone()) });
    line.announce(&[package("c", 0, &[])]);
    line.dispatch();
    line.feed(Input::PermitSeen { permit: 0, record: Box::new(record) });
    assert_eq!(line.permit("c").unwrap().worker, None);
    let mut older = line.permit("b").unwrap();
    line.take_order("b", "w");
    older.worker = None;
    line.feed(Input::PermitSeen { permit: 1, record: Box::new(older) });
    assert_eq!(line.permit("b").unwrap().worker.as_deref(), Some("w"), "a late sight takes nothing away");
}

#[test]
fn a_result_whose_claim_was_never_seen_counts() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    line.write_permit("a", |permit| permit.worker = Some("w".into()));
    line.finish("a", Outcome::Published);
    assert_eq!(line.standing("a"), Some(Standing::Published));
}

#[test]
fn builds_that_end_in_one_step_are_not_retried_at_one_time() {
    let mut line = Line::with(20, Config::default());
    let all: Vec<_> = (0..20).map(|n| package(&format!("p{n}"), 0, &[])).collect();
    line.announce(&all);
    line.dispatch();
    for n in 0..20 {
        line.take_order(&format!("p{n}"), "gone");
    }
    line.feed(Input::WorkerLost { worker: "gone".into() });
    assert_eq!(line.withdraw(100), 1);
    let mut times: Vec<_> = line.scheduler.retrying().map(|(_, until)| until).collect();
    times.dedup();
    assert!(times.len() > 15, "{}", times.len());
}
