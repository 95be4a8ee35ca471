//! The JSON of every message and record, frozen: programs that we did not write rely on it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use packline_domain::{
    Announcement, Attempt, BuildOrder, BuildResult, Command, Effect, Event, FailureClass, Mode, Outcome, Package,
    PackageStatus, StatusKind, Timestamp,
    control::{LastControl, Origin},
    effect::EffectsRecord,
    message::{OrderConfig, PhaseReport, PhaseStatus, PollAnnouncement, Tests},
    phase::CACHED,
    record::{
        Control, Ending, Intended, Intention, LastPoll, Leader, Permit, Position, Queue, Retries, State, Worker,
        WorkerBuild,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + seconds * 1000)
}

fn package() -> Package {
    Package::parse(&json!({"name": "@acme/core", "priority": 100, "dependencies": ["@acme/base", "lodash.merge"],
        "id": "42", "category": "utils", "path": "src/core", "buildAfter": ["@acme/rules"], "ref": "main"}))
    .unwrap()
}

fn origin() -> Origin {
    Origin { by: Some("ada".into()), reason: Some("release".into()) }
}

/// Freezes the JSON and shows that it reads back as the same value, also with a field that nobody knows.
fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let json = serde_json::to_value(value).unwrap();
    insta::assert_json_snapshot!(name, json);
    assert_eq!(&serde_json::from_value::<T>(json.clone()).unwrap(), value);
    let mut foreign = json;
    foreign["somethingNew"] = json!([1, {"a": null}]);
    foreign.as_object_mut().unwrap().remove("schema");
    let read: T = serde_json::from_value(foreign).unwrap();
    let again = serde_json::to_value(&read).unwrap();
    assert_eq!(again["schema"], json!(1));
}

#[test]
fn messages() {
    golden("poll", &PollAnnouncement { schema: 1, polled_at: at(0), reported_through: 7, packages: vec![package()] });
    golden(
        "order",
        &BuildOrder::new(
            &package(),
            "acme/core.17".parse().unwrap(),
            2,
            3,
            at(1),
            OrderConfig { registry: Some("http://127.0.0.1:4873".into()) },
            vec!["sha512-abc".into()],
            std::time::Duration::from_secs(3600),
        ),
    );
    let result = BuildResult {
        schema: 1,
        build_id: "acme/core.17".parse().unwrap(),
        attempt: 2,
        permit: 3,
        permit_revision: 99,
        package_name: package().name,
        success: false,
        outcome: Outcome::TimedOut,
        error: Some("silent for 5m".into()),
        failed_phase: Some("test".into()),
        fix_attempts: Some(1),
        retry: false,
        worker: "host-1".into(),
        started_at: at(1),
        finished_at: at(9),
        phases: vec![
            PhaseReport { reason: Some(CACHED.into()), ..PhaseReport::new("install", PhaseStatus::Skipped) },
            PhaseReport {
                exit_code: Some(1),
                seconds: 1.25,
                warning: true,
                ..PhaseReport::new("lint", PhaseStatus::Failed)
            },
            PhaseReport { exit_code: Some(1), seconds: 7.5, ..PhaseReport::new("test", PhaseStatus::TimedOut) },
        ],
        version: Some("1.0.0".into()),
        integrity: Some("sha512-abc".into()),
        warnings: vec!["types: dist/index.d.ts is not in the tarball".into()],
        private: false,
        tests: None,
    };
    golden("result", &result);
    golden(
        "result_private",
        &BuildResult {
            success: true,
            outcome: Outcome::Published,
            error: None,
            failed_phase: None,
            fix_attempts: None,
            retry: true,
            phases: vec![PhaseReport {
                reason: Some("package.json says private".into()),
                ..PhaseReport::new("publish", PhaseStatus::Skipped)
            }],
            integrity: None,
            warnings: vec![],
            private: true,
            tests: Some(Tests::RootNotRun),
            ..result
        },
    );
    let status = PackageStatus {
        schema: 1,
        package_name: package().name,
        id: Some("42".into()),
        status: StatusKind::Failed,
        error: Some("no".into()),
        failed_phase: Some("test".into()),
        attempts: 3,
        build_id: Some("acme/core.17".parse().unwrap()),
        version: Some("1.0.0".into()),
        private: false,
        tests: None,
        commit: 12,
    };
    golden("status", &status);
    golden(
        "status_private",
        &PackageStatus {
            status: StatusKind::Published,
            error: None,
            failed_phase: None,
            private: true,
            tests: Some(Tests::RootNotRun),
            ..status
        },
    );
    let event = Event {
        schema: 1,
        kind: "paused".into(),
        at: at(2),
        commit: 5,
        package_name: Some(package().name),
        build_id: None,
        by: Some("ada".into()),
        private: false,
        command: Some(12),
        message: "paused by ada: release".into(),
    };
    golden("event", &event);
    golden(
        "event_private",
        &Event {
            kind: "published".into(),
            build_id: Some("acme/core.17".parse().unwrap()),
            by: None,
            private: true,
            command: None,
            message: "built (private) @acme/core 1.0.0 (attempt 1, 8s)".into(),
            ..event
        },
    );
}

