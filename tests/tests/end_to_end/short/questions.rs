//! What an operator asks the leader: why, what comes next, what happened.
use std::time::{Duration, Instant};

use packline_broker::{Broker, BrokerError, Message, Settings, topology};
use packline_tests::{Bare, PATIENCE};
use serde_json::{Value, json};

async fn ask(line: &Bare, question: &str, body: &str) -> Value {
    line.until_known().await.unwrap();
    let answer = line.broker.ask(question, body.to_owned()).await.unwrap();
    assert!(answer.len() < 256 * 1024, "{question} answers {} bytes", answer.len());
    serde_json::from_slice(&answer).unwrap()
}

async fn announce(line: &Bare, packages: Value) {
    line.broker.publish(Message::json(topology::packages_new(), &packages)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_what_has_to_change_what_comes_next_and_what_happened() {
    let mut line = Bare::start(&[]).await.unwrap();
    announce(&line, json!([{"name": "@acme/core", "dependencies": ["@acme/base"]}, {"name": "@acme/base"}])).await;
    line.until_state("@acme/core", "queued").await.unwrap();
    line.until_state("@acme/base", "queued").await.unwrap();

    for body in ["acme/core", "\"@acme/core\"", r#"{"packageName": "@acme/core"}"#] {
        let why = ask(&line, "orchestrator.why", body).await;
        assert_eq!((&why["packageName"], &why["state"]), (&json!("@acme/core"), &json!("blocked")));
        let first = &why["reasons"][0];
        assert_eq!(first["kind"], "dependency");
        assert_eq!(first["text"], "needs @acme/base, which is ready");
    }
    assert_eq!(ask(&line, "orchestrator.why", "acme/base").await["reasons"][0]["kind"], "noWorker");
    assert_eq!(ask(&line, "orchestrator.why", "nobody").await["reasons"][0]["kind"], "unknown");
    let queue = ask(&line, "orchestrator.queue", "").await;
    let names: Vec<_> =
        queue["packages"].as_array().unwrap().iter().map(|row| row["packageName"].as_str().unwrap()).collect();
    assert_eq!(names, ["@acme/base", "@acme/core"], "in the order in which they will be built");
    assert_eq!(queue["packages"][0]["reason"], "no worker is live");
    assert_eq!(ask(&line, "orchestrator.history", "acme/base").await["attempts"], json!([]));

    line.add_worker(2).unwrap();
    line.until_state("@acme/core", "published").await.unwrap();
    let history = ask(&line, "orchestrator.history", "acme/core").await;
    assert_eq!(history["attempts"].as_array().unwrap().len(), 1, "{history}");
    assert_eq!(ask(&line, "orchestrator.why", "acme/core").await["reasons"][0]["kind"], "published");
    let published = ask(&line, "orchestrator.queue", r#"{"state": "published", "limit": 1}"#).await;
    assert_eq!(
        (&published["packages"][0]["packageName"], &published["cursor"]),
        (&json!("@acme/base"), &json!("@acme/base"))
    );
    let rest = ask(&line, "orchestrator.queue", r#"{"state": "published", "cursor": "@acme/base"}"#).await;
    assert_eq!((&rest["packages"][0]["packageName"], rest.get("cursor")), (&json!("@acme/core"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_ask_builds_go_on_and_the_leader_stays() {
    const PACKAGES: usize = 800;
    let mut line = Bare::start(&[("MAX_CONCURRENT", "16")]).await.unwrap();
    line.add_worker(16).unwrap();
    let term = line.until_leading().await.unwrap().term;
    // Each answer names 200 that wait for what nobody builds.
    let waiting: Vec<_> = (0..200).map(|n| json!({"name": format!("w{n}"), "dependencies": ["nobody"]})).collect();
    announce(&line, json!(waiting)).await;
    line.until_state("w199", "queued").await.unwrap();
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let broker = line.broker.clone();
            tokio::spawn(async move {
                // Nobody waits for the answer, so nothing slows them down.
                let soon = Duration::from_millis(1);
                loop {
                    let _ = tokio::time::timeout(soon, broker.ask("orchestrator.queue", r#"{"limit": 200}"#)).await;
                }
            })
        })
        .collect();
    let packages: Vec<_> = (0..PACKAGES).map(|n| json!({"name": format!("p{n}")})).collect();
    announce(&line, json!(packages)).await;
    for n in 0..PACKAGES {
        line.until_state(&format!("p{n}"), "published").await.unwrap();
    }
    asking.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(line.leader().await.unwrap().term, term);
    // What nobody waits for any more leaves nobody else without an answer.
    let other = Broker::connect(&Settings::at(line.server.url()), "other").await.unwrap();
    let answered = async {
        while let Err(error) = other.ask("orchestrator.queue", r#"{"limit": 200}"#).await {
            let BrokerError::Refused(refused) = error else { panic!("{error}") };
            assert!(refused.to_string().contains("ask again"), "{refused}");
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_answers_when_it_knows_who_lives_and_not_before() {
    let mut line = Bare::start(&[]).await.unwrap();
    line.add_worker(4).unwrap();
    let since = Instant::now();
    while ask(&line, "orchestrator.state", "").await["slots"] != 4 {
        assert!(since.elapsed() < PATIENCE, "{}", line.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for round in 0..5 {
        let next = line.line().orchestrator(&format!("next-{round}"), &[]).unwrap();
        let before = std::mem::replace(&mut line.orchestrator, next);
        let leader = line.leader().await.unwrap();
        let asked = async {
            for tries in 0.. {
                // One who leaves takes questions along: asked anew so soon that one meets the next's first commit.
                let soon = Duration::from_millis(if tries < 100 { 20 } else { 1_000 });
                let asked = tokio::time::timeout(soon, line.broker.ask("orchestrator.state", "")).await;
                let Ok(Ok(answer)) = asked else { continue };
                let state: Value = serde_json::from_slice(&answer).unwrap();
                assert_eq!(state["slots"], 4, "round {round}: {state}");
                if state["term"] != leader.term {
                    return;
                }
            }
        };
        assert!(tokio::join!(before.stop(PATIENCE), asked).0.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_question_is_told_what_would_be_right() {
    let line = Bare::start(&[]).await.unwrap();
    for (question, body, right) in [
        ("orchestrator.why", "", "the body is a package"),
        ("orchestrator.history", "@", "after `@scope` come"),
        ("orchestrator.queue", r#"{"state": "lost"}"#, "unknown variant `lost`, expected one of `ready`"),
        ("orchestrator.queue", r#"{"limit": 201}"#, "from 1 to 200"),
        ("orchestrator.queue", r#"{"page": 2}"#, "unknown field `page`"),
        ("orchestrator.queue", r#"{"a\nb": 2}"#, "unknown field `a b`"),
        ("orchestrator.queue", r#"{"state": "a\r\nb"}"#, "unknown variant `a  b`"),
    ] {
        let refused = line.broker.ask(question, body.to_owned()).await;
        let Err(BrokerError::Refused(refused)) = refused else { panic!("{question} {body}: {refused:?}") };
        assert!(refused.to_string().contains(right), "{question} {body}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_long_the_queue_is_every_answer_stays_small_and_the_pages_name_each_package_once() {
    const PACKAGES: usize = 3_000;
    let line = Bare::start(&[]).await.unwrap();
    let long: Vec<String> = (0..60).map(|i| format!("@acme/{i:0>190}")).collect();
    for batch in 0..PACKAGES / 15 {
        let packages: Vec<_> = (0..15)
            .map(|i| json!({"name": format!("@acme/package-{:05}", batch * 15 + i), "dependencies": long}))
            .collect();
        announce(&line, json!(packages)).await;
    }
    let last = format!("@acme/package-{:05}", PACKAGES - 1);
    line.until_state(&last, "queued").await.unwrap();
    let (mut seen, mut body) = (Vec::new(), json!({"limit": 200}));
    loop {
        let page = ask(&line, "orchestrator.queue", &body.to_string()).await;
        seen.extend(
            page["packages"].as_array().unwrap().iter().map(|row| row["packageName"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page.get("cursor") else { break };
        body = json!({"limit": 200, "cursor": cursor});
    }
    assert_eq!(seen.len(), PACKAGES);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), PACKAGES, "each once");
}
