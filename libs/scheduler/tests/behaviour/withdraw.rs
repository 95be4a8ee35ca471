//! Withdrawing is not freeing: pause, drain, emergency stop, cancel, deadlines.

use std::time::Duration;

use packline_domain::{
    Command, FailureClass, Mode, Outcome, StatusKind,
    record::{Ending, Intended, Key, State},
};
use packline_scheduler::{Action, Input, Refusal, Standing};

use crate::line::{Line, by_ops, name, package};

/// `a` is taken by `w`, `b` is not.
fn two() -> Line {
    let mut line = Line::of(2);
    line.announce(&[package("a", 0, &[]), package("b", 0, &[])]);
    line.dispatch();
    line.take_order("a", "w");
    line.forget_effects();
    line
}

fn cancel(text: &str) -> Command {
    Command::Cancel { package_name: name(text) }
}

#[test]
fn pause_and_drain_withdraw_the_orders_that_nobody_has_taken() {
    for (command, mode) in [(Command::Pause, Mode::Paused), (Command::Drain, Mode::Draining)] {
        let mut line = two();
        line.command(command.clone());
        let control = line.scheduler.control().clone();
        assert_eq!((control.mode, control.complete, control.last.unwrap().complete), (mode, false, false));
        assert!(line.last_event().1.ends_with("; 1 order that no worker has taken to be withdrawn first"));
        let intention = line.scheduler.intention().unwrap().clone();
        assert_eq!((intention.stream.as_str(), intention.sequence, intention.commit), ("CONTROL", 1, line.now.commit));
        let what = Intended::Control { command, origin: by_ops(), done: None, changed: 0 };
        assert_eq!(intention.what, what);
        assert_eq!(line.withdraw(100), 1);
        assert_eq!(line.scheduler.intention(), None);
        let control = line.scheduler.control().clone();
        assert_eq!((control.complete, control.last.unwrap().complete), (true, true));
        assert_eq!(line.state("b"), State::Queued);
        assert_eq!(line.reported("b"), [StatusKind::Queued]);
        assert_eq!(line.scheduler.retries(&name("b")), None, "nobody built it: no attempt");
        assert_eq!(line.standing("a"), Some(Standing::Building), "what runs goes on");
        assert_eq!(line.permit("a").unwrap().ending, None);
        assert_eq!(line.last_event().0, "withdrawn");
    }
}

#[test]
fn a_withdrawn_package_keeps_its_place() {
    let mut line = two();
    line.announce(&[package("c", 0, &[])]);
    line.command(Command::Pause);
    line.withdraw(100);
    line.command(Command::Resume);
    assert_eq!(line.dispatch(), ["b"]);
    assert_eq!(line.orders.last().unwrap().attempt, 1);
}

#[test]
fn a_plan_that_lost_the_race_leaves_no_trace_and_the_next_one_is_right() {
    let mut line = two();
    line.command(Command::Pause);
    line.now.commit += 1;
    let plan = line.scheduler.plan_withdrawal(&line.now, 100).unwrap();
    let number = line.permit_of("b").unwrap();
    assert_eq!(plan.relies_on().keys().collect::<Vec<_>>(), [&number]);
    assert_eq!(plan.relies_on()[&number].worker, None);
    line.take_order("b", "w");
    assert_eq!(line.try_feed(Input::Withdrawn(plan)), Err(Refusal::PlanStale));
    assert_eq!(line.withdraw(100), 1, "the command is complete: nothing is left to withdraw");
    assert_eq!(line.standing("b"), Some(Standing::Building));
    assert!(line.scheduler.control().complete);
}

#[test]
fn emergency_stop_ends_all_builds_and_their_attempts_are_unspent() {
    let mut line = two();
    line.command(Command::EmergencyStop);
    assert_eq!(line.dispatch(), Vec::<String>::new());
    line.withdraw(100);
    assert_eq!(line.wakes, ["w"]);
    assert_eq!(line.state("b"), State::Queued);
    assert_eq!(line.permit("a").unwrap().ending, Some(Ending::Stop));
    assert_eq!(line.scheduler.permits().len(), 1, "withdrawing is not freeing");
    line.command(Command::Resume);
    assert_eq!(line.dispatch(), ["b"], "and what is ending does not start");
    line.finish("a", Outcome::Failed);
    assert_eq!(line.state("a"), State::Queued);
    let retries = line.scheduler.retries(&name("a")).unwrap();
    assert_eq!((retries.failures, retries.attempts[0].class), (0, Some(FailureClass::Returned)));
}

