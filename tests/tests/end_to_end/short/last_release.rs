//! What the programs of 766d1c3 left is taken over, and its work is finished.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use packline_broker::{ConsumerState, StreamName};
use packline_domain::{FailureClass, record::State};
use packline_testkit::{
    catalogue::Catalogue,
    line::{Binaries, Progress},
};
use packline_tests::{LastRelease, PATIENCE, Recorded};
use serde_json::{Value, json};

/// LEASE and CLAIM of those that are gone are in their records: 1 s and 2 s. Those of now may be as long as ever.
const SETTINGS: [(&str, &str); 2] = [("RETRY_BASE", "100ms"), ("RETRY_MAX", "100ms")];

/// The number of an attempt, and what its end counts as; none where it was published.
type Counted = (u32, Option<FailureClass>);

/// How the attempts of each package end, those of before and those of after.
const ATTEMPTS: [(&str, &[Counted]); 15] = [
    ("announced", &[(1, None)]),
    ("blocked", &[(1, None)]),
    ("building", &[(1, Some(FailureClass::WorkerLost)), (1, None)]),
    ("cancelled", &[]),
    ("cancelling", &[(1, Some(FailureClass::Cancelled))]),
    ("dependent", &[(1, None)]),
    ("failed", &[(1, Some(FailureClass::Permanent)), (1, None)]),
    ("finishing", &[(1, None)]),
    ("ordered", &[(1, None)]),
    ("published", &[(1, None)]),
    ("queued", &[(1, None)]),
    ("renewed", &[(1, None), (1, None)]),
    ("retrying", &[(1, Some(FailureClass::Own)), (2, None)]),
    ("stranger", &[(1, None)]),
    ("unsent", &[(1, None)]),
];

fn named(package: &str) -> String {
    format!("@acme/{package}")
}

/// What was decided and not sent, in order: what becomes messages of these streams.
fn unsent(old: &LastRelease) -> (Vec<Value>, Vec<Value>, Vec<Value>) {
    let through = old.key("leader").unwrap()["effectsThrough"].as_u64();
    let records = old.of("KV_orchestrator").iter().filter(|message| message.subject.contains(".effects."));
    let unsent = records.map(Recorded::json).filter(|record| record["commit"].as_u64() > through);
    let by_commit: BTreeMap<_, _> = unsent.map(|record| (record["commit"].as_u64(), record)).collect();
    let effects: Vec<_> = by_commit.values().flat_map(|record| record["effects"].as_array().unwrap().clone()).collect();
    let of = |kind: &str| effects.iter().filter_map(|effect| effect.get(kind).cloned()).collect::<Vec<_>>();
    (of("event"), of("status"), of("order"))
}

/// The messages that came to a stream after what was recorded.
async fn later(old: &LastRelease, stream: StreamName) -> Vec<Value> {
    let last = old.of(stream.as_str()).last().unwrap().sequence;
    let stored = old.stored(stream).await.unwrap().into_iter().filter(|message| message.sequence > last);
    stored.map(|message| serde_json::from_slice(&message.payload).unwrap()).collect()
}

