//! Private packages, which are built and not published, and what a worker warns of.

use std::time::Duration;

use packline_domain::{
    BuildResult, Command, Outcome, StatusKind,
    answer::{Counts, Reason},
    phase::Tests,
    record::{Record, State},
};
use packline_scheduler::{Input, invariant};

use crate::line::{Line, name, package};

fn started() -> Line {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    line.take_order("a", "w");
    line
}

/// The worker says that the build of `a` ended so.
fn said(line: &mut Line, outcome: Outcome, private: bool, warnings: &[&str]) -> BuildResult {
    let warnings = warnings.iter().map(|text| (*text).to_owned()).collect();
    let result = BuildResult { private, warnings, ..line.result(&line.build_id("a"), outcome) };
    line.feed(Input::Finished(Box::new(result.clone())));
    result
}

/// The warnings of each attempt, oldest first.
fn warnings(line: &Line) -> Vec<usize> {
    line.scheduler.retries(&name("a")).unwrap().attempts.iter().map(|attempt| attempt.warnings.len()).collect()
}

#[test]
fn a_private_package_stays_published_in_every_record_and_report_and_is_private_besides() {
    let mut line = started();
    said(&mut line, Outcome::Published, true, &[]);
    assert_eq!(line.state("a"), State::Published { version: Some("1.0.0".into()), private: true });
    let status = line.statuses.last().unwrap();
    assert_eq!((status.status, status.private), (StatusKind::Published, true));
    assert_eq!(line.last_event(), ("published", "built (private) @t/a 1.0.0 (attempt 1, 0 s)"));
    assert!(line.events.last().unwrap().private);
    let attempt = &line.scheduler.retries(&name("a")).unwrap().attempts[0];
    assert_eq!((attempt.class, attempt.private), (None, true));
    let reason = line.scheduler.why(&name("a")).remove(0);
    assert_eq!(reason, Reason::Published { version: Some("1.0.0".into()), private: true });
    assert_eq!(reason.to_string(), "built (private) as 1.0.0");
    assert_eq!(line.scheduler.counts(), Counts { published: 1, private: 1, ..Counts::default() });
    line.command(Command::Cancel { package_name: name("a") });
    assert_eq!(line.last_event().1, "cancel changes nothing: @t/a is built (private)");
    line.command(Command::Requeue { package_name: name("a") });
    let told = "requeue changes nothing: @t/a is built (private); announce it to build it again";
    assert_eq!(line.last_event().1, told);
}

#[test]
fn a_restart_finds_private_packages_and_warnings_as_they_were_and_a_record_without_them_is_as_before() {
    let mut line = started();
    said(&mut line, Outcome::Published, true, &["types: a.d.ts is missing"]);
    let restored = line.restored();
    assert_eq!(restored.counts(), Counts { published: 1, private: 1, ..Counts::default() });
    assert_eq!(restored.records().collect::<Vec<_>>(), line.scheduler.records().collect::<Vec<_>>());
    // What a program of 766d1c3 leaves of the record.
    for record in line.bucket.values_mut() {
        if let Record::Queue(queue) = record {
            queue.state = State::Published { version: Some("1.0.0".into()), private: false };
        }
    }
    let restored = line.restored();
    invariant::check(&restored).unwrap();
    assert_eq!(restored.counts(), Counts { published: 1, ..Counts::default() });
    assert_eq!(restored.why(&name("a"))[0].to_string(), "published as 1.0.0");
}

#[test]
fn the_count_of_private_packages_follows_each_change() {
    let mut line = started();
    said(&mut line, Outcome::Published, true, &[]);
    line.announce(&[package("a", 1, &[])]);
    assert_eq!(line.scheduler.counts(), Counts { ready: 1, ..Counts::default() });
    line.dispatch();
    line.take_order("a", "w");
    let result = said(&mut line, Outcome::Published, false, &[]);
    assert_eq!(line.scheduler.counts(), Counts { published: 1, ..Counts::default() });
    // It is published already, and only the field changes.
    let mut late = BuildResult { private: true, ..result };
    late.build_id.serial += 1000;
    line.feed(Input::Finished(Box::new(late)));
    assert_eq!(line.last_event().0, "stale");
    assert_eq!(line.scheduler.counts(), Counts { published: 1, private: 1, ..Counts::default() });
}

