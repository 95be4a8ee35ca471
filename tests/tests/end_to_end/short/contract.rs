//! The contract's sentences about the wire; those about decisions are in `libs/scheduler/tests/behaviour/contract.rs`.

use packline_broker::StreamName;
use packline_tests::{Bare, NatsPy};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn every_message_that_packline_publishes_carries_schema_1() {
    // A worker that is frozen for a moment is not lost.
    let mut line = Bare::start(&[("CLAIM", "5m")]).await.unwrap();
    line.add_worker(1).unwrap();
    let python = NatsPy::at(&line.server.url()).await.unwrap();
    line.announce(r#"{"name": "@acme/base"}"#).await.unwrap();
    line.until_state("@acme/base", "published").await.unwrap();
    line.workers[0].freeze();
    line.announce(r#"{"name": "@acme/core", "ref": {"deep": [null]}, "schema": 1}"#).await.unwrap();
    line.until_state("@acme/core", "building").await.unwrap();
    let mut seen = 0;
    for stream in [StreamName::Status, StreamName::Builds, StreamName::Results, StreamName::Events] {
        // What a commit implies is out a moment after it.
        let messages = loop {
            let dumped = python.run(&[json!(["get_all", stream.as_str()])]).await.unwrap();
            match dumped[0].as_array().unwrap() {
                none if none.is_empty() => {}
                some => break some.clone(),
            }
        };
        for message in messages {
            let body: Value = serde_json::from_str(message["text"].as_str().unwrap()).unwrap();
            assert_eq!(body["schema"], 1, "{message}");
            assert!(message["text"].as_str().unwrap().len() <= 256 * 1024);
            if stream == StreamName::Builds {
                assert_eq!(body["ref"], json!({"deep": [null]}), "what nobody knows is passed on: {body}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen}");
    line.workers[0].thaw();
    line.until_state("@acme/core", "published").await.unwrap();
}