/// Each is there once, and in this order.
fn each_once_in_order(wanted: &[Value], found: &[Value]) {
    assert!(!wanted.is_empty());
    let found: Vec<_> = found.iter().filter(|value| wanted.contains(value)).collect();
    assert_eq!(found, wanted.iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_of_766d1c3_is_taken_over_and_its_work_is_finished() {
    let old = LastRelease::load(&SETTINGS).await.unwrap();
    let leader = old.key("leader").unwrap();
    let failed = old.key("queue.acme/failed").unwrap();
    let (events, statuses, orders) = unsent(&old);
    assert_eq!(orders.len(), 1, "the order of `unsent`");
    let line = old.line();
    let _worker = line.worker("worker", &[("RECIPE", "none"), ("SLOTS", "8")]).unwrap();
    let _orchestrator = line.orchestrator("orchestrator", &[]).unwrap();
    let _poller = line.poller("poller", &[]).unwrap();

    // All that was queued, building, retrying, on its way or announced is built; what is done stays so.
    for package in ["announced", "building", "dependent", "finishing", "ordered", "queued", "retrying", "unsent"] {
        old.until_state(&named(package), "published").await.unwrap();
    }
    old.until_state("@acme/cancelling", "cancelled").await.unwrap();
    let twice = |retries: &Value| retries["attempts"].as_array().is_some_and(|attempts| attempts.len() == 2);
    old.until("retries.acme/renewed", |retries| retries.is_some_and(twice)).await.unwrap();
    let stays = old.until_state("@acme/failed", "failed").await.unwrap();
    assert_eq!(json!(stays), failed, "nobody has touched it");
    old.until_state("@acme/blocked", "queued").await.unwrap();
    old.until_state("@acme/cancelled", "cancelled").await.unwrap();

    // The command that nobody had applied, and the one that was half done.
    let limit = old.of("CONTROL").last().unwrap().sequence;
    let control = old.until_complete(limit).await.unwrap();
    assert_eq!((control.max_concurrent, control.last.unwrap().sequence), (7, limit));
    let said = later(&old, StreamName::Events).await;
    let of_command = |command: u64| said.iter().filter(move |event| event["command"] == command);
    assert_eq!(of_command(limit).count(), 1, "{said:?}");
    assert_eq!(of_command(limit - 1).filter(|event| event["kind"] == "cancelling").count(), 1, "{said:?}");

    let all = old.command("requeue", r#"{"all": "failed"}"#).await.unwrap();
    old.until_complete(all).await.unwrap();
    old.until_state("@acme/blocked", "published").await.unwrap();
    old.until_out().await.unwrap();

    // What was decided before is said once, in its order; no build is repeated; attempts are counted on.
    each_once_in_order(&events, &later(&old, StreamName::Events).await);
    each_once_in_order(&statuses, &later(&old, StreamName::Status).await);
    let serial = leader["serial"].as_u64().unwrap();
    let mut builds = BTreeSet::new();
    for (package, expected) in ATTEMPTS {
        let attempts = old.retries(&named(package)).await.unwrap().attempts;
        let counted: Vec<_> = attempts.iter().map(|attempt| (attempt.attempt, attempt.class)).collect();
        assert_eq!(counted, expected, "{package}: {attempts:?}");
        let before = old.key(&format!("retries.acme/{package}")).map(|retries| retries["attempts"].clone());
        for (place, attempt) in attempts.into_iter().enumerate() {
            let recorded = before.as_ref().and_then(|before| before.get(place));
            assert!(recorded.is_none_or(|recorded| *recorded == json!(attempt)), "{package} remembers its past");
            assert!(builds.insert(attempt.build_id.serial), "{package}: a serial comes twice");
        }
    }
    let handed_out: Vec<_> =
        old.of("KV_orchestrator").iter().filter(|message| message.subject.contains(".permits.")).collect();
    for permit in handed_out.iter().map(|message| message.json()) {
        let build = permit["buildId"].as_str().unwrap().rsplit('.').next().unwrap().parse().unwrap();
        assert!(builds.contains(&build) && build <= serial, "{permit} is decided as it was handed out");
    }
    let new = builds.iter().filter(|build| **build > serial).count();
    assert_eq!(new, 8, "announced, blocked, building, dependent, failed, queued, renewed, retrying: {builds:?}");
    for build in ["ordered", "unsent"] {
        // A result is said again until it is applied.
        let results = old.results(&named(build)).await.unwrap();
        let started: BTreeSet<_> = results.iter().map(|result| result.started_at).collect();
        assert_eq!(started.len(), 1, "{build}: {results:?}");
    }
    let State::Published { version, private: false } =
        old.until_state("@acme/finishing", "published").await.unwrap().state
    else {
        unreachable!()
    };
    assert_eq!(version.as_deref(), Some("1.0.0"), "as the recorded result says");

    // Streams are read on from where they were, and nothing is left over.
    let now = old.leader().await.unwrap();
    for (stream, position) in leader["positions"].as_object().unwrap() {
        let now = &now.positions[stream];
        assert!(now.sequence > position["sequence"].as_u64().unwrap(), "{stream}");
        assert_eq!(json!(now.created), position["created"], "{stream}");
    }
    assert!(now.term > leader["term"].as_u64().unwrap() && now.commit > leader["commit"].as_u64().unwrap());
    assert!(old.permits().await.unwrap().is_empty());
    for package in ["announced", "blocked", "building", "failed", "finishing", "queued", "renewed", "unreported"] {
        until_catalogue(&old, package, "published").await;
    }
    until_catalogue(&old, "cancelling", "failed").await;
    let none = ConsumerState { pending: 0, ack_pending: 0 };
    for (stream, durable) in [
        (StreamName::Packages, "orchestrator"),
        (StreamName::Results, "orchestrator"),
        (StreamName::Control, "orchestrator"),
        (StreamName::Status, "catalogue"),
        (StreamName::Control, "poller"),
        (StreamName::Builds, "builders"),
    ] {
        let is_done = async {
            // Acknowledgements follow what they are about.
            while old.broker.pending(stream, durable).await.unwrap() != none {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, is_done).await;
        assert!(done.is_ok(), "{durable} of {} is not done\n{}", stream.as_str(), old.logs());
    }
    // The catalogue has refused one report for two hours, and it is given up; nothing else is refused.
    let refused = later(&old, StreamName::Dead).await;
    assert_eq!(refused.iter().map(|report| &report["packageName"]).collect::<Vec<_>>(), ["@acme/stranger"]);
}

async fn until_catalogue(old: &LastRelease, package: &str, status: &str) {
    let shown = async {
        loop {
            let found = entry(&old.catalogue, package).await;
            if found["status"] == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let shown = tokio::time::timeout(PATIENCE, shown).await;
    assert!(shown.is_ok(), "{package} is not {status} in the catalogue\n{}", old.logs());
}

async fn entry(catalogue: &Catalogue, package: &str) -> Value {
    let packages = catalogue.packages().await.unwrap();
    packages.into_iter().find(|entry| entry["name"] == named(package)).unwrap()
}

#[tokio::test]
async fn a_catalogue_of_766d1c3_is_served_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = Binaries::find(Progress::Hidden).await.unwrap();
    let catalogue = LastRelease::catalogue(&binaries, folder.path()).unwrap();
    let packages = catalogue.packages().await.unwrap();
    let statuses: BTreeMap<_, _> =
        packages.iter().map(|entry| (entry["name"].as_str().unwrap(), entry["status"].as_str().unwrap())).collect();
    assert_eq!(statuses.len(), 15, "{statuses:?}");
    let some = [("published", "published"), ("failed", "failed"), ("building", "building"), ("queued", "ready")];
    for (package, status) in some {
        assert_eq!(statuses[named(package).as_str()], status);
    }
    let failed = entry(&catalogue, "failed").await;
    assert_eq!(failed["metadata"]["failedPhase"], "build", "{failed}");
    let update = json!({"id": "@acme/failed", "data": {"status": "published", "metadata": {"attempts": 2}}});
    catalogue.call("packages_update", update).await.unwrap();
    let updated = entry(&catalogue, "failed").await;
    assert_eq!((&updated["status"], &updated["metadata"]["attempts"]), (&json!("published"), &json!(2)));
    assert_eq!(updated["id"], failed["id"]);
}
