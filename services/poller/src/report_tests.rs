use packline_broker::StreamName;
use packline_domain::phase::Tests;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn report(sequence: u64, name: &str, status: StatusKind, commit: u64) -> Report {
    let status = PackageStatus {
        schema: 1,
        package_name: name.parse().unwrap(),
        id: Some("P7".into()),
        status,
        error: None,
        failed_phase: None,
        attempts: 2,
        build_id: None,
        version: None,
        private: false,
        tests: None,
        commit,
    };
    let source = Source { stream: StreamName::Status, sequence, stored: 0, item: None };
    Report { source, status, payload: Bytes::new() }
}

fn reports() -> Reports {
    Reports::new(Patience::default(), false)
}

fn name(text: &str) -> PackageName {
    text.parse().unwrap()
}

fn begun(reports: &mut Reports, now: Instant) -> Vec<u64> {
    std::iter::from_fn(|| reports.begin(now)).map(|report| report.source.sequence).collect()
}

#[test]
fn only_outcomes_are_reported_unless_progress_is_wanted() {
    let now = Instant::now();
    let all =
        [StatusKind::Building, StatusKind::Queued, StatusKind::Published, StatusKind::Failed, StatusKind::Cancelled];
    for (with_progress, reported) in [(false, 3), (true, 5)] {
        let mut reports = Reports::new(Patience::default(), with_progress);
        let done: usize = (0..)
            .zip(all)
            .map(|(n, status)| reports.arrive(now, report(n, &format!("p{n}"), status, n), None).len())
            .sum();
        assert_eq!(done, 5 - reported);
        assert_eq!(begun(&mut reports, now).len(), reported);
    }
}

#[test]
fn of_one_package_one_call_is_made_at_a_time_and_of_others_beside_it() {
    let (mut reports, now) = (reports(), Instant::now());
    reports.arrive(now, report(1, "a", StatusKind::Failed, 1), None);
    reports.arrive(now, report(2, "b", StatusKind::Failed, 2), None);
    assert_eq!(begun(&mut reports, now), [1, 2]);
    assert!(reports.arrive(now, report(3, "a", StatusKind::Published, 3), None).is_empty());
    assert_eq!((begun(&mut reports, now), reports.next_due()), (vec![], None));
    let done = reports.ended(now, &name("a"), Ended::Accepted, 0.5).unwrap();
    assert!(matches!(done, Verdict::Done(report) if report.source.sequence == 1));
    assert_eq!(begun(&mut reports, now), [3]);
}

#[test]
fn a_newer_report_takes_the_place_of_an_older_one_that_waits() {
    let (mut reports, now) = (reports(), Instant::now());
    reports.arrive(now, report(1, "a", StatusKind::Failed, 5), None);
    assert_eq!(reports.arrive(now, report(2, "a", StatusKind::Published, 9), None), [1]);
    assert_eq!(reports.arrive(now, report(3, "a", StatusKind::Failed, 7), None), [3], "an older one that comes late");
    assert_eq!(reports.arrive(now, report(4, "a", StatusKind::Published, 9), None), [4], "the same, published again");
    assert!(
        reports.arrive(now, report(2, "a", StatusKind::Published, 9), None).is_empty(),
        "the same, delivered again"
    );
    assert_eq!(begun(&mut reports, now), [2]);
}

#[test]
fn a_failed_call_that_a_newer_report_overtakes_is_not_repeated() {
    let (mut reports, now) = (reports(), Instant::now());
    reports.arrive(now, report(1, "a", StatusKind::Failed, 1), None);
    reports.begin(now);
    reports.arrive(now, report(2, "a", StatusKind::Published, 2), None);
    let verdict = reports.ended(now, &name("a"), Ended::Failed("down".into()), 0.5);
    assert!(matches!(verdict, Some(Verdict::Done(report)) if report.source.sequence == 1));
    assert_eq!(begun(&mut reports, now), [2]);
}

#[test]
fn failures_are_repeated_for_ever_with_growing_waits_and_hold_up_no_other_package() {
    let (mut reports, mut now) = (reports(), Instant::now());
    reports.arrive(now, report(1, "a", StatusKind::Failed, 1), None);
    let mut waits = Vec::new();
    for tries in 0..500 {
        assert_eq!(begun(&mut reports, now), [1]);
        let Some(Verdict::Retry(wait)) = reports.ended(now, &name("a"), Ended::Failed("down".into()), 0.0) else {
            panic!("lost after {tries} tries")
        };
        reports.arrive(now, report(tries + 10, "b", StatusKind::Published, tries + 10), None);
        assert_eq!(begun(&mut reports, now), [tries + 10]);
        reports.ended(now, &name("b"), Ended::Accepted, 0.5);
        assert_eq!(reports.next_due(), Some(now + wait));
        now += wait;
        waits.push(wait.as_secs_f64());
    }
    assert_eq!(waits[..4], [0.5, 1.0, 2.0, 4.0]);
    assert_eq!(waits[499], 300.0);
}

