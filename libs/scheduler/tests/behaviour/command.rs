//! What an operator commands.

use packline_domain::{Command, FailureClass, Mode, Outcome, StatusKind, record::State};
use packline_scheduler::{Config, Input, Refusal, Slice, Standing};

use crate::line::{Line, by_ops, name, package};

fn cancel(text: &str) -> Command {
    Command::Cancel { package_name: name(text) }
}

fn requeue(text: &str) -> Command {
    Command::Requeue { package_name: name(text) }
}

/// A line in which so many packages have failed.
fn failed(count: usize) -> Line {
    let mut line = Line::with(100, Config { max_attempts: 1, ..Config::default() });
    let all: Vec<_> = (0..count).map(|n| package(&format!("p{n:03}"), 0, &[])).collect();
    line.announce(&all);
    line.dispatch();
    for package in &all {
        let text = package.name.unscoped();
        line.build(text, Outcome::Failed);
    }
    assert_eq!(line.scheduler.counts().failed, count);
    line
}

#[test]
fn paused_starts_nothing_until_resumed() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.now.at = line.now.at.after(std::time::Duration::from_secs(1));
    line.command(Command::Pause);
    let control = line.scheduler.control().clone();
    assert_eq!(
        (control.mode, control.origin, control.since, control.complete),
        (Mode::Paused, by_ops(), line.now.at, true)
    );
    let last = control.last.unwrap();
    assert_eq!((last.command, last.complete), (Command::Pause, true));
    assert_eq!((last.sequence, last.effect.as_str(), last.unchanged), (1, "paused by ops: a reason", false));
    assert_eq!(line.last_event(), ("paused", "paused by ops: a reason"));
    assert_eq!(line.dispatch(), Vec::<String>::new());
    line.command(Command::Resume);
    assert_eq!(line.last_event(), ("resumed", "resumed by ops: a reason"));
    assert_eq!(line.dispatch(), ["a"]);
}

#[test]
fn a_mode_that_is_commanded_again_stands_since_the_first_time() {
    let mut line = Line::of(1);
    line.command(Command::Pause);
    let since = line.scheduler.control().since;
    line.now.at = line.now.at.after(std::time::Duration::from_secs(5));
    line.command(Command::Pause);
    assert_eq!(line.scheduler.control().since, since);
}

#[test]
fn pause_and_drain_while_stopped_change_nothing_but_are_remembered() {
    for command in [Command::Pause, Command::Drain] {
        let mut line = Line::of(1);
        line.command(Command::EmergencyStop);
        line.command(command.clone());
        assert_eq!(line.scheduler.control().mode, Mode::Stopped);
        let last = line.scheduler.control().last.clone().unwrap();
        assert_eq!((last.command, last.unchanged), (command, true));
        assert_eq!(line.last_event().0, "unchanged");
        line.command(Command::Resume);
        assert_eq!(line.scheduler.control().mode, Mode::Running);
    }
}

#[test]
fn resume_ends_paused_draining_and_stopped() {
    for command in [Command::Pause, Command::Drain, Command::EmergencyStop] {
        let mut line = Line::of(1);
        line.announce(&[package("a", 0, &[])]);
        line.command(command);
        assert_eq!(line.dispatch(), Vec::<String>::new());
        line.command(Command::Resume);
        assert_eq!(line.scheduler.control().mode, Mode::Running);
        assert_eq!(line.dispatch(), ["a"]);
    }
}

#[test]
fn pause_during_draining_ends_the_drain() {
    let mut line = Line::of(1);
    line.command(Command::Drain);
    line.command(Command::Pause);
    assert_eq!(line.scheduler.control().mode, Mode::Paused);
    assert_eq!(line.try_feed(Input::Drained), Err(Refusal::NotDraining));
}

#[test]
fn a_drain_ends_with_the_last_build_and_a_later_start_runs_again() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[]), package("b", 0, &[])]);
    line.dispatch();
    line.take_order("a", "w");
    line.command(Command::Drain);
    assert_eq!(line.try_feed(Input::Drained), Err(Refusal::NotDraining));
    line.finish("a", Outcome::Published);
    assert_eq!(line.dispatch(), Vec::<String>::new());
    line.feed(Input::Drained);
    let control = line.scheduler.control().clone();
    assert_eq!((control.mode, control.drained_commit), (Mode::Drained, Some(line.now.commit)));
    assert_eq!(line.last_event().0, "drained");
    let drained = line.now.commit;
    line.scheduler = line.restored();
    line.feed(Input::Started);
    line.workers(&[("w", 1)]);
    let control = line.scheduler.control().clone();
    assert_eq!((control.mode, control.drained_commit), (Mode::Running, Some(drained)));
    assert_eq!(line.dispatch(), ["b"]);
    assert_eq!(line.feed(Input::Started), [], "a takeover changes nothing");
}

