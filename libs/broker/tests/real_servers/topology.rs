use std::time::Duration;

use packline_broker::{Broker, BucketName, Settings, StreamName, TopologyError};
use serde_json::{Value, json};

use crate::{Place, within};

/// Asks JetStream itself.
async fn api(place: &Place, subject: &str, body: Value) -> Value {
    let client = async_nats::connect(place.server.url()).await.unwrap();
    let answer = client.request(format!("$JS.API.{subject}"), body.to_string().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

#[tokio::test]
async fn what_is_missing_is_made_once_however_many_make_it() {
    within(async {
        let place = Place::bare().await;
        let (a, b) = (place.broker("a").await, place.broker("b").await);
        let (first, second) = tokio::join!(a.ensure_topology(), b.ensure_topology());
        first.unwrap();
        second.unwrap();
        let before = a.stream_state(StreamName::Packages).await.unwrap().created;
        a.ensure_topology().await.unwrap();
        assert_eq!(a.stream_state(StreamName::Packages).await.unwrap().created, before, "nothing is made anew");

        let names = api(&place, "STREAM.NAMES", json!({})).await;
        assert_eq!(
            names["streams"],
            json!([
                "BUILDS",
                "CONTROL",
                "DEAD",
                "EVENTS",
                "KV_orchestrator",
                "KV_poller",
                "KV_workers",
                "LOGS",
                "PACKAGES",
                "RESULTS",
                "STATUS"
            ])
        );
        let bucket = api(&place, "STREAM.INFO.KV_orchestrator", json!({})).await;
        let config = &bucket["config"];
        assert_eq!(config["allow_atomic"], true);
        assert_eq!(config["deny_purge"], true);
        assert_eq!(config["deny_delete"], true);
        assert_ne!(config["allow_direct"], true);
        assert_ne!(config["allow_rollup_hdrs"], true);
    })
    .await;
}

#[tokio::test]
async fn the_others_wait_until_everything_is_there() {
    within(async {
        let place = Place::bare().await;
        let worker = place.broker("worker").await;
        let mut waiting = std::pin::pin!(worker.await_topology());
        let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
        assert!(early.is_err(), "there is nothing yet");
        assert!(worker.orders().await.is_err());
        place.broker("orchestrator").await.ensure_topology().await.unwrap();
        waiting.await.unwrap();
        worker.orders().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_exists_with_other_settings_is_refused_by_name_and_left_alone() {
    within(async {
        for (stream, change, expected) in [
            ("BUILDS", json!({"retention": "limits"}), "stream BUILDS exists with retention"),
            ("KV_orchestrator", json!({"allow_direct": true}), "stream KV_orchestrator exists with allow_direct"),
            ("KV_orchestrator", json!({"allow_atomic": false}), "stream KV_orchestrator exists with allow_atomic"),
            ("DEAD", json!({"duplicate_window": 1_000_000_000}), "stream DEAD exists with duplicate_window"),
            ("PACKAGES", json!({"discard": "old"}), "stream PACKAGES exists with discard"),
        ] {
            let place = Place::new().await;
            let mut config = api(&place, &format!("STREAM.INFO.{stream}"), json!({})).await["config"].take();
            api(&place, &format!("STREAM.DELETE.{stream}"), json!({})).await;
            for (setting, value) in change.as_object().unwrap() {
                config[setting] = value.clone();
            }
            let made = api(&place, &format!("STREAM.CREATE.{stream}"), config).await;
            assert_eq!(made.get("error"), None);
            let broker = place.broker("orchestrator").await;
            for refused in [broker.ensure_topology().await, broker.await_topology().await] {
                let refused = refused.unwrap_err();
                assert!(matches!(refused, TopologyError::Drift { .. }));
                assert!(refused.to_string().starts_with(expected), "{refused}");
            }
            let after = api(&place, &format!("STREAM.INFO.{stream}"), json!({})).await;
            assert_eq!(after["created"], made["created"], "it is left alone");
        }
    })
    .await;
}

#[tokio::test]
async fn a_durable_with_other_settings_is_refused_by_name() {
    within(async {
        let place = Place::new().await;
        let mut config = api(&place, "CONSUMER.INFO.BUILDS.builders", json!({})).await["config"].take();
        config["max_ack_pending"] = 100.into();
        let request = json!({"stream_name": "BUILDS", "config": config, "action": "update"});
        let changed = api(&place, "CONSUMER.CREATE.BUILDS.builders", request).await;
        assert_eq!(changed.get("error"), None);
        let refused = place.broker("a").await.ensure_topology().await.unwrap_err();
        let line = "consumer builders on BUILDS exists with max_ack_pending 100, and must have -1";
        assert!(refused.to_string().starts_with(line), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_service_waits_for_a_broker_that_is_not_there_yet() {
    within(async {
        let mut place = Place::bare().await;
        place.server.kill().await;
        let settings = Settings::at(place.server.url());
        let mut connecting = std::pin::pin!(Broker::connect(&settings, "early"));
        let early = tokio::time::timeout(Duration::from_millis(300), &mut connecting).await;
        assert!(early.is_err(), "there is no broker");
        place.server.restart().await.unwrap();
        let broker = connecting.await.unwrap();
        broker.ensure_topology().await.unwrap();
        assert_eq!(*broker.reconnects().borrow(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_bucket_cannot_be_emptied_by_one_message() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        bucket.put("queue.acme/core", "x".into()).await.unwrap();
        let client = async_nats::connect(place.server.url()).await.unwrap();
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Rollup", "all");
        let answer = client.request_with_headers("$KV.orchestrator.permits.0", headers, "x".into()).await.unwrap();
        assert!(String::from_utf8_lossy(&answer.payload).contains("error"));
        let purged = api(&place, "STREAM.PURGE.KV_orchestrator", json!({})).await;
        assert!(purged.get("error").is_some());
        assert!(bucket.get("queue.acme/core").await.unwrap().is_some());
        assert_eq!(BucketName::Orchestrator, bucket.name());
    })
    .await;
}
