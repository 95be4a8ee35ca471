//! Peers that nobody here wrote announce packages, command, and read records: nats-py and the `nats` tool.
use packline_broker::BucketName;
use packline_domain::record::State;
use packline_tests::{Bare, Console, NatsPy, NatsTool, PATIENCE};
use serde_json::{Value, json};

/// A value as our own client reads it.
async fn record(console: &Console, key: &str) -> Value {
    let entry = console.broker.bucket(BucketName::Orchestrator).get(key).await.unwrap();
    serde_json::from_slice(&entry.unwrap().value.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_that_nats_py_announces_are_built_and_it_reads_the_records_back() {
    let mut line = Bare::start(&[]).await.unwrap();
    line.add_worker(2).unwrap();
    let python = NatsPy::at(&line.server.url()).await.unwrap();
    let announce = |body: Value| json!(["publish", "packages.new", body.to_string()]);
    let one = json!({"name": "@acme/core", "priority": 100, "dependencies": ["@acme/base"], "ref": "main"});
    let array = json!([{"name": "@acme/base", "category": "utils", "id": "P7"}, {"name": "lodash.merge"}]);
    let poll = json!({"polledAt": "2026-01-01T00:00:00Z", "reportedThrough": 0, "packages": [{"name": "polled"}]});
    let acked = python.run(&[announce(one.clone()), announce(array), announce(poll)]).await.unwrap();
    assert_eq!(acked[0], json!({"stream": "PACKAGES", "sequence": 1}));
    assert_eq!(acked[2]["sequence"], 3);

    for package in ["@acme/core", "@acme/base", "lodash.merge", "polled"] {
        line.until_state(package, "published").await.unwrap();
    }
    let get = |key: &str| json!(["get", "orchestrator", key]);
    let keys = ["queue.acme/core", "queue.acme/base", "queue.lodash=2Emerge", "control", "leader"];
    let mut read = python.run(&keys.map(get)).await.unwrap();
    for (read, key) in read.iter_mut().zip(keys) {
        let value: Value = serde_json::from_str(read["value"].as_str().unwrap()).unwrap();
        if key != "leader" {
            assert_eq!(value, record(&line, key).await, "{key}");
        }
        *read = value;
    }
    assert_eq!(
        (&read[0]["package"]["ref"], &read[0]["package"]["priority"], &read[0]["state"]),
        (&json!("main"), &json!(100), &json!("published"))
    );
    assert_eq!((&read[1]["package"]["category"], &read[1]["package"]["id"]), (&json!("utils"), &json!("P7")));
    assert_eq!(read[2]["package"]["name"], "lodash.merge");
    assert_eq!((&read[3]["mode"], &read[3]["maxConcurrent"]), (&json!("running"), &json!(4)));
    assert_eq!(read[4]["positions"]["PACKAGES"]["sequence"], 3);
    assert!(read[4]["holder"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nats_py_announces_as_a_poll_obeys_the_rules_of_a_poll() {
    let line = Bare::start(&[]).await.unwrap();
    let python = NatsPy::at(&line.server.url()).await.unwrap();
    let announce = |body: Value| json!(["publish", "packages.new", body.to_string()]);
    python.run(&[announce(json!({"name": "@acme/core"}))]).await.unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
    python.run(&[json!(["publish", "control.cancel", "acme/core"])]).await.unwrap();
    line.until_state("@acme/core", "cancelled").await.unwrap();
    let poll = json!({"reportedThrough": 1_000_000, "packages": [{"name": "@acme/core"}, {"name": "@acme/other"}]});
    python.run(&[announce(poll)]).await.unwrap();
    line.until_state("@acme/other", "queued").await.unwrap();
    assert!(matches!(line.until_state("@acme/core", "cancelled").await.unwrap().state, State::Cancelled { .. }));
    python.run(&[announce(json!({"name": "@acme/core"}))]).await.unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_work_with_the_real_tool() {
    // A worker that is frozen for as long as a command of the tool takes on a busy machine is not lost.
    let mut line = Bare::start(&[("CLAIM", "5m")]).await.unwrap();
    let Some(nats) = NatsTool::at(&line.server.url()).await.unwrap() else { return };
    line.add_worker(2).unwrap();
    nats.run(&["pub", "packages.new", r#"{"name": "@acme/base"}"#]).await.unwrap();
    line.until_state("@acme/base", "published").await.unwrap();

    let package = r#"{"name": "@acme/core", "priority": 100, "dependencies": ["@acme/base"]}"#;
    line.workers[0].freeze();
    nats.run(&["pub", "packages.new", package]).await.unwrap();
    line.until_state("@acme/core", "building").await.unwrap();
    assert_eq!(nats.run(&["kv", "ls", "orchestrator", "permits.*"]).await.unwrap().trim(), "permits.0");
    let permit = nats.json(&["kv", "get", "--raw", "orchestrator", "permits.0"]).await.unwrap();
    assert_eq!((&permit["packageName"], permit.get("worker")), (&json!("@acme/core"), None));
    // The order follows the commit that granted the permit; with it goes that of the build that is over.
    let cleared = async {
        loop {
            let builds = nats.json(&["stream", "info", "BUILDS", "--json"]).await.unwrap();
            if builds["state"]["first_seq"] == 2 {
                return builds;
            }
        }
    };
    let builds = tokio::time::timeout(PATIENCE, cleared).await.expect("the order of a build that is over stays");
    assert_eq!(builds["state"]["messages"], 1, "one build is handed out and unfinished: {builds}");
    line.workers[0].thaw();
    line.until_state("@acme/core", "published").await.unwrap();

    let queue = nats.json(&["kv", "get", "--raw", "orchestrator", "queue.acme/core"]).await.unwrap();
    assert_eq!(queue, record(&line, "queue.acme/core").await);
    let retries = nats.json(&["kv", "get", "--raw", "orchestrator", "retries.acme/core"]).await.unwrap();
    assert_eq!(retries["attempts"].as_array().unwrap().len(), 1);
    let control = nats.json(&["kv", "get", "--raw", "orchestrator", "control"]).await.unwrap();
    assert_eq!(control["mode"], "running");
    let leader = nats.json(&["kv", "get", "--raw", "orchestrator", "leader"]).await.unwrap();
    assert_eq!(leader["positions"]["PACKAGES"]["sequence"], 2);
    let listed = nats.run(&["kv", "ls", "orchestrator"]).await.unwrap();
    for key in ["control", "leader", "queue.acme/base", "queue.acme/core"] {
        assert!(listed.lines().any(|line| line.trim() == key), "{key} in {listed}");
    }
    let info = nats.json(&["consumer", "info", "PACKAGES", "orchestrator", "--json"]).await.unwrap();
    assert_eq!((&info["name"], &info["num_pending"]), (&json!("orchestrator"), &json!(0)), "all is queued: {info}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_questions_work_with_the_real_tool() {
    let line = Bare::start(&[]).await.unwrap();
    let Some(nats) = NatsTool::at(&line.server.url()).await.unwrap() else { return };
    nats.run(&["pub", "control.pause", ""]).await.unwrap();
    line.until("control", |control| control.is_some_and(|control| control["mode"] == "paused")).await.unwrap();
    nats.run(&["pub", "packages.new", r#"[{"name": "@acme/core"}, {"name": "@acme/../etc"}]"#]).await.unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
    nats.run(&["pub", "control.cancel", "acme/core"]).await.unwrap();
    line.until_state("@acme/core", "cancelled").await.unwrap();
    nats.run(&["pub", "control.requeue", r#""@acme/core""#]).await.unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
    nats.run(&["pub", "control.adjust-concurrency", "8"]).await.unwrap();
    line.until("control", |control| control.is_some_and(|control| control["maxConcurrent"] == 8)).await.unwrap();
    let state = nats.json(&["req", "orchestrator.state", "", "--raw"]).await.unwrap();
    assert_eq!((&state["mode"], &state["counts"]["ready"]), (&json!("paused"), &json!(1)), "{state}");
    let dead = nats.json(&["stream", "info", "DEAD", "--json"]).await.unwrap();
    assert_eq!(dead["state"]["messages"], 1, "the hostile one of the two: {dead}");
    nats.run(&["pub", "control.resume", ""]).await.unwrap();
    line.until("control", |control| control.is_some_and(|control| control["mode"] == "running")).await.unwrap();
    let micro = nats.run(&["micro", "info", "orchestrator"]).await.unwrap();
    for question in ["state", "queue", "why", "history"] {
        assert!(micro.contains(&format!("orchestrator.{question}")), "{micro}");
    }
    let why = nats.json(&["req", "orchestrator.why", "acme/core", "--raw"]).await.unwrap();
    assert_eq!(why["reasons"][0]["kind"], "noWorker", "{why}");
    let queue = nats.json(&["req", "orchestrator.queue", "", "--raw"]).await.unwrap();
    assert_eq!(queue["packages"][0]["packageName"], "@acme/core", "{queue}");
    let history = nats.json(&["req", "orchestrator.history", "acme/core", "--raw"]).await.unwrap();
    assert_eq!(history["attempts"], json!([]), "{history}");
}

/// The tool collects answers for all of its timeout.
const WAITS: &str = "--timeout=10s";

#[tokio::test(flavor = "multi_thread")]
async fn the_micro_commands_of_the_real_tool_see_the_service() {
    let line = Bare::start(&[]).await.unwrap();
    let Some(nats) = NatsTool::at(&line.server.url()).await.unwrap() else { return };
    for _ in 0..3 {
        nats.run(&["req", "orchestrator.state", "", "--raw"]).await.unwrap();
    }
    let listed = nats.run(&["micro", "ls", "orchestrator"]).await.unwrap();
    assert!(listed.contains("orchestrator") && listed.contains(env!("CARGO_PKG_VERSION")), "{listed}");
    let ping = nats.run(&["micro", "ping", "orchestrator", WAITS]).await.unwrap();
    assert!(ping.contains("orchestrator"), "{ping}");
    let stats = nats.run(&["micro", "stats", "orchestrator", WAITS]).await.unwrap();
    let state = stats.lines().find(|line| line.contains("state")).unwrap_or_else(|| panic!("{stats}"));
    assert!(state.contains('3'), "three questions were asked: {stats}");
    let info = nats.run(&["micro", "info", "orchestrator"]).await.unwrap();
    assert!(info.contains("orchestrator.history"), "{info}");
}
