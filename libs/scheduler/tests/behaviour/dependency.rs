//! Dependencies: what is held back, by what, and what a cycle is.

use std::time::Duration;

use packline_domain::{Command, Outcome};
use packline_scheduler::{Awaited, Input, Standing};

use crate::line::{Line, name, package};

#[test]
fn nothing_starts_before_what_it_needs_is_published() {
    let mut line = Line::of(9);
    line.announce(&[
        package("top", 9, &["left", "right"]),
        package("left", 0, &["base"]),
        package("right", 0, &["base"]),
        package("base", 0, &[]),
    ]);
    assert_eq!(line.dispatch(), ["base"]);
    assert_eq!(line.standing("top"), Some(Standing::Blocked));
    line.build("base", Outcome::Published);
    assert_eq!(line.dispatch(), ["left", "right"]);
    line.build("left", Outcome::Published);
    assert_eq!(line.dispatch(), Vec::<String>::new());
    line.build("right", Outcome::Published);
    assert_eq!(line.dispatch(), ["top"]);
}

#[test]
fn a_name_that_the_queue_does_not_know_counts_as_available() {
    let mut line = Line::of(9);
    line.announce(&[package("a", 0, &["lodash"])]);
    assert_eq!(line.standing("a"), Some(Standing::Ready));
    line.announce(&[package("lodash", 0, &[])]);
    assert_eq!(line.standing("a"), Some(Standing::Blocked), "until it is announced");
    assert_eq!(line.dispatch(), ["lodash"]);
}

#[test]
fn a_failed_or_cancelled_dependency_blocks_until_it_is_published() {
    let mut line = Line::of(9);
    line.announce(&[package("a", 0, &[]), package("b", 0, &["a"]), package("c", 0, &["b"])]);
    line.dispatch();
    let mut result = line.result(&line.build_id("a"), Outcome::Failed);
    result.retry = false;
    line.feed(Input::Finished(Box::new(result)));
    assert_eq!((line.standing("b"), line.standing("c")), (Some(Standing::Blocked), Some(Standing::Blocked)));
    let reasons: Vec<_> = line.scheduler.waits_for(&name("b")).collect();
    assert_eq!(reasons, [Awaited { name: &name("a"), standing: Standing::Failed, is_order_only: false }]);
    line.command(Command::Cancel { package_name: name("a") });
    assert_eq!(line.standing("b"), Some(Standing::Blocked));
    line.command(Command::Requeue { package_name: name("a") });
    line.build("a", Outcome::Published);
    assert_eq!(line.dispatch(), ["b"]);
}

#[test]
fn publishing_does_not_rebuild_dependents() {
    let mut line = Line::of(9);
    line.announce(&[package("a", 0, &[]), package("b", 0, &["a"])]);
    line.build("a", Outcome::Published);
    line.build("b", Outcome::Published);
    line.announce(&[package("a", 0, &[])]);
    line.build("a", Outcome::Published);
    assert_eq!(line.standing("b"), Some(Standing::Published));
}

#[test]
fn a_package_that_depends_on_itself_is_unresolvable() {
    let mut line = Line::of(9);
    line.announce(&[package("a", 0, &["a"])]);
    assert_eq!(line.standing("a"), Some(Standing::Unresolvable));
    assert_eq!(line.scheduler.cycle(&name("a")), [name("a")]);
    assert_eq!(line.dispatch(), Vec::<String>::new());
    line.announce(&[package("a", 0, &[])]);
    assert_eq!(line.dispatch(), ["a"]);
}

#[test]
fn the_members_of_a_cycle_are_named_and_an_announcement_breaks_it() {
    let mut line = Line::of(9);
    line.announce(&[
        package("a", 0, &["b", "free"]),
        package("b", 9, &["c"]),
        package("c", 0, &["a"]),
        package("free", 0, &[]),
        package("user", 5, &["a"]),
    ]);
    for text in ["a", "b", "c"] {
        assert_eq!(line.standing(text), Some(Standing::Unresolvable));
        assert_eq!(line.scheduler.cycle(&name(text)).len(), 3);
    }
    assert_eq!(line.scheduler.cycle(&name("a")), [name("a"), name("b"), name("c")]);
    assert_eq!(
        line.last_event(),
        (
            "unresolvable",
            "unresolvable: 3 packages each wait for another: @t/a → @t/b → @t/c → @t/a; announce one of them with other dependencies"
        )
    );
    assert_eq!(line.standing("user"), Some(Standing::Blocked));
    assert_eq!(line.scheduler.counts().unresolvable, 3);
    assert_eq!(line.scheduler.priority(&name("free")), Some(0), "the unresolvable pass nothing on");
    line.announce(&[package("c", 0, &[])]);
    assert_eq!(line.scheduler.counts().unresolvable, 0);
    assert_eq!(line.scheduler.priority(&name("free")), Some(5));
    let mut order = Vec::new();
    loop {
        let started = line.dispatch();
        if started.is_empty() {
            break;
        }
        for text in started {
            line.build(&text, Outcome::Published);
            order.push(text);
        }
    }
    assert_eq!(order, ["c", "free", "b", "a", "user"]);
}

#[test]
fn a_cycle_within_a_broken_cycle_remains() {
    let mut line = Line::of(9);
    line.announce(&[package("a", 0, &["b"]), package("b", 0, &["a", "c"]), package("c", 0, &["b"])]);
    assert_eq!(line.scheduler.counts().unresolvable, 3);
    line.announce(&[package("c", 0, &[])]);
    assert_eq!(line.scheduler.counts().unresolvable, 2);
    assert_eq!(line.dispatch(), ["c"]);
    line.command(Command::Cancel { package_name: name("a") });
    assert_eq!(line.standing("b"), Some(Standing::Blocked), "what was dropped is on no cycle");
}

#[test]
fn a_cycle_appears_when_its_last_member_waits() {
    let mut line = Line::of(9);
    line.announce(&[package("a", 0, &["b"])]);
    line.dispatch();
    line.announce(&[package("b", 0, &["a"])]);
    assert_eq!(line.standing("b"), Some(Standing::Blocked), "a is building, and may be published");
    line.build("a", Outcome::Failed);
    assert_eq!((line.standing("a"), line.standing("b")), (Some(Standing::Unresolvable), Some(Standing::Unresolvable)));
    line.pass(Duration::from_secs(3600));
    assert_eq!(line.dispatch(), Vec::<String>::new());
}

#[test]
fn a_failed_hub_changes_no_dependent() {
    let mut line = Line::of(1);
    let mut all = vec![package("hub", 0, &[])];
    all.extend((0..300).map(|n| package(&format!("d{n}"), 0, &["hub"])));
    line.announce(&all);
    line.dispatch();
    let result = packline_domain::BuildResult { retry: false, ..line.result(&line.build_id("hub"), Outcome::Failed) };
    let actions = line.feed(Input::Finished(Box::new(result)));
    assert!(actions.len() < 10, "{}", actions.len());
    assert_eq!(line.scheduler.counts().blocked, 300);
}