#[test]
fn records() {
    golden(
        "leader",
        &Leader {
            schema: 1,
            holder: Some("host-1".into()),
            term: 2,
            commit: 9,
            attempt: "x".into(),
            effects_through: 8,
            positions: [("PACKAGES".to_owned(), Position { created: "2026-01-01T00:00:00Z".into(), sequence: 4 })]
                .into(),
            serial: 17,
            lease_millis: 6000,
            claim_millis: 30000,
        },
    );
    let last = LastControl {
        command: Command::Cancel { package_name: package().name },
        origin: origin(),
        at: at(3),
        sequence: 12,
        effect: "cancelled by ops: release: @acme/core".into(),
        unchanged: false,
        complete: true,
    };
    golden(
        "control",
        &Control {
            schema: 1,
            mode: Mode::Draining,
            max_concurrent: 4,
            origin: origin(),
            since: at(3),
            complete: false,
            drained_commit: Some(3),
            last: Some(last),
        },
    );
    for (name, state) in [
        ("queued", State::Queued),
        ("building", State::Building { build_id: "acme/core.17".parse().unwrap(), permit: 3, again: true }),
        ("retrying", State::Retrying { until: at(60) }),
        ("published", State::Published { version: Some("1.0.0".into()), private: true }),
        ("failed", State::Failed { error: "no".into(), failed_phase: Some("test".into()) }),
        ("cancelled", State::Cancelled { origin: origin() }),
    ] {
        golden(
            &format!("queue_{name}"),
            &Queue {
                schema: 1,
                package: package(),
                state,
                arrival: 5,
                queued_at: at(0),
                announced_at: at(1),
                commit: 9,
                status_commit: 8,
            },
        );
    }
    for (name, ending) in [("stop", Ending::Stop), ("cancel", Ending::Cancel(origin())), ("deadline", Ending::Deadline)]
    {
        golden(
            &format!("permit_{name}"),
            &Permit {
                schema: 1,
                package_name: package().name,
                build_id: "acme/core.17".parse().unwrap(),
                attempt: 2,
                granted_at: at(1),
                worker: Some("host-1".into()),
                integrity: Some("sha512-abc".into()),
                ending: Some(ending),
            },
        );
    }
    golden(
        "retries",
        &Retries {
            schema: 1,
            failures: 2,
            lost: 1,
            infrastructure: 0,
            next_attempt_at: Some(at(60)),
            integrities: vec!["sha512-abc".into()],
            attempts: vec![
                Attempt {
                    build_id: "acme/core.17".parse().unwrap(),
                    attempt: 2,
                    worker: Some("host-1".into()),
                    started_at: at(1),
                    finished_at: at(9),
                    class: Some(FailureClass::Own),
                    error: Some("no".into()),
                    failed_phase: Some("test".into()),
                    warnings: vec!["types: dist/index.d.ts is not in the tarball".into()],
                    private: false,
                    tests: None,
                },
                Attempt {
                    build_id: "acme/core.19".parse().unwrap(),
                    attempt: 3,
                    worker: Some("host-1".into()),
                    started_at: at(60),
                    finished_at: at(68),
                    class: None,
                    error: None,
                    failed_phase: None,
                    warnings: vec![],
                    private: true,
                    tests: Some(Tests::RootNotRun),
                },
            ],
        },
    );
    for (name, what) in [
        ("announce", Intended::Announce { done: 400 }),
        (
            "control",
            Intended::Control {
                command: Command::RequeueFailed,
                origin: origin(),
                done: Some(package().name),
                changed: 100,
            },
        ),
    ] {
        golden(
            &format!("intention_{name}"),
            &Intention { schema: 1, stream: "CONTROL".into(), sequence: 12, commit: 9, what, interrupted: vec![] },
        );
    }
    golden(
        "worker",
        &Worker {
            schema: 1,
            host: "host".into(),
            version: "0.1.0".into(),
            protocol: 2,
            slots: 2,
            claim_millis: 30000,
            since: at(0),
            resting: None,
            builds: vec![WorkerBuild {
                build_id: "acme/core.17".parse().unwrap(),
                permit: 3,
                phase: Some("test".into()),
                waiting_for: Some("the tests of the root".into()),
            }],
        },
    );
    golden("last_poll", &LastPoll { schema: 1, at: at(0), packages: 8, error: Some("timed out".into()), command: 3 });
}

#[test]
fn effects_are_stored_ready_to_send() {
    let effects = EffectsRecord { schema: 1, commit: 3, part: 0, effects: vec![Effect::Wake("host-1".into())].into() };
    let json = json!({"schema": 1, "commit": 3, "part": 0, "effects": [{"wake": "host-1"}]});
    assert_eq!(serde_json::to_value(&effects).unwrap(), json);
}