#[test]
fn a_stop_of_many_builds_is_worked_off_in_commits() {
    let mut line = Line::of(250);
    let all: Vec<_> = (0..250).map(|n| package(&format!("p{n}"), 0, &[])).collect();
    line.announce(&all);
    line.dispatch();
    for n in 0..125 {
        line.take_order(&format!("p{n}"), "w");
    }
    line.command(Command::EmergencyStop);
    assert!(line.withdraw_once(100));
    assert!(!line.scheduler.control().complete);
    assert_eq!(line.try_command(Command::Resume), Err(Refusal::Busy { stream: "CONTROL".into(), sequence: 1 }));
    line.scheduler = line.restored();
    assert_eq!(line.withdraw(100), 2, "another leader goes on");
    assert_eq!(line.scheduler.permits().len(), 125);
    assert!(line.scheduler.permits().all(|(_, permit)| permit.ending == Some(Ending::Stop)));
}

#[test]
fn a_second_stop_ends_what_nobody_could_end_before() {
    let mut line = two();
    line.command(Command::EmergencyStop);
    line.withdraw(100);
    line.command(Command::EmergencyStop);
    assert!(line.scheduler.control().complete, "all are ending already");
}

#[test]
fn cancel_of_an_order_that_nobody_has_taken_drops_the_package_at_once() {
    let mut line = two();
    line.command(cancel("b"));
    line.withdraw(100);
    assert_eq!(line.state("b"), State::Cancelled { origin: by_ops() });
    assert_eq!(line.reported("b"), [StatusKind::Cancelled]);
    assert_eq!(line.permit_of("b"), None);
    assert!(line.wakes.is_empty());
}

#[test]
fn cancel_of_a_build_is_reported_when_its_worker_says_that_it_is_gone() {
    for outcome in [Outcome::Cancelled, Outcome::Failed, Outcome::Returned, Outcome::Infrastructure] {
        let mut line = two();
        line.command(cancel("a"));
        line.withdraw(100);
        assert_eq!(line.wakes, ["w"]);
        assert_eq!(line.permit("a").unwrap().ending, Some(Ending::Cancel(by_ops())));
        assert_eq!(line.reported("a"), []);
        line.finish("a", outcome);
        assert_eq!(line.state("a"), State::Cancelled { origin: by_ops() });
        assert_eq!(line.reported("a"), [StatusKind::Cancelled]);
        assert_eq!(line.statuses[0].error.as_deref(), Some("cancelled by ops: a reason"));
    }
}

#[test]
fn cancel_of_a_build_is_reported_when_its_worker_is_lost() {
    let mut line = two();
    line.command(cancel("a"));
    line.withdraw(100);
    line.feed(Input::WorkerLost { worker: "w".into() });
    line.withdraw(100);
    assert_eq!(line.standing("a"), Some(Standing::Cancelled));
}

#[test]
fn a_result_that_comes_before_the_cancel_is_worked_off_is_cancelled_too() {
    for (outcome, expected) in [(Outcome::Failed, Standing::Cancelled), (Outcome::Published, Standing::Published)] {
        let mut line = two();
        line.command(cancel("a"));
        line.finish("a", outcome);
        assert_eq!(line.standing("a"), Some(expected));
        assert_eq!(line.withdraw(100), 1);
        assert_eq!(line.scheduler.intention(), None);
    }
}

#[test]
fn a_cancel_counts_although_the_stop_before_it_ended_the_build_first() {
    for end in [Some(Outcome::Cancelled), Some(Outcome::Failed), Some(Outcome::Published), None] {
        let mut line = two();
        line.command(Command::EmergencyStop);
        line.withdraw(100);
        line.command(cancel("a"));
        match end {
            Some(outcome) => drop(line.finish("a", outcome)),
            None => drop(line.feed(Input::WorkerLost { worker: "w".into() })),
        }
        line.withdraw(100);
        let expected = if end == Some(Outcome::Published) { Standing::Published } else { Standing::Cancelled };
        assert_eq!(line.standing("a"), Some(expected), "{end:?}");
        assert_eq!(line.scheduler.intention(), None);
    }
}

#[test]
fn published_wins_over_any_reason() {
    for command in [cancel("a"), Command::EmergencyStop] {
        let mut line = two();
        line.command(command);
        line.withdraw(100);
        line.finish("a", Outcome::Published);
        assert_eq!(line.standing("a"), Some(Standing::Published));
    }
}

#[test]
fn a_cancelled_package_is_not_built_again_for_newer_data_that_came_before() {
    for (outcome, expected) in [(Outcome::Cancelled, Standing::Cancelled), (Outcome::Published, Standing::Published)] {
        let mut line = two();
        line.announce(&[package("a", 0, &["new"])]);
        line.command(cancel("a"));
        line.withdraw(100);
        line.finish("a", outcome);
        assert_eq!(line.standing("a"), Some(expected));
    }
}

#[test]
fn newer_data_are_built_after_all_when_the_cancelled_package_is_requeued() {
    for outcome in [Outcome::Cancelled, Outcome::Published] {
        let mut line = two();
        line.announce(&[package("a", 0, &["new"])]);
        line.command(cancel("a"));
        line.withdraw(100);
        line.command(Command::Requeue { package_name: name("a") });
        line.finish("a", outcome);
        assert_eq!(line.standing("a"), Some(Standing::Ready));
    }
}