#[test]
fn a_failed_build_is_not_private_whatever_its_result_says() {
    let mut line = started();
    said(&mut line, Outcome::Failed, true, &[]);
    assert!(!line.scheduler.retries(&name("a")).unwrap().attempts[0].private);
    assert!(!line.statuses.last().unwrap().private && !line.events.last().unwrap().private);
    assert_eq!(line.scheduler.counts().private, 0);
}

#[test]
fn a_private_package_that_was_built_after_all_is_private() {
    let mut line = started();
    let build_id = line.build_id("a");
    let result = BuildResult {
        private: true,
        warnings: vec!["types: a.d.ts is missing".into()],
        ..line.result(&build_id, Outcome::Published)
    };
    line.feed(Input::WorkerLost { worker: "w".into() });
    line.withdraw(100);
    line.feed(Input::Finished(Box::new(result)));
    assert_eq!(line.last_event(), ("stale", &*format!("stale build {build_id} of @t/a was built (private) after all")));
    assert!(line.statuses.last().unwrap().private && line.events.last().unwrap().private);
    assert_eq!(line.state("a"), State::Published { version: Some("1.0.0".into()), private: true });
    let attempt = &line.scheduler.retries(&name("a")).unwrap().attempts[0];
    assert_eq!(
        (attempt.private, attempt.class, &*attempt.warnings),
        (true, None, &["types: a.d.ts is missing".into()][..])
    );
}

#[test]
fn what_stands_for_the_tests_of_a_package_is_kept_with_its_attempt_and_told_with_published_alone() {
    let mut line = started();
    let tests = Some(Tests::RootNotRun);
    let failed = BuildResult { tests, ..line.result(&line.build_id("a"), Outcome::Failed) };
    line.feed(Input::Finished(Box::new(failed)));
    assert_eq!((line.statuses.last().unwrap().tests, line.scheduler.tests(&name("a"))), (None, tests));
    line.pass(Duration::from_secs(3600));
    line.dispatch();
    assert_eq!(line.scheduler.tests(&name("a")), None, "it is being built again");
    line.take_order("a", "w");
    let published = BuildResult { tests, ..line.result(&line.build_id("a"), Outcome::Published) };
    line.feed(Input::Finished(Box::new(published)));
    assert_eq!((line.statuses.last().unwrap().tests, line.scheduler.tests(&name("a"))), (tests, tests));
    let attempts = &line.scheduler.retries(&name("a")).unwrap().attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.tests).collect::<Vec<_>>(), [tests, tests]);
    assert_eq!(line.restored().tests(&name("a")), tests);
}

#[test]
fn warnings_are_kept_with_each_attempt_also_with_one_that_failed_and_told_as_long_as_it_is_the_last_word() {
    let mut line = started();
    said(&mut line, Outcome::Failed, false, &["one"]);
    assert_eq!(line.scheduler.warnings(&name("a")), ["one"]);
    line.pass(std::time::Duration::from_secs(3600));
    line.dispatch();
    line.take_order("a", "w");
    assert_eq!(line.scheduler.warnings(&name("a")), [""; 0], "it is being built again");
    said(&mut line, Outcome::Published, false, &["one", "two"]);
    assert_eq!(line.scheduler.warnings(&name("a")), ["one", "two"]);
    assert_eq!(warnings(&line), [1, 2]);
    line.announce(&[package("a", 1, &[])]);
    assert_eq!(line.scheduler.warnings(&name("a")), [""; 0], "it is queued again");
    assert_eq!(line.scheduler.warnings(&name("b")), [""; 0], "nobody knows it");
}

#[test]
fn what_a_worker_says_too_much_is_cut_and_older_attempts_lose_their_warnings_first() {
    let mut line = started();
    let long = "w".repeat(900);
    for attempt in 1..=6 {
        said(&mut line, Outcome::Published, false, &[&*long; 25]);
        line.announce(&[package("a", attempt, &[])]);
        line.dispatch();
        line.take_order("a", "w");
    }
    assert_eq!(warnings(&line), [0, 0, 20, 20, 20, 20]);
    let attempts = &line.scheduler.retries(&name("a")).unwrap().attempts;
    assert!(attempts[5].warnings.iter().all(|warning| warning.chars().count() <= 500));
}
