//! `buildAfter`: what orders builds and never blocks them.

use std::time::Duration;

use packline_domain::{Command, Outcome, Package};
use packline_scheduler::{Awaited, Input, Standing};

use crate::line::{Line, built_after, name, package};

/// A package without dependencies that is built after these.
fn after(text: &str, names: &[&str]) -> Package {
    built_after(package(text, 0, &[]), names)
}

fn fail(line: &mut Line, text: &str) {
    line.dispatch();
    let mut result = line.result(&line.build_id(text), Outcome::Failed);
    result.retry = false;
    line.feed(Input::Finished(Box::new(result)));
}

#[test]
fn it_waits_while_the_other_one_is_queued_built_or_retried() {
    let mut line = Line::of(9);
    line.announce(&[after("a", &["tool"]), package("tool", 0, &[])]);
    let expected = Awaited { name: &name("tool"), standing: Standing::Ready, is_order_only: true };
    assert_eq!(line.scheduler.waits_for(&name("a")).collect::<Vec<_>>(), [expected]);
    assert_eq!(line.dispatch(), ["tool"]);
    assert_eq!(line.standing("a"), Some(Standing::Blocked));
    line.build("tool", Outcome::Failed);
    assert_eq!((line.standing("tool"), line.standing("a")), (Some(Standing::Retrying), Some(Standing::Blocked)));
    assert_eq!(line.scheduler.why(&name("a"))[0].to_string(), "is built after @t/tool, which is retrying");
    line.pass(Duration::from_secs(600));
    line.build("tool", Outcome::Published);
    assert_eq!(line.dispatch(), ["a"]);
}

#[test]
fn it_goes_on_when_the_other_one_has_failed_or_is_cancelled() {
    let mut line = Line::of(9);
    line.announce(&[after("a", &["tool"]), after("b", &["other"]), package("tool", 0, &[]), package("other", 0, &[])]);
    fail(&mut line, "tool");
    assert_eq!(line.standing("a"), Some(Standing::Ready));
    assert_eq!(line.standing("b"), Some(Standing::Blocked));
    line.command(Command::Cancel { package_name: name("other") });
    line.build("other", Outcome::Cancelled);
    assert_eq!(line.standing("b"), Some(Standing::Ready));
}

#[test]
fn it_goes_on_when_what_the_other_one_depends_on_has_failed() {
    let mut line = Line::of(9);
    line.announce(&[
        after("a", &["tool"]),
        package("tool", 0, &["middle"]),
        package("middle", 0, &["base"]),
        package("base", 0, &[]),
    ]);
    assert_eq!(line.standing("a"), Some(Standing::Blocked));
    fail(&mut line, "base");
    assert_eq!((line.standing("tool"), line.standing("a")), (Some(Standing::Blocked), Some(Standing::Ready)));
    line.command(Command::Requeue { package_name: name("base") });
    assert_eq!(line.standing("a"), Some(Standing::Blocked), "the tool can end by itself again");
    line.announce(&[package("middle", 0, &["base", "gone"]), package("gone", 0, &["gone"])]);
    assert_eq!(line.standing("a"), Some(Standing::Ready), "what is unresolvable never ends");
    line.announce(&[package("gone", 0, &[])]);
    for text in ["base", "gone", "middle", "tool"] {
        assert_eq!(line.standing("a"), Some(Standing::Blocked), "{text}");
        line.build(text, Outcome::Published);
    }
    assert_eq!(line.standing("a"), Some(Standing::Ready));
}

#[test]
fn a_cycle_that_an_order_closes_is_no_cycle() {
    let mut line = Line::of(9);
    line.announce(&[after("tool", &["app"]), package("app", 0, &["tool"])]);
    assert_eq!((line.standing("tool"), line.standing("app")), (Some(Standing::Ready), Some(Standing::Blocked)));
    assert_eq!(line.scheduler.counts().unresolvable, 0);
    line.announce(&[after("x", &["y"]), after("y", &["x"]), after("z", &["z"])]);
    for text in ["x", "y", "z"] {
        assert_eq!(line.standing(text), Some(Standing::Ready));
    }
    line.announce(&[after("y", &[])]);
    assert_eq!(line.standing("x"), Some(Standing::Blocked), "the cycle is gone, and the order counts again");
}

#[test]
fn a_name_that_is_a_dependency_too_is_one() {
    let mut line = Line::of(9);
    line.announce(&[built_after(package("a", 0, &["base"]), &["base"]), package("base", 0, &[])]);
    let on = Awaited { name: &name("base"), standing: Standing::Ready, is_order_only: false };
    assert_eq!(line.scheduler.waits_for(&name("a")).collect::<Vec<_>>(), [on]);
    fail(&mut line, "base");
    assert_eq!(line.standing("a"), Some(Standing::Blocked));
}

#[test]
fn what_comes_first_inherits_the_priority_but_not_along_a_cycle() {
    let mut line = Line::of(1);
    line.announce(&[
        built_after(package("a", 9, &[]), &["tool"]),
        package("tool", 0, &["base"]),
        package("base", 0, &[]),
        package("other", 5, &[]),
    ]);
    assert_eq!(line.scheduler.priority(&name("base")), Some(9));
    assert_eq!(line.dispatch(), ["base"]);
    line.announce(&[built_after(package("tool", 0, &[]), &["a"])]);
    assert_eq!(line.scheduler.priority(&name("tool")), Some(0));
}

#[test]
fn to_be_built_after_others_is_no_reason_to_be_built_again() {
    let mut line = Line::of(9);
    line.announce(&[package("a", 0, &[])]);
    line.build("a", Outcome::Published);
    line.poll(&[after("a", &["tool"])], 0);
    assert_eq!(line.standing("a"), Some(Standing::Published));
}

#[test]
fn one_of_another_shape_is_ignored_and_one_event_says_so() {
    let mut line = Line::of(9);
    let strange = |text: &str| {
        let mut package = package(text, 0, &[]);
        package.extra.insert("buildAfter".into(), "2026".into());
        package
    };
    line.announce(&[strange("a"), strange("b")]);
    line.announce(&[strange("a")]);
    assert_eq!(line.standing("a"), Some(Standing::Ready));
    let told: Vec<_> = line.events.iter().filter(|event| event.kind == "buildAfterIgnored").collect();
    let [event] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(event.package_name, Some(name("a")));
}
