//! How builds end: every class of failure, on its own budget.

use std::time::Duration;

use packline_domain::{FailureClass, Outcome, StatusKind, record::State};
use packline_scheduler::{Config, Input, Refusal, Standing};

use crate::line::{Line, name, package};

const HOUR: Duration = Duration::from_secs(3600);

fn started() -> Line {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    line.take_order("a", "w");
    line
}

#[test]
fn published_is_reported_with_its_version() {
    let mut line = started();
    line.now.at = line.now.at.after(Duration::from_secs(12));
    line.finish("a", Outcome::Published);
    assert_eq!(line.state("a"), State::Published { version: Some("1.0.0".into()), private: false });
    let status = line.statuses.last().unwrap();
    assert_eq!((status.status, status.attempts, status.commit), (StatusKind::Published, 1, line.now.commit));
    assert_eq!(line.last_event(), ("published", "published @t/a 1.0.0 (attempt 1, 12 s)"));
    assert_eq!(line.scheduler.permits().len(), 0);
    let attempts = &line.scheduler.retries(&name("a")).unwrap().attempts;
    assert_eq!((attempts.len(), attempts[0].class, attempts[0].worker.as_deref()), (1, None, Some("w")));
}

#[test]
fn a_failure_of_its_own_is_retried_after_a_pause_until_its_attempts_are_used() {
    let mut line = started();
    for attempt in 1..=2_u32 {
        line.finish("a", Outcome::Failed);
        let State::Retrying { until } = line.state("a") else { panic!("not retrying") };
        let longest = Duration::from_secs(10 * u64::from(attempt));
        assert!(until.since(line.now.at) <= longest, "{:?}", until.since(line.now.at));
        let (kind, message) = line.last_event();
        assert_eq!(kind, "retrying");
        assert!(message.starts_with(&format!("failed @t/a in test: boom; retry {attempt} of 2 in ")), "{message}");
        let status = line.statuses.last().unwrap();
        assert_eq!((status.status, status.attempts), (StatusKind::Queued, attempt));
        assert_eq!((status.error.as_deref(), status.failed_phase.as_deref()), (Some("boom"), Some("test")));
        assert_eq!(line.scheduler.next_deadline(), Some(until));
        assert_eq!(line.dispatch(), Vec::<String>::new());
        line.pass(longest);
        assert_eq!(line.standing("a"), Some(Standing::Ready), "no record says so, but its time has come");
        assert_eq!(line.dispatch(), ["a"]);
        assert_eq!(line.orders.last().unwrap().attempt, attempt + 1);
        line.take_order("a", "w");
    }
    line.finish("a", Outcome::TimedOut);
    assert_eq!(line.state("a"), State::Failed { error: "boom".into(), failed_phase: None });
    assert_eq!(line.last_event(), ("failed", "failed @t/a: boom; given up (3 of 3)"));
    let status = line.statuses.last().unwrap();
    assert_eq!((status.status, status.attempts), (StatusKind::Failed, 3));
}

#[test]
fn a_permanent_failure_is_not_retried() {
    let mut line = started();
    let mut result = line.result(&line.build_id("a"), Outcome::Failed);
    result.retry = false;
    line.feed(Input::Finished(Box::new(result)));
    assert_eq!(line.standing("a"), Some(Standing::Failed));
    assert_eq!(line.last_event(), ("failed", "failed @t/a in test: boom; not retried"));
    assert_eq!(line.scheduler.retries(&name("a")).unwrap().attempts[0].class, Some(FailureClass::Permanent));
}

#[test]
fn infrastructure_has_a_budget_of_its_own() {
    let mut line = started();
    for failure in 1..=9 {
        line.finish("a", Outcome::Infrastructure);
        let retries = line.scheduler.retries(&name("a")).unwrap();
        assert_eq!((retries.failures, retries.infrastructure, retries.lost), (0, failure, 0));
        line.pass(HOUR);
        line.dispatch();
        assert_eq!(line.orders.last().unwrap().attempt, 1, "the attempt is not spent");
        line.take_order("a", "w");
    }
    line.finish("a", Outcome::Infrastructure);
    assert_eq!(line.standing("a"), Some(Standing::Failed));
    assert_eq!(line.last_event(), ("failed", "infrastructure failed under @t/a: boom; given up (10 of 10)"));
}

