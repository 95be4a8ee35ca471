//! docker-compose.yml, as a person uses it: up, the whole job, more workers, a crash, a drain, down.
use std::time::Duration;

use packline_testkit::http::stranger;
use packline_tests::{Console, Container, PATIENCE, Project, left_out};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// What must become of the packages of the sample workspace, and in how many builds.
const OUTCOMES: [(&str, &str, usize); 8] = [
    ("@demo/text", "published", 1),
    ("@demo/case", "published", 1),
    ("@demo/wrap", "published", 3),
    ("@demo/banner", "published", 1),
    ("@demo/roman", "failed", 3),
    ("@demo/clock", "queued", 0),
    // Each needs the other one.
    ("@demo/egg", "published", 1),
    ("@demo/hen", "published", 1),
];

const ORCHESTRATORS: [&str; 2] = ["orchestrator-1", "orchestrator-2"];

/// Programs of others, which end in their own way.
const FOREIGN: [&str; 2] = ["nats", "registry"];
/// The exit status of what did not stop in time.
const KILLED: i64 = 137;

/// What `up` is to bring up, with so many workers.
fn up(workers: &str) -> [&str; 4] {
    ["up", "--detach", "--scale", workers]
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_does_the_whole_job_and_stands_a_scale_a_killed_leader_a_drain_and_a_down() {
    let settings = [("RETRY_BASE", "1s"), ("RETRY_MAX", "2s"), ("LEASE", "3s")];
    let line = match Project::new(&settings).await {
        Ok(line) => line,
        Err(why) => return left_out("the test of docker-compose.yml", &format!("{why:#}").replace('\n', " ")),
    };
    line.compose(&["build"]).await.unwrap();
    line.compose(&up("builder-worker=1")).await.unwrap();
    until_healthy(&line, 7).await;
    for container in line.containers(None).await.unwrap() {
        assert_confined(&container);
    }

    let folder = tempfile::tempdir().unwrap();
    let console = Console::open(&format!("nats://127.0.0.1:{}", line.nats), folder.path()).await.unwrap();
    the_whole_job_is_done(&line, &console).await;

    line.compose(&up("builder-worker=4")).await.unwrap();
    let containers = until_healthy(&line, 10).await;
    assert_eq!(containers.iter().filter(|one| one.service() == "builder-worker").count(), 4);
    until_state(&console, "4 slots", |state| state["slots"] == 4).await;
    line.compose(&["restart", "catalogue", "registry"]).await.unwrap();
    until_healthy(&line, 10).await;

    the_work_of_a_killed_leader_goes_on(&line, &console).await;
    drained_it_stays_drained_until_the_next_up(&line, &console).await;

    line.compose(&["stop"]).await.unwrap();
    for container in line.containers(None).await.unwrap() {
        let (service, ended) = (container.service(), container.ended());
        if FOREIGN.contains(&service) {
            assert!(ended.is_some_and(|status| status != KILLED), "{service}: {}", container.at("/State"));
        } else {
            assert_eq!(ended, Some(0), "{service}: {}", container.at("/State"));
        }
    }
    line.compose(&["down", "--volumes"]).await.unwrap();
    assert_eq!(line.remains().await.unwrap(), "");
}

async fn until_healthy(line: &Project, count: usize) -> Vec<Container> {
    let all = |containers: &[Container]| containers.len() == count && containers.iter().all(Container::is_healthy);
    line.until("all are healthy", None, PATIENCE, all).await.unwrap()
}

/// Nobody outside this machine reaches it, it has no rights, and it can write in its volumes only.
fn assert_confined(container: &Container) {
    let service = container.service();
    let at = |pointer: &str| container.at(&format!("/HostConfig{pointer}"));
    for ports in at("/PortBindings").as_object().into_iter().flat_map(|ports| ports.values()) {
        for port in ports.as_array().unwrap() {
            assert_eq!(port["HostIp"], "127.0.0.1", "{service}");
        }
    }
    assert_eq!(at("/ReadonlyRootfs"), true, "{service}");
    assert_eq!(at("/CapDrop"), &json!(["ALL"]), "{service}");
    assert_eq!(at("/SecurityOpt"), &json!(["no-new-privileges:true"]), "{service}");
    assert_eq!(at("/RestartPolicy/Name"), "on-failure", "{service}");
    let user = container.at("/Config/User").as_str().unwrap();
    assert!(["node", "1000:1000"].contains(&user), "{service} runs as `{user}`");
    assert_eq!(container.at("/Config/StopTimeout"), 40, "{service}");
}

async fn until_state(console: &Console, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let answer = console.broker.ask("orchestrator.state", "").await;
            if let Some(state) = answer.ok().and_then(|answer| serde_json::from_slice::<Value>(&answer).ok())
                && wanted(&state)
            {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

async fn the_whole_job_is_done(line: &Project, console: &Console) {
    for (package, state, builds) in OUTCOMES {
        console.until_state(package, state).await.unwrap();
        assert_eq!(console.results(package).await.unwrap().len(), builds, "{package}");
    }
    let state = until_state(console, "nothing is left to do", |state| state["counts"]["building"] == 0).await;
    for (name, count) in
        [("ready", 0), ("blocked", 1), ("unresolvable", 0), ("retrying", 0), ("published", 6), ("failed", 1)]
    {
        assert_eq!(state["counts"][name], count, "{name} in {state}");
    }
    until_reported(line).await;

    let registry = format!("http://127.0.0.1:{}/@demo%2fbanner", line.registry);
    let published = stranger().get(registry).send().await.unwrap().text().await.unwrap();
    let published: Value = serde_json::from_str(&published).unwrap();
    assert!(published["versions"].as_object().is_some_and(|versions| versions.len() == 1), "{published}");
}

/// Waits until the catalogue has been told every outcome; without its token it says nothing.
async fn until_reported(line: &Project) {
    let url = format!("http://127.0.0.1:{}/mcp", line.catalogue);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "packages_counts", "arguments": {}}});
    let asked = || {
        let request = stranger().post(&url).header("Accept", "application/json, text/event-stream");
        request.header("Content-Type", "application/json").body(call.to_string())
    };
    assert_eq!(asked().send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let reported = async {
        loop {
            let answer = asked().bearer_auth("packline").send().await.unwrap().text().await.unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let counts = &answer["result"]["structuredContent"];
            if (&counts["published"], &counts["failed"]) == (&json!(6), &json!(1)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reported).await.expect("the catalogue is not told every outcome");
}

/// How many builds of a package have ended.
async fn builds_of(console: &Console, package: &str) -> usize {
    console.results(package).await.unwrap().len()
}

/// Announces packages again, as a person does who wants them built again.
async fn announce_again(console: &Console, packages: &[&str]) {
    let packages: Vec<Value> = packages.iter().map(|name| json!({"name": name})).collect();
    console.announce(Value::from(packages).to_string()).await.unwrap();
}

async fn until_built_again(console: &Console, package: &str, before: usize) {
    let built = async {
        while builds_of(console, package).await <= before {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, built).await.unwrap_or_else(|_| panic!("{package} is not built again"));
    console.until_state(package, "published").await.unwrap();
}

async fn the_work_of_a_killed_leader_goes_on(line: &Project, console: &Console) {
    let first = console.leader().await.unwrap();
    let holder = first.holder.clone().unwrap();
    let leads = |one: &&Container| holder.split('-').next().is_some_and(|host| one.id().starts_with(host));
    let all = line.containers(None).await.unwrap();
    let leader = all.iter().find(leads).unwrap();
    assert!(ORCHESTRATORS.contains(&leader.service()), "{holder} leads");

    let packages = ["@demo/text", "@demo/case", "@demo/wrap", "@demo/banner"];
    let mut before = Vec::new();
    for package in packages {
        before.push(builds_of(console, package).await);
    }
    announce_again(console, &packages).await;
    // All but the container's first process, which passes the end on: a crash, as the engine sees it. The shell may
    // be gone before it answers.
    let _ = line.exec(leader, &["sh", "-c", "kill -9 -1"]).await;
    let other = |leader: &Value| leader["holder"].is_string() && leader["holder"] != holder.as_str();
    console.until("leader", |record| record.is_some_and(other)).await.unwrap();
    assert!(console.leader().await.unwrap().term > first.term);
    for (package, before) in packages.into_iter().zip(before) {
        until_built_again(console, package, before).await;
    }
    let is_back = |found: &[Container]| matches!(found, [one] if one.id() == leader.id() && one.at("/RestartCount") == 1 && one.is_healthy());
    line.until("the killed one stands by", Some(leader.service()), PATIENCE, is_back).await.unwrap();
}

async fn drained_it_stays_drained_until_the_next_up(line: &Project, console: &Console) {
    let started: Vec<Value> = starts(line).await;
    console.command("drain", r#"{"by": "ada"}"#).await.unwrap();
    for service in ORCHESTRATORS {
        let is_over = |found: &[Container]| matches!(found, [one] if one.ended() == Some(0));
        line.until("a drained orchestrator ends with 0", Some(service), PATIENCE, is_over).await.unwrap();
    }
    let before = builds_of(console, "@demo/text").await;
    announce_again(console, &["@demo/text"]).await;
    // The engine starts again what it does start again after a tenth of a second; there is nothing to wait for.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(starts(line).await, started, "nobody was started again");
    for container in line.containers(None).await.unwrap() {
        let is_orchestrator = ORCHESTRATORS.contains(&container.service());
        assert_eq!(container.ended(), is_orchestrator.then_some(0), "{}", container.service());
    }
    assert_eq!(builds_of(console, "@demo/text").await, before);

    line.compose(&up("builder-worker=4")).await.unwrap();
    until_built_again(console, "@demo/text", before).await;
    until_healthy(line, 10).await;
}

/// When each orchestrator was last started, and how often again by the engine.
async fn starts(line: &Project) -> Vec<Value> {
    let mut starts = Vec::new();
    for service in ORCHESTRATORS {
        for one in line.containers(Some(service)).await.unwrap() {
            starts.push(json!([one.at("/State/StartedAt"), one.at("/RestartCount")]));
        }
    }
    starts
}