#[test]
fn an_order_survives_a_package_whose_own_fields_have_the_names_of_its_fields() {
    let order = |package: &Package| {
        let (build, config) = ("a.1".parse().unwrap(), OrderConfig::default());
        let order = BuildOrder::new(package, build, 1, 0, at(0), config, vec![], std::time::Duration::from_secs(1));
        (serde_json::to_string(&order).unwrap(), order)
    };
    let mut package = Package::named("a".parse().unwrap());
    let plain: serde_json::Map<_, _> = serde_json::from_str(&order(&package).0).unwrap();
    package.extra = plain.keys().map(|field| (field.clone(), json!("mine"))).collect();
    package.extra.insert("ref".into(), json!(7));
    let (text, sent) = order(&package);
    for field in plain.keys() {
        assert_eq!(text.matches(&format!("\"{field}\":")).count(), 1, "{field} in {text}");
    }
    let read: BuildOrder = serde_json::from_str(&text).unwrap();
    assert_eq!(read, sent);
    assert_eq!(read.extra.iter().collect::<Vec<_>>(), [(&"ref".to_owned(), &json!(7))]);
}

#[test]
fn of_a_batch_only_the_bad_items_are_refused() {
    let mut items: Vec<_> = (0..47).map(|i| json!({"name": format!("@acme/p{i}")})).collect();
    items.insert(3, json!({"name": "@a/.."}));
    items.insert(20, json!("core"));
    items.push(json!({"name": "@acme/x", "priority": 1e300}));
    let announcement = Announcement::parse(&serde_json::to_vec(&items).unwrap());
    assert_eq!((announcement.packages.len(), announcement.refused.len()), (47, 3));
    assert_eq!(announcement.refused.iter().map(|r| r.index).collect::<Vec<_>>(), [3, 20, 49]);
    for refused in &announcement.refused {
        assert!(!refused.reason.is_empty() && !refused.reason.contains('\n'), "{}", refused.reason);
    }
}

#[test]
fn an_announcement_that_is_none_is_refused_whole_with_the_reason() {
    let big = format!("[\"{}\"]", "x".repeat(1_000_000));
    for body in
        ["", "nonsense", "7", "null", "{}", "{\"packages\": 3}", "{\"packages\": [], \"reportedThrough\": \"x\"}", &big]
    {
        let announcement = Announcement::parse(body.as_bytes());
        assert_eq!(
            (announcement.packages.len(), announcement.refused.len()),
            (0, 1),
            "{}",
            &body[..body.len().min(40)]
        );
        assert_eq!(announcement.refused[0].payload, body.as_bytes());
    }
    assert_eq!(Announcement::parse(b"[]"), Announcement::default());
}

#[test]
fn a_package_whose_order_would_not_fit_into_a_message_is_refused() {
    let package = |bytes: usize| json!([{"name": "a", "junk": "x".repeat(bytes)}, {"name": "b"}]).to_string();
    let announcement = Announcement::parse(package(140_000).as_bytes());
    assert_eq!((announcement.packages.len(), announcement.refused.len()), (1, 1));
    assert!(announcement.refused[0].reason.contains("at most 131072"));
    assert_eq!(Announcement::parse(package(120_000).as_bytes()).packages.len(), 2);
}

#[test]
fn absurd_priorities_and_categories_are_refused() {
    for priority in
        [json!(i64::MIN), json!(i64::MAX), json!(u64::MAX), json!(1e300), json!(-1e300), json!(0.5), json!("1")]
    {
        let reason = Package::parse(&json!({"name": "a", "priority": priority})).unwrap_err();
        assert!(reason.contains("whole number from -1000000000 to 1000000000"), "{reason}");
    }
    assert_eq!(Package::parse(&json!({"name": "a", "priority": -1_000_000_000})).unwrap().priority, -1_000_000_000);
    assert!(Package::parse(&json!({"name": "a", "category": "x".repeat(201)})).unwrap_err().contains("200 bytes"));
}

#[test]
fn a_result_without_warnings_that_is_not_private_and_was_tested_says_none_of_it() {
    let json = json!({"buildId": "acme/core.17", "attempt": 1, "permit": 0, "permitRevision": 1,
        "packageName": "@acme/core", "success": true, "outcome": "published", "worker": "w",
        "startedAt": at(0), "finishedAt": at(1)});
    let result: BuildResult = serde_json::from_value(json).unwrap();
    assert_eq!((result.warnings.len(), result.private, result.tests), (0, false, None));
    let again = serde_json::to_value(result).unwrap();
    assert_eq!((again.get("warnings"), again.get("private"), again.get("tests")), (None, None, None));
    let phase = serde_json::to_value(PhaseReport::new("test", PhaseStatus::Passed)).unwrap();
    assert_eq!(phase, json!({"name": "test", "status": "passed", "seconds": 0.0}));
    let tests = [Tests::NoTest, Tests::RootNotRun, Tests::RootPassed, Tests::RootFailed];
    assert_eq!(json!(tests), json!(["noTest", "rootNotRun", "rootPassed", "rootFailed"]));
}