#[test]
fn the_first_start_writes_control_once() {
    let mut line = Line::of(1);
    assert_eq!(line.bucket.len(), 1);
    assert_eq!(line.feed(Input::Started), []);
}

#[test]
fn a_limit_out_of_range_is_refused() {
    let mut line = Line::of(1);
    for limit in [0, 10_001] {
        let refusal = line.try_command(Command::AdjustConcurrency { max_concurrent: limit }).unwrap_err();
        assert_eq!(refusal, Refusal::Limit(limit));
    }
    line.command(Command::AdjustConcurrency { max_concurrent: 10_000 });
    assert_eq!(line.scheduler.control().max_concurrent, 10_000);
}

#[test]
fn poll_is_not_for_the_orchestrator() {
    let mut line = Line::of(1);
    assert_eq!(line.command(Command::Poll), []);
}

#[test]
fn cancel_drops_a_package_that_waits_or_has_failed() {
    let mut line = Line::with(2, Config { max_attempts: 2, ..Config::default() });
    line.announce(&[package("queued", -1, &["none"]), package("retrying", 0, &[]), package("failed", 0, &[])]);
    line.build("retrying", Outcome::Failed);
    let mut result = line.result(&line.build_id("failed"), Outcome::Failed);
    result.retry = false;
    line.feed(Input::Finished(Box::new(result)));
    for text in ["queued", "retrying", "failed"] {
        line.command(cancel(text));
        assert_eq!(line.state(text), State::Cancelled { origin: by_ops() });
        assert_eq!(line.reported(text).last(), Some(&StatusKind::Cancelled));
        assert_eq!(line.statuses.last().unwrap().error.as_deref(), Some("cancelled by ops: a reason"));
        assert_eq!(line.queue(text).status_commit, line.now.commit);
    }
    assert_eq!(line.last_event(), ("cancelled", "cancelled by ops: a reason: @t/failed"));
}

#[test]
fn cancel_of_what_is_not_there_or_settled_changes_nothing() {
    let mut line = Line::of(1);
    line.announce(&[package("ok", 0, &[])]);
    line.build("ok", Outcome::Published);
    for text in ["ghost", "ok"] {
        let before = line.bucket.len();
        line.command(cancel(text));
        assert_eq!(line.last_event().0, "unchanged");
        assert_eq!(line.bucket.len(), before);
    }
    assert_eq!(line.standing("ok"), Some(Standing::Published));
}

#[test]
fn requeue_gives_failed_cancelled_and_retrying_packages_all_their_attempts() {
    let mut line = Line::of(3);
    line.announce(&[package("failed", 0, &[]), package("cancelled", 0, &[]), package("retrying", 0, &[])]);
    line.command(cancel("cancelled"));
    line.build("retrying", Outcome::Failed);
    let mut result = line.result(&line.build_id("failed"), Outcome::Failed);
    result.retry = false;
    line.feed(Input::Finished(Box::new(result)));
    for text in ["failed", "cancelled", "retrying"] {
        line.command(requeue(text));
        assert_eq!(line.state(text), State::Queued);
        assert_eq!(line.last_event(), ("requeued", &*format!("requeued @t/{text} by ops: a reason")));
        let retries = line.scheduler.retries(&name(text)).cloned().unwrap_or_default();
        assert_eq!((retries.failures, retries.next_attempt_at), (0, None));
    }
    assert_eq!(line.dispatch(), ["failed", "cancelled", "retrying"]);
}

#[test]
fn requeue_of_what_runs_or_is_published_changes_nothing() {
    let mut line = Line::of(1);
    line.announce(&[package("ok", 0, &[])]);
    line.build("ok", Outcome::Published);
    line.announce(&[package("running", 0, &[]), package("queued", 0, &[])]);
    line.dispatch();
    for text in ["ok", "running", "queued", "ghost"] {
        line.command(requeue(text));
        assert_eq!(line.last_event().0, "unchanged");
    }
}

#[test]
fn requeue_of_a_package_that_is_being_cancelled_queues_it_when_its_build_is_gone() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    line.take_order("a", "w");
    line.command(cancel("a"));
    line.withdraw(10);
    line.command(requeue("a"));
    assert_eq!(line.last_event().0, "requeued");
    assert_eq!(line.standing("a"), Some(Standing::Building));
    line.finish("a", Outcome::Cancelled);
    assert_eq!(line.state("a"), State::Queued);
    assert_eq!(line.scheduler.retries(&name("a")).unwrap().attempts[0].class, Some(FailureClass::Returned));
}

#[test]
fn few_failed_packages_are_requeued_at_once() {
    let mut line = failed(3);
    line.command(Command::RequeueFailed);
    assert_eq!(line.scheduler.counts().ready, 3);
    assert_eq!(line.scheduler.intention(), None);
    assert_eq!(line.last_event(), ("requeued", "requeued 3 failed packages by ops: a reason"));
    line.command(Command::RequeueFailed);
    assert_eq!(line.last_event(), ("requeued", "requeued 0 failed packages by ops: a reason"));
}