#[test]
fn what_the_tool_itself_refuses_for_an_hour_is_given_up() {
    let (mut reports, start) = (reports(), Instant::now());
    reports.arrive(start, report(1, "a", StatusKind::Failed, 1), None);
    let refuse = |reports: &mut Reports, now| {
        assert_eq!(begun(reports, now), [1]);
        reports.ended(now, &name("a"), Ended::Refused("unknown package".into()), 0.5).unwrap()
    };
    let down = start + HOUR * 5;
    reports.begin(down);
    reports.ended(down, &name("a"), Ended::Failed("down".into()), 0.5);
    let first = down + HOUR;
    assert!(matches!(refuse(&mut reports, first), Verdict::Retry(_)), "the hour begins with the first refusal");
    assert!(matches!(refuse(&mut reports, first + HOUR - Duration::from_secs(60)), Verdict::Retry(_)));
    assert_eq!(reports.packages().len(), 1);
    let given_up = refuse(&mut reports, first + HOUR);
    assert!(
        matches!(given_up, Verdict::GiveUp(report, why) if report.source.sequence == 1 && why == "unknown package")
    );
    assert!(reports.packages().is_empty());
}

#[test]
fn the_hour_of_refusals_goes_on_where_an_earlier_poller_left_it() {
    let (mut reports, start) = (reports(), Instant::now());
    reports.arrive(start, report(1, "a", StatusKind::Failed, 1), Some(HOUR - Duration::from_secs(60)));
    let mut refused = |after: u64| {
        let now = start + Duration::from_secs(after);
        assert_eq!(begun(&mut reports, now), [1]);
        reports.ended(now, &name("a"), Ended::Refused("unknown package".into()), 0.5).unwrap()
    };
    assert!(matches!(refused(1), Verdict::Retry(_)));
    assert!(matches!(refused(60), Verdict::GiveUp(..)));
}

#[test]
fn a_call_that_was_broken_off_for_another_is_repeated_at_once() {
    let (mut reports, now) = (reports(), Instant::now());
    reports.arrive(now, report(1, "a", StatusKind::Failed, 1), None);
    reports.begin(now);
    assert_eq!(reports.ended(now, &name("a"), Ended::BrokenOff, 0.5), Some(Verdict::Retry(Duration::ZERO)));
    assert_eq!(begun(&mut reports, now), [1]);
}

#[test]
fn packages_with_a_report_on_its_way_are_named() {
    let (mut reports, now) = (reports(), Instant::now());
    reports.arrive(now, report(1, "a", StatusKind::Failed, 1), None);
    reports.arrive(now, report(2, "b", StatusKind::Published, 2), None);
    reports.arrive(now, report(3, "c", StatusKind::Building, 3), None);
    reports.begin(now);
    assert_eq!(reports.packages(), [name("a"), name("b")].into());
}

#[test]
fn the_update_tool_gets_the_name_or_the_id_and_what_is_known() {
    let mut status = report(1, "@acme/core", StatusKind::Failed, 1).status;
    status.error = Some("tests failed".into());
    status.failed_phase = Some("test".into());
    status.build_id = Some("acme/core.7".parse().unwrap());
    status.version = Some("1.2.3".into());
    let mut metadata = json!({"error": "tests failed", "failedPhase": "test", "attempts": 2, "buildId": "acme/core.7"});
    metadata["version"] = "1.2.3".into();
    let expected = json!({"id": "@acme/core", "data": {"status": "failed", "metadata": metadata}});
    assert_eq!(Value::Object(arguments(&status, UpdateId::Name)), expected);
    assert_eq!(arguments(&status, UpdateId::Id)["id"], "P7");
    status.id = None;
    assert_eq!(arguments(&status, UpdateId::Id)["id"], "@acme/core");
}

#[test]
fn a_cancelled_package_is_reported_as_failed_and_says_by_whom() {
    let mut status = report(1, "a", StatusKind::Cancelled, 1).status;
    for (error, said) in [
        (Some("cancelled by eve: too hot"), "cancelled by eve: too hot"),
        (Some("too hot"), "cancelled by an operator: too hot"),
        (None, "cancelled by an operator"),
    ] {
        status.error = error.map(Into::into);
        let arguments = arguments(&status, UpdateId::Name);
        assert_eq!(
            (&arguments["data"]["status"], &arguments["data"]["metadata"]["error"]),
            (&json!("failed"), &json!(said))
        );
    }
}

#[test]
fn a_private_package_is_reported_as_published_and_private_besides() {
    let mut status = report(1, "a", StatusKind::Published, 1).status;
    let said = |status: &PackageStatus| Value::Object(arguments(status, UpdateId::Name));
    assert_eq!(said(&status)["data"]["metadata"].get("private"), None);
    status.private = true;
    let expected = json!({"id": "a", "data": {"status": "published", "metadata": {"attempts": 2, "private": true}}});
    assert_eq!(said(&status), expected);
}

#[test]
fn what_stands_for_the_tests_of_a_package_is_reported() {
    let mut status = report(1, "a", StatusKind::Published, 1).status;
    let said = |status: &PackageStatus| arguments(status, UpdateId::Name)["data"]["metadata"].get("tests").cloned();
    assert_eq!(said(&status), None);
    status.tests = Some(Tests::RootNotRun);
    assert_eq!(said(&status), Some(json!("rootNotRun")));
}
