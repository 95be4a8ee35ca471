//! The contract's table of what an announcement does.

use std::time::Duration;

use packline_domain::{
    Command, Outcome, Package, StatusKind,
    record::{Ending, Intended, State},
};
use packline_scheduler::{Input, Refusal, Slice, Standing};

use serde_json::{Value, json};

use crate::line::{Line, name, package};

const HOUR: Duration = Duration::from_secs(3600);
/// Packages of a long announcement.
const LONG: usize = 3;

fn with_ref(text: &str, branch: &str) -> Package {
    let mut package = package(text, 0, &[]);
    package.extra.insert("ref".into(), branch.into());
    package
}

#[test]
fn an_unknown_package_is_queued_by_hand_and_by_poll() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    assert_eq!(line.last_event(), ("queued", "queued @t/a; 1 in the queue"));
    line.poll(&[package("b", 0, &[]), package("c", 0, &[])], 0);
    assert_eq!(line.last_event(), ("queued", "queued 2 packages; 3 in the queue"));
    for text in ["a", "b", "c"] {
        assert_eq!(line.standing(text), Some(Standing::Ready));
    }
    assert!(line.statuses.is_empty(), "waiting is no news for the catalogue");
}

#[test]
fn newest_data_replace_those_of_a_queued_package_and_its_place_stays() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[]), package("b", 0, &[])]);
    let before = line.queue("a");
    line.poll(&[package("a", 0, &["x"])], 0);
    assert_eq!(line.queue("a").package, package("a", 0, &["x"]), "by a poll as well");
    line.announce(&[with_ref("a", "main")]);
    let after = line.queue("a");
    assert_eq!(after.package, with_ref("a", "main"));
    assert_eq!((after.arrival, after.queued_at), (before.arrival, before.queued_at));
    assert_eq!(line.dispatch(), ["a"]);
}

#[test]
fn the_same_data_again_write_nothing() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[]), package("b", 5, &["a"])]);
    assert_eq!(line.announce(&[package("a", 0, &[]), package("b", 5, &["a"])]), []);
    assert_eq!(line.poll(&[package("a", 0, &[])], 99), []);
}

#[test]
fn of_two_in_one_announcement_the_last_counts() {
    let mut line = Line::of(1);
    line.announce(&[with_ref("a", "one"), with_ref("a", "two")]);
    assert_eq!(line.queue("a").package, with_ref("a", "two"));
}

#[test]
fn a_path_of_another_shape_is_ignored_with_one_event() {
    let with_path = |text: &str, path: Value| Package::parse(&json!({"name": name(text), "path": path})).unwrap();
    let told = |line: &Line| line.events.iter().filter(|event| event.kind == "pathIgnored").count();
    let mut line = Line::of(9);
    line.announce(&[with_path("good", json!("src/good")), with_path("none", json!(null))]);
    assert_eq!(told(&line), 0);
    let wrong = [with_path("a", json!("../a")), with_path("b", json!(7)), with_path("c", json!("/c"))];
    line.announce(&wrong);
    let event = line.events.iter().find(|event| event.kind == "pathIgnored").unwrap();
    assert_eq!(
        event.message,
        "the path of @t/a is ignored, like those of 2 other packages; it is built in packages/a: `../a` is not the \
         path of a package: no part of a path is empty, `.` or `..`"
    );
    assert_eq!(event.package_name, Some(name("a")));
    for _ in 0..3 {
        line.poll(&wrong, 99);
    }
    assert_eq!(told(&line), 1, "each poll names it again");
    line.poll(&[Package { priority: 9, ..with_path("a", json!("../a")) }], 99);
    assert_eq!(told(&line), 1, "the same path with another priority is no news");
    line.dispatch();
    let paths: Vec<_> = line.orders.iter().map(|order| order.package_path.as_str().to_owned()).collect();
    assert_eq!(paths, ["packages/a", "src/good", "packages/none", "packages/b", "packages/c"]);
    line.poll(&[with_path("a", json!("a/"))], 99);
    assert_eq!(told(&line), 2, "another one is said again");
    line.poll(&[with_path("a", json!("src/a"))], 99);
    assert_eq!(told(&line), 2);
    line.announce(&[package("cancelled", 0, &["a"])]);
    line.command(Command::Cancel { package_name: name("cancelled") });
    line.poll(&[with_path("cancelled", json!(0))], 99);
    assert_eq!(told(&line), 2, "what is ignored whole is told by nothing");
    line.build("a", Outcome::Failed);
    line.dispatch();
    assert_eq!(line.orders.last().unwrap().package_path.as_str(), "src/a");
}