#[test]
fn cancel_wins_over_stop_and_deadline() {
    let mut line = two();
    line.command(Command::EmergencyStop);
    line.withdraw(100);
    line.command(cancel("a"));
    line.withdraw(100);
    assert_eq!(line.permit("a").unwrap().ending, Some(Ending::Cancel(by_ops())));
    line.command(cancel("a"));
    assert_eq!(line.last_event().0, "unchanged");
}

#[test]
fn a_build_that_takes_longer_than_it_may_is_ended_and_failed_by_itself() {
    let mut line = two();
    let taken = line.now.at;
    let deadline = taken.after(line.config.build_deadline);
    assert_eq!(line.scheduler.next_deadline(), Some(deadline));
    line.pass(Duration::from_secs(3599));
    assert!(line.scheduler.plan_withdrawal(&line.now, 100).is_none());
    line.pass(Duration::from_secs(1));
    assert_eq!(line.withdraw(100), 1);
    assert_eq!(line.wakes, ["w"]);
    assert_eq!(line.permit("a").unwrap().ending, Some(Ending::Deadline));
    assert_eq!(line.permit("b").unwrap().ending, None, "its time runs from its taking");
    assert_eq!(line.scheduler.next_deadline(), None);
    line.finish("a", Outcome::Cancelled);
    assert_eq!(line.standing("a"), Some(Standing::Retrying));
    let retries = line.scheduler.retries(&name("a")).unwrap();
    assert_eq!((retries.failures, retries.attempts[0].class), (1, Some(FailureClass::Own)));
    assert_eq!(retries.attempts[0].error.as_deref(), Some("the build took longer than 60 min"));
}

#[test]
fn a_deadline_and_a_cancel_at_once_lose_neither() {
    for limit in [1, 100] {
        let mut line = two();
        line.take_order("b", "w");
        line.pass(Duration::from_secs(3600));
        line.command(cancel("a"));
        line.withdraw(limit);
        assert_eq!(line.permit("a").unwrap().ending, Some(Ending::Cancel(by_ops())));
        assert_eq!(line.permit("b").unwrap().ending, Some(Ending::Deadline));
    }
}

#[test]
fn a_plan_touches_no_more_permits_than_it_may() {
    let mut line = Line::of(30);
    let all: Vec<_> = (0..30).map(|n| package(&format!("p{n}"), 0, &[])).collect();
    line.announce(&all);
    line.dispatch();
    for n in 0..20 {
        line.take_order(&format!("p{n}"), if n < 10 { "lost" } else { "w" });
    }
    line.pass(Duration::from_secs(3600));
    line.command(Command::Pause);
    line.feed(Input::WorkerLost { worker: "lost".into() });
    assert_eq!(line.withdraw(7), 5);
    assert_eq!(line.scheduler.permits().len(), 10);
}

#[test]
fn the_integrity_of_a_withdrawn_permit_is_kept() {
    let mut line = two();
    line.write_permit("a", |permit| permit.integrity = Some("sha512-x".into()));
    line.see("a");
    line.command(Command::EmergencyStop);
    line.withdraw(100);
    assert_eq!(line.permit("a").unwrap().integrity.as_deref(), Some("sha512-x"));
    line.feed(Input::WorkerLost { worker: "w".into() });
    line.withdraw(100);
    assert_eq!(line.scheduler.retries(&name("a")).unwrap().integrities, ["sha512-x"]);
    assert_eq!(line.state("a"), State::Queued, "the reason decides: stopped");
}

#[test]
fn nothing_to_withdraw_is_no_plan() {
    let line = two();
    assert!(line.scheduler.plan_withdrawal(&line.now, 100).is_none());
}

#[test]
fn the_actions_of_a_plan_are_all_that_changes() {
    let mut line = two();
    line.command(Command::EmergencyStop);
    line.now.commit += 1;
    let plan = line.scheduler.plan_withdrawal(&line.now, 100).unwrap();
    let actions = plan.actions();
    let before = line.scheduler.records().collect::<Vec<_>>();
    assert_eq!(before, line.bucket.clone().into_iter().collect::<Vec<_>>(), "a plan changes nothing");
    let keys: Vec<String> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Put(key, _) => Some(format!("put {key}")),
            Action::Delete(key) => Some(format!("delete {key}")),
            Action::Effect(_) => None,
        })
        .collect();
    assert_eq!(keys, ["put control", "delete intention", "put queue.t/b", "put permits.0", "delete permits.1"]);
    assert!(line.bucket.contains_key(&Key::Permit(1)));
    line.take(&actions);
    line.scheduler.apply(&line.now, Input::Withdrawn(plan)).unwrap();
    line.check(&"the plan");
}
