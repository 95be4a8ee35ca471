//! How long a package's build takes by its own past, and the whole queue with it.

use std::time::Duration;

use packline_domain::{Command, Outcome};
use packline_scheduler::{Config, Standing};

use crate::line::{Line, name, package};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Builds a package that waits, for so long.
fn build(line: &mut Line, text: &str, took: u64, outcome: Outcome) {
    line.dispatch();
    line.take_order(text, "w");
    line.pass(seconds(took));
    line.finish(text, outcome);
    line.pass(Duration::from_hours(1));
}

fn estimate(line: &Line, text: &str) -> Option<Duration> {
    line.scheduler.estimate(&name(text))
}

fn forecast(line: &Line) -> Option<Duration> {
    line.scheduler.forecast(line.now.at)
}

/// A package with one build that took so long.
fn known(line: &mut Line, text: &str, took: u64) {
    line.announce(&[package(text, 0, &[])]);
    build(line, text, took, Outcome::Published);
}

#[test]
fn a_package_takes_the_median_of_its_last_builds_that_were_published() {
    let mut line = Line::of(1);
    assert_eq!(estimate(&line, "a"), None, "nobody knows it");
    for (took, median) in [(10, 10), (40, 25), (12, 12), (14, 13)] {
        line.announce(&[package("a", 0, &[])]);
        build(&mut line, "a", took, Outcome::Published);
        assert_eq!(estimate(&line, "a"), Some(seconds(median)), "after {took}");
    }
    for _ in 0..10 {
        line.announce(&[package("a", 0, &[])]);
        build(&mut line, "a", 7, Outcome::Published);
    }
    assert_eq!(estimate(&line, "a"), Some(seconds(7)), "the last ten count");
}

#[test]
fn only_without_a_publication_do_builds_count_that_failed_by_themselves_and_no_others_ever() {
    let mut line = Line::with(1, Config { max_attempts: 9, max_infrastructure: 9, ..Config::default() });
    line.announce(&[package("a", 0, &[])]);
    build(&mut line, "a", 1, Outcome::Infrastructure);
    build(&mut line, "a", 2, Outcome::Returned);
    build(&mut line, "a", 3, Outcome::Cancelled);
    assert_eq!(estimate(&line, "a"), None);
    build(&mut line, "a", 30, Outcome::Failed);
    build(&mut line, "a", 50, Outcome::TimedOut);
    assert_eq!(estimate(&line, "a"), Some(seconds(40)));
    build(&mut line, "a", 9, Outcome::Published);
    assert_eq!(estimate(&line, "a"), Some(seconds(9)));
    assert_eq!(line.restored().estimate(&name("a")), Some(seconds(9)), "from the records alone");
}

#[test]
fn the_queue_takes_the_work_that_waits_over_the_builds_at_a_time() {
    let mut line = Line::of(2);
    assert_eq!(forecast(&line), Some(Duration::ZERO), "nothing is left to do");
    line.announce(&[package("new", 0, &[])]);
    assert_eq!(forecast(&line), None, "nothing has a past");
    line.command(Command::Cancel { package_name: name("new") });
    line.withdraw(100);
    for (text, took) in [("a", 10), ("b", 20), ("c", 60)] {
        known(&mut line, text, took);
    }
    line.announce(&[package("a", 0, &[]), package("b", 0, &["a"]), package("c", 0, &["a"]), package("x", 0, &["a"])]);
    // 10 + 20 + 60, and for `x` the median of those, two at a time.
    assert_eq!(forecast(&line), Some(seconds(110 / 2)));
    line.command(Command::AdjustConcurrency { max_concurrent: 1 });
    assert_eq!(forecast(&line), Some(seconds(110)), "the limit counts");
    line.command(Command::AdjustConcurrency { max_concurrent: 9 });
    assert_eq!(forecast(&line), Some(seconds(55)), "the slots count");
    line.workers(&[]);
    assert_eq!(forecast(&line), None, "nothing can run");
}

#[test]
fn what_is_being_built_counts_with_what_is_left_of_it_and_what_cannot_be_built_does_not() {
    let mut line = Line::of(4);
    known(&mut line, "a", 60);
    line.announce(&[package("a", 0, &[]), package("self", 0, &["self"])]);
    assert_eq!(line.standing("self"), Some(Standing::Unresolvable));
    assert_eq!(forecast(&line), Some(seconds(60)), "one package is no faster on four slots");
    line.dispatch();
    line.take_order("a", "w");
    line.pass(seconds(45));
    assert_eq!(forecast(&line), Some(seconds(15)));
    line.announce(&[package("b", 0, &[])]);
    // 60 for `b` by the only past there is, and the 15, at two at a time.
    assert_eq!(forecast(&line), Some(Duration::from_millis(37_500)));
    line.pass(seconds(500));
    assert_eq!(forecast(&line), Some(seconds(30)), "a build that takes longer than ever is about to end");
}
