//! The JSON of every answer, frozen: operators' scripts rely on it, and `packline` of another version reads it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use packline_domain::{
    Attempt, BuildId, Command, Mode, PackageName, Timestamp,
    answer::{
        Active, Counts, History, Holder, Outdated, Queue, QueueQuestion, QueueRow, Reason, Retrying, Stall, Stalled,
        Standing, State, Told, Why, Worker, WorkerBuild, WorkerCounts, WorkerState,
    },
    control::{LastControl, Origin},
    phase::Tests,
    record::Ending,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + seconds * 1000)
}

fn core() -> PackageName {
    "@acme/core".parse().unwrap()
}

fn build() -> BuildId {
    "acme/core.17".parse().unwrap()
}

fn origin() -> Origin {
    Origin { by: Some("ada".into()), reason: Some("release".into()) }
}

/// Freezes the JSON and shows that it reads back as the same value, also with a field that nobody knows.
fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let mut json = serde_json::to_value(value).unwrap();
    insta::assert_json_snapshot!(name, json);
    json["somethingNew"] = json!([1, {"a": null}]);
    assert_eq!(&serde_json::from_value::<T>(json).unwrap(), value);
}

fn state() -> State {
    let built = |phase: Option<&str>| WorkerBuild {
        package_name: core(),
        build_id: build(),
        permit: 0,
        phase: phase.map(Into::into),
        seconds: 12,
    };
    State {
        schema: 1,
        mode: Mode::Paused,
        since: at(0),
        by: Some("ada".into()),
        reason: None,
        max_concurrent: 4,
        complete: true,
        slots: 2,
        counts: Counts { ready: 3, building: 1, published: 5, private: 2, ..Counts::default() },
        estimated_seconds: Some(77),
        stalled: Some(Stalled { since: at(1), kind: Stall::NotTaken, text: "nobody takes it".into() }),
        active: vec![Active {
            package_name: core(),
            build_id: build(),
            attempt: 1,
            permit: 0,
            worker: Some("h-1".into()),
            phase: Some("test".into()),
            seconds: 12,
            estimated_seconds: Some(30),
            ending: true,
        }],
        retrying: vec![Retrying { package_name: core(), attempts: 1, next_attempt_at: at(9) }],
        workers: vec![
            Worker {
                name: "h-1".into(),
                host: Some("h".into()),
                version: Some("1.2.3".into()),
                state: WorkerState::Resting,
                slots: 0,
                since: Some(at(-9)),
                resting: Some("3 infrastructure failures in a row".into()),
                silent_seconds: 2,
                builds: vec![built(Some("test"))],
            },
            Worker {
                name: "ghost".into(),
                host: None,
                version: None,
                state: WorkerState::Silent,
                slots: 0,
                since: None,
                resting: None,
                silent_seconds: 20,
                builds: vec![built(None)],
            },
        ],
        worker_counts: WorkerCounts { silent: 1, resting: 1, ..WorkerCounts::default() },
        leader: "h-2".into(),
        term: 3,
        commit: 99,
        last_control: Some(LastControl {
            command: Command::Pause,
            origin: origin(),
            at: at(0),
            sequence: 5,
            effect: "paused by ada".into(),
            unchanged: false,
            complete: true,
        }),
    }
}

#[test]
fn state_at_a_glance() {
    golden("state", &state());
}

#[test]
fn the_answer_of_an_older_leader_is_read_without_what_it_does_not_say() {
    let mut old = serde_json::to_value(state()).unwrap();
    for field in ["schema", "estimatedSeconds", "stalled", "workers", "workerCounts", "by", "lastControl"] {
        old.as_object_mut().unwrap().remove(field);
    }
    old["counts"].as_object_mut().unwrap().remove("unresolvable");
    let read: State = serde_json::from_value(old).unwrap();
    let expected = State {
        estimated_seconds: None,
        stalled: None,
        workers: vec![],
        worker_counts: WorkerCounts::default(),
        by: None,
        last_control: None,
        ..state()
    };
    assert_eq!(read, expected);
}