#[test]
fn budgets_do_not_add_up() {
    let config = Config { max_attempts: 2, max_infrastructure: 2, max_lost: 2, ..Config::default() };
    let mut line = Line::with(1, config);
    line.announce(&[package("a", 0, &[])]);
    line.build("a", Outcome::Failed);
    line.pass(HOUR);
    line.build("a", Outcome::Infrastructure);
    line.pass(HOUR);
    line.dispatch();
    line.take_order("a", "other");
    line.feed(Input::WorkerLost { worker: "other".into() });
    line.withdraw(100);
    assert_eq!(line.standing("a"), Some(Standing::Retrying));
    line.pass(HOUR);
    line.build("a", Outcome::Failed);
    assert_eq!(line.standing("a"), Some(Standing::Failed));
}

#[test]
fn what_is_handed_back_counts_for_nothing_and_keeps_its_place() {
    for outcome in [Outcome::Returned, Outcome::Cancelled] {
        let mut line = Line::of(1);
        line.announce(&[package("a", 0, &[]), package("b", 0, &[])]);
        line.build("a", outcome);
        assert_eq!(line.state("a"), State::Queued);
        assert_eq!(line.reported("a"), [StatusKind::Building, StatusKind::Queued]);
        let retries = line.scheduler.retries(&name("a")).unwrap();
        assert_eq!((retries.failures, retries.infrastructure, retries.lost), (0, 0, 0));
        assert_eq!(retries.attempts[0].class, Some(FailureClass::Returned));
        assert_eq!(line.dispatch(), ["a"]);
        assert_eq!(line.orders.last().unwrap().attempt, 1);
    }
}

#[test]
fn one_attempt_means_no_retry() {
    let mut line = Line::with(1, Config { max_attempts: 1, ..Config::default() });
    line.announce(&[package("a", 0, &[])]);
    line.build("a", Outcome::Failed);
    assert_eq!(line.standing("a"), Some(Standing::Failed));
}

#[test]
fn a_result_twice_changes_nothing() {
    let mut line = started();
    let result = line.result(&line.build_id("a"), Outcome::Published);
    line.feed(Input::Finished(Box::new(result.clone())));
    line.announce(&[package("a", 0, &[])]);
    let before = line.queue("a");
    line.forget_effects();
    line.feed(Input::Finished(Box::new(result)));
    assert_eq!(line.queue("a"), before, "wanted again after it was published");
    assert!(line.statuses.is_empty());
    assert_eq!(line.last_event(), ("stale", "stale result of build t/a.101 from w changes nothing"));
}

#[test]
fn a_stale_failure_changes_nothing() {
    let mut line = started();
    let old = line.result(&line.build_id("a"), Outcome::Failed);
    line.finish("a", Outcome::Returned);
    line.dispatch();
    line.forget_effects();
    let before = line.bucket.clone();
    line.feed(Input::Finished(Box::new(old)));
    assert_eq!(line.bucket, before);
    assert!(line.statuses.is_empty());
    assert_eq!(line.events.len(), 1);
}

