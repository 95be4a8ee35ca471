//! Bad input gets one clear line and loses nothing.

use packline_broker::{Message, StreamName};
use packline_testkit::witness::processes_of;
use packline_tests::{Bare, Fixture, Gate, PATIENCE, Scene};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_a_dead_letter_and_the_rest_is_built() {
    let mut scene = Scene::start(&[Fixture::new("core")], &[]).await.unwrap();
    let hostile = ["../x", "@a/..", "@a/-g", "a\nb", &"x".repeat(300), "p\u{430}ckage", "@../x"];
    let bodies: Vec<Vec<u8>> = hostile
        .iter()
        .map(|name| json!({"name": name}).to_string())
        .chain([
            "rubbish".to_owned(),
            r#"{"name": 7}"#.to_owned(),
            r#"{"name": "a", "priority": 1e300}"#.to_owned(),
            r#"{"name": "a", "priority": -9223372036854775808}"#.to_owned(),
            r#"{"name": "a", "dependencies": "b"}"#.to_owned(),
            format!(r#"{{"name": "a", "junk": "{}"}}"#, "x".repeat(1_000_000)),
        ])
        .map(String::into_bytes)
        .collect();
    // Results before the first leader would mean that its bucket was lost.
    scene.run(1).await.unwrap();
    scene.until("control", |control| control.is_some()).await.unwrap();
    for body in &bodies {
        scene.announce(body.clone()).await.unwrap();
    }
    let mut batch: Vec<_> =
        (0..47).map(|i| json!({"name": format!("@acme/p{i}"), "dependencies": ["@acme/p0"]})).collect();
    batch.insert(10, json!({"name": "@a/.."}));
    batch.insert(20, json!(["nested"]));
    batch.push(json!({"priority": 3}));
    scene.announce(json!(batch).to_string()).await.unwrap();
    for body in ["", "{}", "[1]", r#"{"buildId": "acme/core.1"}"#] {
        scene.broker.publish(Message::new("builds.result", body)).await.unwrap();
    }
    let unknown = json!({"buildId": "acme/core.1", "attempt": 1, "permit": 0, "permitRevision": 1_u64 << 40,
        "packageName": "@acme/core", "success": false, "outcome": "failed", "worker": "w",
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:00Z"});
    let resulted = scene.broker.publish(Message::new("builds.result", unknown.to_string())).await.unwrap();
    let commanded = scene.command("cancel", "../x").await.unwrap();
    let announced = scene.announce(r#"{"name": "@acme/self", "dependencies": ["@acme/self"]}"#).await.unwrap();

    scene.until_state("@acme/core", "published").await.unwrap();
    scene
        .until("leader", |leader| {
            let applied = |stream: &str| {
                leader.and_then(|leader| leader["positions"][stream]["sequence"].as_u64()).unwrap_or_default()
            };
            applied("PACKAGES") >= announced && applied("CONTROL") >= commanded && applied("RESULTS") >= resulted
        })
        .await
        .unwrap();
    let state = scene.ask("orchestrator.state", "").await.unwrap();
    assert_eq!(state["counts"]["unresolvable"], 2, "p0 and self wait for themselves: {state}");
    let letters = scene.stored(StreamName::Dead).await.unwrap();
    let of = |subject: &str| letters.iter().filter(|letter| letter.subject == subject).count();
    assert_eq!(of("dead.packages"), bodies.len() + 3, "each bad body, and three of the batch");
    assert_eq!(of("dead.results"), 4);
    assert_eq!(of("dead.control"), 1);
    for letter in &letters {
        let reason = letter.header("Reason").unwrap();
        assert!(!reason.is_empty() && !reason.contains('\n'), "{reason}");
        assert!(letter.header("Source-Subject").is_some() && letter.header("Source-Sequence").is_some());
        assert!(letter.payload.len() <= 256 * 1024);
    }
    for i in 0..47 {
        assert!(scene.until(&format!("queue.acme/p{i}"), |queue| queue.is_some()).await.is_ok());
    }
    let (orchestrator, poller) = (&scene.plant.orchestrators[0], &scene.plant.pollers[0]);
    assert!(orchestrator.is_running() && poller.is_running());
    assert!(!orchestrator.printed().contains("panicked"), "{}", orchestrator.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_quite_json_is_read_as_npm_reads_it_and_only_what_is_not_understood_is_a_dead_letter() {
    let mut line = Bare::start(&[]).await.unwrap();
    line.add_worker(2).unwrap();
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let batch = format!(
        r#"[{{"name": "@f/a"}}, {{"name": "@f/b", "description": "cut \ud83d", "score": NaN}}, {{"name": "cut \ud83d"}},
            {{"name": "@f/x", "name": "@f/c", "deep": {}}}, {{"name": "@f/deep", "deep": {}}}]"#,
        nested(63),
        nested(10_000)
    );
    line.announce(batch).await.unwrap();
    for name in ["@f/a", "@f/b", "@f/c"] {
        line.until_state(name, "published").await.unwrap();
    }
    let read = line.until("queue.f/b", |queue| queue.is_some()).await.unwrap().unwrap();
    assert_eq!((&read["package"]["description"], &read["package"]["score"]), (&json!("cut \u{FFFD}"), &json!(null)));
    let letters = line.stored(StreamName::Dead).await.unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.header("Reason").unwrap()).collect();
    assert_eq!(letters.len(), 2, "{reasons:?}");
    assert!(reasons[0].contains("is not a package name") && reasons[1].contains("at most 64 arrays"), "{reasons:?}");
    // A command too, and another leader reads all that was stored.
    line.command("pause", r#"{"by": "cut \ud83d", "reason": NaN}"#).await.unwrap();
    let paused = line.until("control", |control| control.is_some_and(|control| control["mode"] == "paused"));
    assert_eq!(paused.await.unwrap().unwrap()["by"], "cut \u{FFFD}");
    line.orchestrator.kill().await;
    line.orchestrator = line.line().orchestrator("orchestrator-2", &[]).unwrap();
    line.command("resume", "").await.unwrap();
    line.until("control", |control| control.is_some_and(|control| control["mode"] == "running")).await.unwrap();
    line.announce(r#"{"name": "@f/d"}"#).await.unwrap();
    line.until_state("@f/d", "published").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_comes_twice_counts_once() {
    let mut scene =
        Scene::start(&[Fixture::new("core").script("test", "node -e \"process.exit(1)\"")], &[]).await.unwrap();
    scene.run(1).await.unwrap();
    let first = scene.until_state("@acme/core", "retrying").await;
    let results = scene.messages(StreamName::Results).await.unwrap();
    let (_, body) = results.first().unwrap();
    for _ in 0..5 {
        scene.broker.publish(Message::new("builds.result", body.to_string())).await.unwrap();
    }
    assert!(first.is_ok());
    scene.until_state("@acme/core", "failed").await.unwrap();
    let retries = scene.retries("@acme/core").await.unwrap();
    assert_eq!((retries.failures, retries.attempts.len()), (3, 3), "{retries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_lies_about_its_permit_stops_nobody() {
    let gate = Gate::closed().unwrap();
    let mut scene = Scene::start(&[Fixture::new("core").stops_at(&gate)], &[]).await.unwrap();
    scene.run(1).await.unwrap();
    let held = scene.until_held("@acme/core").await.unwrap();
    let build = held.build_id.to_string();
    scene.until_reached(&gate, 1).await.unwrap();
    let lie = json!({"buildId": build, "attempt": 1, "permit": 0, "permitRevision": 1_u64 << 40,
        "packageName": "@acme/core", "success": false, "outcome": "failed", "error": "a lie", "worker": "nobody",
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:00Z"});
    scene.broker.publish(Message::new("builds.result", lie.to_string())).await.unwrap();
    scene.until_reached(&gate, 2).await.unwrap();
    scene.until_seen("the first build is gone", PATIENCE, || processes_of(&build).is_empty()).await.unwrap();
    gate.open().unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    assert!(scene.permits().await.unwrap().is_empty());
    assert!(scene.plant.orchestrators[0].is_running());
}