#[test]
fn one_page_of_the_queue_and_the_question_for_it() {
    let row = QueueRow {
        package_name: core(),
        state: Some(Standing::Blocked),
        priority: 7,
        dependencies: vec!["lodash.merge".parse().unwrap()],
        attempts: 1,
        private: false,
        reason: "needs lodash.merge, which is ready".into(),
        estimated_seconds: Some(30),
    };
    golden("queue", &Queue { schema: 1, packages: vec![row.clone()], cursor: Some(core()) });
    let private = QueueRow { state: Some(Standing::Published), private: true, reason: "built (private)".into(), ..row };
    golden("queue_private", &Queue { schema: 1, packages: vec![private], cursor: None });
    let question = QueueQuestion { state: Some(Standing::Ready), limit: Some(50), cursor: Some("@acme/core".into()) };
    let body = serde_json::to_value(&question).unwrap();
    assert_eq!(body, json!({"state": "ready", "limit": 50, "cursor": "@acme/core"}));
    assert_eq!(serde_json::from_value::<QueueQuestion>(body).unwrap(), question);
    assert_eq!(serde_json::to_value(QueueQuestion::default()).unwrap(), json!({}));
}

#[test]
fn why_with_every_kind_of_reason() {
    let holder =
        Holder { package_name: core(), build_id: build(), permit: 2, worker: Some("h-1".into()), waiting_for: None };
    let waiting = Holder { waiting_for: Some("the install of the workspace".into()), ..holder.clone() };
    let reasons = vec![
        Reason::Unknown,
        Reason::Mode { mode: Mode::Stopped, origin: origin(), since: at(0) },
        Reason::Cycle { packages: vec![core()] },
        Reason::Dependency { package_name: core(), state: Standing::Failed, is_order_only: false },
        Reason::Dependency { package_name: core(), state: Standing::Building, is_order_only: true },
        Reason::Backoff { until: at(1) },
        Reason::NoWorker { outdated: None },
        Reason::NoWorker {
            outdated: Some(Outdated { worker: "h-1".into(), version: "0.0.9".into(), protocol: 1, needs: 2 }),
        },
        Reason::NoSlot { slots: 2 },
        Reason::NoPermit { limit: 1, holders: vec![holder.clone()] },
        Reason::Turn { ahead: 3 },
        Reason::Building(holder.clone()),
        Reason::Building(waiting),
        Reason::Ending { holder: Holder { worker: None, ..holder.clone() }, ending: Ending::Cancel(origin()) },
        Reason::Ending { holder, ending: Ending::Deadline },
        Reason::Published { version: None, private: false },
        Reason::Published { version: Some("1.0.0".into()), private: true },
        Reason::Failed { error: "no".into(), failed_phase: Some("test".into()) },
        Reason::Cancelled(origin()),
    ];
    let reasons = reasons.into_iter().map(|reason| Told { text: reason.to_string(), reason }).collect();
    let why = Why {
        schema: 1,
        package_name: core(),
        state: Some(Standing::Ready),
        reasons,
        warnings: vec!["types: dist/index.d.ts is not in the tarball".into()],
        tests: Some(Tests::NoTest),
        estimated_seconds: Some(30),
    };
    golden("why", &why);
}

#[test]
fn history() {
    let attempt = Attempt {
        build_id: build(),
        attempt: 1,
        worker: None,
        started_at: at(0),
        finished_at: at(5),
        class: None,
        error: None,
        failed_phase: None,
        warnings: vec!["types: dist/index.d.ts is not in the tarball".into()],
        private: true,
        tests: Some(Tests::RootPassed),
    };
    golden("history", &History { schema: 1, package_name: core(), attempts: vec![attempt] });
    let unknown: History = serde_json::from_value(json!({"packageName": "@acme/core"})).unwrap();
    assert_eq!(serde_json::to_value(unknown).unwrap()["attempts"], Value::Array(vec![]));
}