#[test]
fn many_failed_packages_are_requeued_in_slices_that_leave_out_what_failed_since() {
    let mut line = failed(95);
    let more: Vec<_> = (95..130).map(|n| package(&format!("p{n:03}"), 0, &[])).collect();
    line.announce(&more);
    line.dispatch();
    for package in &more[..34] {
        line.build(package.name.unscoped(), Outcome::Failed);
    }
    line.take_order("p129", "w");
    line.command(Command::RequeueFailed);
    assert_eq!(line.scheduler.counts().failed, 29);
    assert!(!line.scheduler.control().last.clone().unwrap().complete);
    assert!(line.scheduler.control().complete, "the mode is not what is being worked off");
    line.finish("p129", Outcome::Failed);
    line.scheduler = line.restored();
    line.workers(&[("w", 100)]);
    assert!(line.scheduler.plan_withdrawal(&line.now, 100).is_none());
    let mut slices = 0;
    while line.scheduler.intention().is_some() {
        line.feed(Input::Continued { limit: 10 });
        slices += 1;
    }
    assert_eq!(slices, 3);
    assert_eq!(line.standing("p129"), Some(Standing::Failed), "it failed after the command");
    assert_eq!(line.scheduler.counts().failed, 1);
    let last = line.scheduler.control().last.clone().unwrap();
    assert!(last.complete);
    assert_eq!(last.effect, "requeued 129 failed packages by ops: a reason");
    assert_eq!(line.last_event(), ("requeued", last.effect.as_str()), "one event for all of them");
    assert_eq!(line.feed(Input::Continued { limit: 10 }), []);
}

#[test]
fn a_stop_waits_neither_for_a_long_announcement_nor_for_the_requeueing_of_all_and_both_go_on_afterwards() {
    let mut line = failed(130);
    let slice = |done, last| Some(Slice { stream: "PACKAGES".into(), sequence: 9, done, last });
    let announced =
        |text: &str, slice| Input::Announced { packages: vec![package(text, 0, &[])], reported_through: None, slice };
    line.feed(announced("a", slice(1, false)));
    line.command(Command::RequeueFailed);
    assert_eq!(line.scheduler.counts().failed, 30);
    line.dispatch();
    line.take_order("a", "w");
    line.command(Command::EmergencyStop);
    assert_eq!(line.scheduler.control().mode, Mode::Stopped);
    let standing = |line: &Line| {
        line.scheduler.intention().map_or(Vec::new(), |first| first.all().map(|one| one.sequence).collect())
    };
    assert_eq!(standing(&line), [2, 1, 9], "the latest first");
    assert_eq!(line.try_command(Command::Resume), Err(Refusal::Busy { stream: "CONTROL".into(), sequence: 2 }));
    assert_eq!(line.feed(Input::Continued { limit: 10 }), [], "the stop comes first");
    line.scheduler = line.restored();
    line.workers(&[("w", 200)]);

    while line.withdraw(10) > 0 {}
    let control = line.scheduler.control().clone();
    let last = control.last.unwrap();
    assert_eq!((control.complete, last.complete, last.command), (true, true, Command::EmergencyStop));
    assert_eq!(standing(&line), [1, 9]);
    line.feed(announced("b", slice(2, false)));
    assert_eq!(standing(&line), [1, 9], "an announcement goes on wherever it stands");
    line.feed(Input::Continued { limit: 100 });
    assert_eq!(line.last_event(), ("requeued", "requeued 130 failed packages by ops: a reason"));
    assert_eq!(line.scheduler.control().last.clone().unwrap().command, Command::EmergencyStop);
    line.feed(announced("c", slice(3, true)));
    assert_eq!(line.scheduler.intention(), None);
    assert_eq!(line.scheduler.counts().waiting(), 132, "all but the one whose build is ending");
}

#[test]
fn a_later_requeue_of_all_takes_over_what_the_earlier_one_has_left() {
    let mut line = failed(130);
    line.command(Command::RequeueFailed);
    line.command(Command::RequeueFailed);
    let requeued = |line: &Line| {
        let told = line.events.iter().filter(|event| event.kind == "requeued");
        told.map(|event| (event.command, event.message.clone())).collect::<Vec<_>>()
    };
    let by_ops = "by ops: a reason";
    let first = (
        Some(1),
        format!("requeued 100 failed packages {by_ops}; the others are requeued by a later command {by_ops}"),
    );
    let second = (Some(2), format!("requeued 30 failed packages {by_ops}"));
    assert_eq!(requeued(&line), [first, second]);
    assert_eq!(line.scheduler.intention(), None);
    assert_eq!(line.scheduler.counts().ready, 130);
}