#[test]
fn newest_data_replace_those_of_a_retrying_package_and_its_pause_stays() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.build("a", Outcome::Failed);
    let before = line.state("a");
    line.poll(&[package("a", 0, &["x"])], 0);
    assert_eq!(line.queue("a").package, package("a", 0, &["x"]), "by a poll as well");
    line.announce(&[with_ref("a", "main")]);
    assert_eq!(line.queue("a").package, with_ref("a", "main"));
    assert_eq!(line.state("a"), before);
    assert_eq!(line.scheduler.retries(&name("a")).unwrap().failures, 1);
}

#[test]
fn a_building_package_is_built_again_only_where_it_builds_differently() {
    for differs in [false, true] {
        let mut line = Line::of(1);
        line.announce(&[with_ref("a", "one")]);
        line.dispatch();
        line.take_order("a", "w");
        let newer = if differs { with_ref("a", "two") } else { with_ref("a", "one") };
        let newer = packline_domain::Package { priority: 9, id: Some("7".into()), category: "docs".into(), ..newer };
        line.poll(std::slice::from_ref(&newer), 0);
        assert_eq!(line.queue("a").package, newer, "the data are replaced in any case");
        line.finish("a", Outcome::Published);
        assert_eq!(line.reported("a"), [StatusKind::Building, StatusKind::Published]);
        let expected = if differs { Standing::Ready } else { Standing::Published };
        assert_eq!(line.standing("a"), Some(expected));
    }
}

#[test]
fn newer_data_are_built_with_all_attempts_whatever_became_of_the_old() {
    for outcome in [Outcome::Failed, Outcome::TimedOut, Outcome::Infrastructure, Outcome::Returned] {
        let mut line = Line::of(1);
        line.announce(&[with_ref("a", "one")]);
        line.build("a", Outcome::Failed);
        line.pass(HOUR);
        line.dispatch();
        line.announce(&[with_ref("a", "two")]);
        line.build("a", outcome);
        assert_eq!(line.state("a"), State::Queued);
        assert_eq!(line.scheduler.retries(&name("a")).unwrap().failures, 0);
        assert_eq!(line.dispatch(), ["a"]);
        assert_eq!(line.orders.last().unwrap().attempt, 1);
    }
}

#[test]
fn a_settled_package_is_queued_again_with_fresh_attempts() {
    for by_poll in [false, true] {
        let mut line = Line::of(2);
        line.announce(&[package("ok", 0, &[]), package("bad", 0, &[])]);
        line.build("ok", Outcome::Published);
        for _ in 0..3 {
            line.pass(HOUR);
            line.build("bad", Outcome::Failed);
        }
        assert_eq!(line.standing("bad"), Some(Standing::Failed));
        let both = [package("ok", 0, &[]), package("bad", 0, &[])];
        if by_poll {
            line.poll(&both, line.now.commit);
        } else {
            line.announce(&both);
        }
        assert_eq!(line.dispatch(), ["ok", "bad"]);
        assert!(line.orders.iter().rev().take(2).all(|order| order.attempt == 1));
        assert_eq!(line.scheduler.retries(&name("bad")).unwrap().attempts.len(), 3, "history stays");
    }
}

#[test]
fn a_poll_that_did_not_know_the_outcome_yet_is_ignored() {
    let mut line = Line::of(2);
    line.announce(&[package("ok", 0, &[]), package("bad", 0, &[])]);
    line.dispatch();
    line.build("ok", Outcome::Published);
    let mut result = line.result(&line.build_id("bad"), Outcome::Failed);
    result.retry = false;
    line.feed(Input::Finished(Box::new(result)));
    let decided = |line: &Line, text: &str| line.queue(text).status_commit;
    for text in ["ok", "bad"] {
        let before = line.queue(text);
        assert_eq!(line.poll(&[package(text, 0, &["new"])], decided(&line, text) - 1), []);
        assert_eq!(line.queue(text), before);
        line.poll(&[package(text, 0, &[])], decided(&line, text));
        assert_eq!(line.state(text), State::Queued);
    }
}

