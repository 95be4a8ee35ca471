//! Each answer to "why": what would have to change before a package is built.

use std::time::Duration;

use packline_domain::{Command, Mode, Outcome};
use packline_scheduler::{Config, Reason, Standing};

use crate::line::{Line, name, package};

/// The reasons of a package, as a person reads them.
fn said(line: &Line, of: &str) -> Vec<String> {
    line.scheduler.why(&name(of)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_package_that_nobody_announced_is_unknown() {
    assert_eq!(Line::of(1).scheduler.why(&name("none")), [Reason::Unknown]);
}

#[test]
fn each_dependency_is_named_and_first_the_one_that_needs_somebody() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 9, &[]), package("b", 5, &[])]);
    line.dispatch();
    for _ in 0..3 {
        line.pass(Duration::from_hours(1));
        if line.permit_of("a").is_none() {
            line.dispatch();
        }
        line.take_order("a", "w");
        line.finish("a", Outcome::Failed);
    }
    line.announce(&[package("c", 0, &["b", "a"])]);
    assert_eq!(line.standing("a"), Some(Standing::Failed));
    assert_eq!(said(&line, "c"), ["needs @t/a, which is failed", "needs @t/b, which is ready"]);
}

#[test]
fn members_of_a_cycle_are_told_the_cycle_first() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &["b"]), package("b", 0, &["a"])]);
    assert_eq!(said(&line, "a")[0], "cycle: @t/a → @t/b → @t/a");
}

#[test]
fn without_a_permit_it_says_who_holds_them() {
    let mut line = Line::of(1);
    line.workers(&[("w", 2)]);
    line.announce(&[package("a", 9, &[]), package("b", 0, &[])]);
    line.dispatch();
    let [Reason::NoPermit { limit: 1, holders }] = &line.scheduler.why(&name("b"))[..] else {
        panic!("{:?}", line.scheduler.why(&name("b")));
    };
    assert_eq!((holders[0].package_name.as_str(), &holders[0].worker), ("@t/a", &None));
    assert_eq!(said(&line, "a"), ["no worker has taken its order yet"]);
    line.take_order("a", "w");
    line.see("a");
    assert_eq!(said(&line, "a"), ["is built on w"]);
}

#[test]
fn without_a_slot_or_a_worker_it_says_so() {
    let mut line = Line::without_workers(4, Config::default());
    line.announce(&[package("a", 9, &[]), package("b", 0, &[])]);
    assert_eq!(line.scheduler.why(&name("a")), [Reason::NoWorker { outdated: None }]);
    line.workers(&[("w", 1)]);
    assert_eq!(line.scheduler.why(&name("a")), [Reason::Turn { ahead: 0 }]);
    assert_eq!(line.scheduler.why(&name("b")), [Reason::Turn { ahead: 1 }]);
    line.dispatch();
    assert_eq!(line.scheduler.why(&name("b")), [Reason::NoSlot { slots: 1 }]);
}

#[test]
fn a_failure_is_told_until_when_it_waits() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.build("a", Outcome::Failed);
    assert!(matches!(line.scheduler.why(&name("a"))[..], [Reason::Backoff { .. }]));
}

#[test]
fn a_paused_draining_or_stopped_line_says_by_whom_and_why_before_all_else() {
    for (command, mode, word) in [
        (Command::Pause, Mode::Paused, "paused"),
        (Command::Drain, Mode::Draining, "draining"),
        (Command::EmergencyStop, Mode::Stopped, "stopped"),
    ] {
        let mut line = Line::of(1);
        line.announce(&[package("a", 0, &[]), package("b", 0, &["a"])]);
        line.command(command);
        line.withdraw(100);
        assert_eq!(said(&line, "b"), [&*format!("the line is {word} by ops: a reason"), "needs @t/a, which is ready"]);
        assert!(matches!(line.scheduler.why(&name("a"))[..], [Reason::Mode { mode: told, .. }] if told == mode));
    }
}

#[test]
fn a_build_that_is_stopped_is_told_until_its_worker_has_ended_it() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    line.take_order("a", "w");
    line.see("a");
    line.command(Command::EmergencyStop);
    line.withdraw(100);
    assert_eq!(said(&line, "a"), ["its build on w is stopped and has not ended"]);
}

#[test]
fn what_is_over_says_how() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.build("a", Outcome::Published);
    assert!(matches!(line.scheduler.why(&name("a"))[..], [Reason::Published { .. }]));
    line.announce(&[package("b", 0, &[])]);
    line.command(Command::Cancel { package_name: name("b") });
    line.withdraw(100);
    assert_eq!(said(&line, "b"), ["cancelled by ops: a reason"]);
}

#[test]
fn the_first_reason_of_a_long_list_is_that_of_the_long_answer_and_lists_show_each_package_once() {
    let mut line = Line::of(2);
    line.announce(&[package("bad", 9, &[])]);
    for _ in 0..3 {
        line.build("bad", Outcome::Failed);
        line.pass(Duration::from_hours(1));
    }
    let many: Vec<_> = (0..6).map(|n| package(&format!("p{n}"), n, &[])).collect();
    line.announce(&many);
    line.dispatch();
    line.announce(&[
        package("x", 0, &["y"]),
        package("y", 0, &["x"]),
        package("late", 0, &["p0", "bad"]),
        package("gone", 0, &[]),
    ]);
    line.command(Command::Cancel { package_name: name("gone") });
    line.withdraw(100);
    line.take_order("p5", "w");
    line.finish("p5", Outcome::Failed);
    line.take_order("p4", "w");
    line.finish("p4", Outcome::Published);
    let check = |line: &Line| {
        let scheduler = &line.scheduler;
        let mut listed = 0;
        for standing in [
            Standing::Ready,
            Standing::Blocked,
            Standing::Unresolvable,
            Standing::Building,
            Standing::Retrying,
            Standing::Published,
            Standing::Failed,
            Standing::Cancelled,
        ] {
            let all: Vec<_> = scheduler.standing_so(standing, None).map(|queue| queue.package.name.clone()).collect();
            assert!(all.iter().all(|name| scheduler.standing(name) == Some(standing)), "{all:?}");
            for (at, name) in all.iter().enumerate() {
                let rest: Vec<_> =
                    scheduler.standing_so(standing, Some(name)).map(|queue| queue.package.name.clone()).collect();
                assert_eq!(rest, all[at + 1..], "after {name}");
                let (first, why) = (scheduler.first_reason(name, scheduler.ahead_of(name)), scheduler.why(name));
                assert_eq!(first.to_string(), why[0].to_string(), "{name}");
            }
            listed += all.len();
        }
        assert_eq!(listed, scheduler.packages().count());
    };
    check(&line);
    line.dispatch();
    check(&line);
    line.command(Command::Pause);
    line.withdraw(100);
    check(&line);
    assert_eq!(line.scheduler.first_reason(&name("none"), 0), Reason::Unknown);
}

#[test]
fn a_retry_whose_time_has_come_waits_for_its_turn_and_no_longer_for_a_time() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 9, &[]), package("b", 0, &[])]);
    line.build("a", Outcome::Failed);
    line.pass(Duration::from_hours(1));
    assert_eq!(line.standing("a"), Some(Standing::Ready));
    assert_eq!(line.scheduler.why(&name("a")), [Reason::Turn { ahead: 0 }]);
}
