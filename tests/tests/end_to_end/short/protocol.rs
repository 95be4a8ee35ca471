//! Workers of different releases on one line: a worker of an earlier one has no `protocol` in its record.

use std::time::{Duration, Instant};

use packline_broker::{BucketName, Message, topology};
use packline_domain::{Event, Timestamp};
use packline_tests::{Bare, PATIENCE};
use serde_json::{Value, json};

/// A worker of which nobody sees more than this record.
async fn stand_in(line: &Bare, worker: &str, protocol: Option<u32>) {
    let mut record = json!({"host": "host", "version": "0.0.9", "slots": 2, "claimMillis": 3_600_000,
        "since": Timestamp::from_millis(0), "builds": []});
    if let Some(protocol) = protocol {
        record["protocol"] = json!(protocol);
    }
    line.broker.bucket(BucketName::Workers).put(worker, record.to_string().into()).await.unwrap();
}

/// Waits until the leader knows a worker.
async fn until_seen(line: &Bare, worker: &str) {
    let began = Instant::now();
    loop {
        let state = line.ask("orchestrator.state", "").await.unwrap();
        if state["workers"].as_array().unwrap().iter().any(|seen| seen["name"] == worker && seen["state"] == "live") {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{worker} is not known: {state}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_told(line: &Bare, kind: &str) -> Vec<Event> {
    let began = Instant::now();
    loop {
        let mut events = line.events().await.unwrap();
        events.retain(|event| event.kind == kind);
        if !events.is_empty() {
            return events;
        }
        assert!(began.elapsed() < PATIENCE, "no event {kind}\n{}", line.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A worker of an earlier release says that it has failed for good.
async fn fail(line: &Bare, package: &str) {
    let permit = line.held().await.unwrap().into_iter().find(|permit| permit.package_name.as_str() == package).unwrap();
    let result = json!({"buildId": permit.build_id, "attempt": 1, "permit": 0, "permitRevision": 1,
        "packageName": package, "success": false, "outcome": "failed", "retry": false, "worker": "old-1",
        "error": "the workspace has no folder packages/server-a", "startedAt": permit.granted_at,
        "finishedAt": permit.granted_at});
    line.broker.publish(Message::json(topology::builds_result(), &result)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_a_live_worker_of_an_earlier_release_does_not_understand_waits_until_it_is_gone() {
    let line = Bare::start(&[]).await.unwrap();
    stand_in(&line, "old-1", None).await;
    line.announce(r#"[{"name": "@acme/server-a", "path": "src/a", "priority": 9}, {"name": "usual"}]"#).await.unwrap();
    line.until_state("usual", "building").await.unwrap();
    line.until_state("@acme/server-a", "queued").await.unwrap();
    line.until_known().await.unwrap();
    let why: Value = line.ask("orchestrator.why", "acme/server-a").await.unwrap();
    let outdated = json!({"worker": "old-1", "version": "0.0.9", "protocol": 1, "needs": 2});
    assert_eq!((&why["reasons"][0]["kind"], &why["reasons"][0]["outdated"]), (&json!("noWorker"), &outdated));
    let told = until_told(&line, "outdated").await;
    assert_eq!(told.len(), 1);
    assert!(told[0].message.contains("worker old-1 of version 0.0.9 speaks protocol 1"), "{}", told[0].message);

    // It leaves, and comes back when the order is out.
    line.broker.bucket(BucketName::Workers).delete("old-1").await.unwrap();
    stand_in(&line, "new-1", Some(2)).await;
    line.until_state("@acme/server-a", "building").await.unwrap();
    stand_in(&line, "old-1", None).await;
    until_seen(&line, "old-1").await;
    fail(&line, "@acme/server-a").await;
    line.until_state("@acme/server-a", "queued").await.unwrap();
    let retries = line.retries("@acme/server-a").await.unwrap();
    assert_eq!((retries.failures, retries.attempts.len()), (0, 1));
    line.broker.bucket(BucketName::Workers).delete("old-1").await.unwrap();
    line.until_state("@acme/server-a", "building").await.unwrap();
}