#[test]
fn a_cancelled_package_is_queued_by_hand_and_not_by_poll() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.command(Command::Cancel { package_name: name("a") });
    assert_eq!(line.poll(&[package("a", 0, &[])], 1_000_000), []);
    assert_eq!(line.standing("a"), Some(Standing::Cancelled));
    line.announce(&[package("a", 0, &[])]);
    assert_eq!(line.standing("a"), Some(Standing::Ready));
}

#[test]
fn what_a_poll_does_not_name_stays() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.poll(&[], 5);
    assert_eq!(line.standing("a"), Some(Standing::Ready));
}

#[test]
fn a_package_whose_build_is_being_cancelled_is_queued_afterwards_when_announced_by_hand() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.build("a", Outcome::Failed);
    line.pass(HOUR);
    line.dispatch();
    line.take_order("a", "w");
    line.command(Command::Cancel { package_name: name("a") });
    line.withdraw(100);
    assert!(matches!(line.permit("a").unwrap().ending, Some(Ending::Cancel(_))));
    assert_eq!(line.poll(&[package("a", 3, &[])], 1_000_000), [], "a poll does not bring back what is cancelled");
    line.announce(&[package("a", 3, &[])]);
    assert_eq!(line.permit("a").unwrap().ending, Some(Ending::Stop));
    assert_eq!(line.dispatch(), Vec::<String>::new(), "not while its permit stands");
    line.finish("a", Outcome::Cancelled);
    assert_eq!(line.dispatch(), ["a"]);
    assert_eq!(line.orders.last().unwrap().attempt, 1, "with all its attempts");
}

#[test]
fn an_announcement_by_hand_is_younger_than_a_cancel_not_worked_off_yet() {
    for by_hand in [true, false] {
        let mut line = Line::of(1);
        line.announce(&[package("a", 0, &[])]);
        line.dispatch();
        line.take_order("a", "w");
        line.command(Command::Cancel { package_name: name("a") });
        if by_hand {
            line.announce(&[package("a", 0, &[])]);
        } else {
            line.poll(&[package("a", 1, &["x"])], 1_000_000);
        }
        line.withdraw(100);
        assert_eq!(line.permit("a").unwrap().ending.is_none(), by_hand);
        assert!(line.scheduler.intention().is_none());
    }
}

#[test]
fn an_announcement_in_the_commit_of_a_cancel_comes_after_it() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    line.take_order("a", "w");
    line.command(Command::Cancel { package_name: name("a") });
    let cancelled_in = line.scheduler.intention().unwrap().commit;
    let mut now = line.now;
    now.commit = cancelled_in;
    let by_hand = Input::Announced { packages: vec![package("a", 1, &[])], reported_through: None, slice: None };
    line.scheduler.apply(&now, by_hand).unwrap();
    assert!(line.scheduler.intention().is_none(), "the cancel is over");
    assert!(line.scheduler.plan_withdrawal(&now, 100).is_none());
}

#[test]
fn a_long_announcement_is_worked_off_in_slices() {
    let mut line = Line::of(1);
    let slice = |done, last| Some(Slice { stream: "PACKAGES".into(), sequence: 9, done, last });
    let announced =
        |text: &str, slice| Input::Announced { packages: vec![package(text, 0, &[])], reported_through: None, slice };
    line.feed(announced("a", slice(1, false)));
    let began = line.now.commit;
    let intention = line.scheduler.intention().unwrap().clone();
    assert_eq!((intention.commit, intention.what), (began, Intended::Announce { done: 1 }));
    let busy = Refusal::Busy { stream: "PACKAGES".into(), sequence: 9 };
    assert_eq!(line.try_feed(announced("z", None)), Err(busy));
    // A package that settles meanwhile did so after the announcement.
    line.build("a", Outcome::Published);
    line.feed(announced("a", slice(2, false)));
    assert_eq!(line.standing("a"), Some(Standing::Published));
    assert_eq!(line.scheduler.intention().unwrap().commit, began);
    assert_eq!(line.try_feed(announced("b", slice(1, false))), Err(Refusal::SliceDone { done: 2 }));
    line.feed(announced("b", slice(3, true)));
    assert_eq!(line.scheduler.intention(), None);
    assert_eq!(line.standing("b"), Some(Standing::Ready));
}