#[test]
fn a_stale_published_is_a_fact_unless_the_package_is_building() {
    for building in [false, true] {
        let mut line = started();
        let mut late = line.result(&line.build_id("a"), Outcome::Published);
        late.integrity = Some("sha512-x".into());
        line.feed(Input::WorkerLost { worker: "w".into() });
        line.withdraw(100);
        assert_eq!(line.standing("a"), Some(Standing::Retrying));
        if building {
            line.pass(HOUR);
            line.workers(&[("v", 1)]);
            assert_eq!(line.dispatch(), ["a"]);
        }
        line.feed(Input::Finished(Box::new(late.clone())));
        let expected = if building { Standing::Building } else { Standing::Published };
        assert_eq!(line.standing("a"), Some(expected));
        assert_eq!(line.reported("a").last(), Some(&StatusKind::Published));
        assert_eq!(line.queue("a").status_commit, line.now.commit);
        let retries = line.scheduler.retries(&name("a")).unwrap();
        assert_eq!(retries.attempts.len(), 1);
        assert_eq!(retries.attempts[0].class, None, "history is corrected");
        assert_eq!(retries.integrities, ["sha512-x"]);
        line.forget_effects();
        line.feed(Input::Finished(Box::new(late)));
        assert!(line.statuses.is_empty(), "once is enough");
    }
}

#[test]
fn a_result_of_an_unknown_package_is_reported_if_it_was_published() {
    let mut line = Line::of(1);
    for (outcome, statuses) in [(Outcome::Failed, 0), (Outcome::Published, 1)] {
        let result = line.result(&"t/ghost.5".parse().unwrap(), outcome);
        line.feed(Input::Finished(Box::new(result)));
        assert_eq!(line.statuses.len(), statuses);
        assert_eq!(line.last_event().0, "stale");
    }
    assert_eq!(line.bucket.len(), 1, "control alone");
}

#[test]
fn a_result_that_contradicts_itself_is_refused() {
    let mut line = started();
    let mut result = line.result(&line.build_id("a"), Outcome::Published);
    result.package_name = name("b");
    let refusal = line.try_feed(Input::Finished(Box::new(result))).unwrap_err();
    assert_eq!(refusal, Refusal::ResultContradicts { build_id: line.build_id("a"), package_name: name("b") });
    assert_eq!(refusal.to_string(), "the result of build t/a.101 names the package @t/b");
}

#[test]
fn integrities_are_kept_for_later_attempts() {
    let mut line = started();
    line.write_permit("a", |permit| permit.integrity = Some("sha512-1".into()));
    line.see("a");
    line.finish("a", Outcome::Failed);
    line.pass(HOUR);
    line.dispatch();
    assert_eq!(line.orders.last().unwrap().integrities, ["sha512-1"]);
    line.take_order("a", "w");
    let mut result = line.result(&line.build_id("a"), Outcome::Failed);
    result.integrity = Some("sha512-2".into());
    result.retry = false;
    line.feed(Input::Finished(Box::new(result)));
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    assert_eq!(line.orders.last().unwrap().integrities, ["sha512-1", "sha512-2"], "also when queued afresh");
}

#[test]
fn history_and_integrities_are_bounded() {
    let mut line = started();
    for n in 0..30 {
        let mut result = line.result(&line.build_id("a"), Outcome::Returned);
        result.integrity = Some(format!("sha512-{n}"));
        line.feed(Input::Finished(Box::new(result)));
        line.dispatch();
        line.take_order("a", "w");
    }
    let retries = line.scheduler.retries(&name("a")).unwrap();
    assert_eq!((retries.attempts.len(), retries.integrities.len()), (10, 20));
    assert_eq!(retries.attempts[9].build_id.serial, 130);
    assert_eq!(retries.integrities[19], "sha512-29");
}

#[test]
fn a_hostile_result_is_cut() {
    let mut line = started();
    let mut result = line.result(&line.build_id("a"), Outcome::Failed);
    result.error = Some("x\u{1b}[31m\n".repeat(100_000));
    result.failed_phase = Some("p".repeat(100_000));
    result.version = Some("v".repeat(100_000));
    result.integrity = Some("i".repeat(100_000));
    result.worker = "w".repeat(100_000);
    line.feed(Input::Finished(Box::new(result)));
    let size: usize = line.bucket.values().map(|record| record.encode().unwrap().len()).sum();
    assert!(size < 8192, "{size}");
    assert!(line.events.iter().all(|event| event.message.len() < 1000 && !event.message.contains('\u{1b}')));
}