/// The next package of a long announcement by hand that began before.
fn slice(line: &mut Line, package: Package, done: usize) {
    let slice = Some(Slice { stream: "PACKAGES".into(), sequence: 9, done, last: done == LONG });
    line.feed(Input::Announced { packages: vec![package], reported_through: None, slice });
}

#[test]
fn a_build_that_is_cancelled_after_a_long_announcement_began_is_not_wanted_by_its_rest() {
    // Before its permit is withdrawn, while its worker ends it, and after that.
    for stage in 0..3 {
        let mut line = Line::of(1);
        line.announce(&[package("a", 0, &[])]);
        line.dispatch();
        line.take_order("a", "w");
        slice(&mut line, package("b", 0, &["nobody-knows"]), 1);
        line.command(Command::Cancel { package_name: name("a") });
        if stage > 0 {
            line.withdraw(100);
        }
        if stage == 2 {
            line.finish("a", Outcome::Cancelled);
        }
        slice(&mut line, package("a", 3, &["new"]), LONG);
        line.withdraw(100);
        if stage < 2 {
            assert!(matches!(line.permit("a").unwrap().ending, Some(Ending::Cancel(_))), "stage {stage}");
            line.finish("a", Outcome::Cancelled);
        }
        assert_eq!(line.standing("a"), Some(Standing::Cancelled), "stage {stage}");
    }
}

#[test]
fn a_build_that_was_being_cancelled_before_a_long_announcement_began_is_wanted_by_its_rest() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    line.take_order("a", "w");
    line.command(Command::Cancel { package_name: name("a") });
    line.withdraw(100);
    slice(&mut line, package("b", 0, &[]), 1);
    slice(&mut line, package("a", 0, &[]), LONG);
    assert_eq!(line.permit("a").unwrap().ending, Some(Ending::Stop));
}

#[test]
fn other_data_of_a_build_that_ends_while_its_announcement_is_worked_off_are_built() {
    for outcome in [Outcome::Published, Outcome::Failed] {
        let mut line = Line::of(1);
        line.announce(&[package("a", 0, &[])]);
        line.dispatch();
        slice(&mut line, package("b", 0, &[]), 1);
        let mut result = line.result(&line.build_id("a"), outcome);
        result.retry = false;
        line.feed(Input::Finished(Box::new(result)));
        slice(&mut line, package("a", 0, &[]), 2);
        assert_ne!(line.standing("a"), Some(Standing::Ready), "the same are not built again");
        slice(&mut line, package("a", 0, &["b"]), LONG);
        assert_eq!(line.state("a"), State::Queued);
    }
}

#[test]
fn who_cancels_what_a_long_announcement_may_still_name_is_told() {
    let mut line = Line::of(1);
    slice(&mut line, package("b", 0, &[]), 1);
    line.command(Command::Cancel { package_name: name("a") });
    let effect = line.scheduler.control().last.as_ref().unwrap().effect.clone();
    assert!(effect.contains("not in the queue; a long announcement is still being queued"), "{effect}");
    slice(&mut line, package("c", 0, &[]), LONG);
    line.command(Command::Cancel { package_name: name("a") });
    assert_eq!(
        line.scheduler.control().last.as_ref().unwrap().effect,
        "cancel changes nothing: @t/a is not in the queue"
    );
}

#[test]
fn last_words_are_forgotten_31_days_after_they_were_last_announced() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let mut line = Line::of(1);
    line.announce(&[package("ok", 0, &[]), package("gone", 0, &[]), package("kept", 0, &["gone"])]);
    line.command(Command::Cancel { package_name: name("gone") });
    line.build("ok", Outcome::Published);
    line.pass(DAY * 20);
    line.poll(&[package("gone", 0, &[])], 1_000_000);
    let ok = line.queue("ok").announced_at;
    assert_eq!(line.scheduler.next_deadline(), Some(ok.after(DAY * 31)));
    line.pass(DAY * 11);
    assert_eq!(line.standing("ok"), None);
    assert_eq!(line.scheduler.retries(&name("ok")), None);
    assert_eq!(line.standing("gone"), Some(Standing::Cancelled), "a poll still named it");
    line.pass(DAY * 20);
    assert_eq!(line.standing("gone"), None);
    assert_eq!(line.standing("kept"), Some(Standing::Ready), "an unknown name counts as available");
}
