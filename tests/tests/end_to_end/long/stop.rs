//! An emergency stop, with builds that will not die and workers that do not hear.
use std::time::{Duration, Instant};

use packline_broker::BucketName;
use packline_domain::{FailureClass, record::Intention};
use packline_testkit::proxy::Proxy;
use packline_tests::{Bare, PATIENCE, Workshop};

const BUILDS: usize = 16;
const CLAIM: Duration = Duration::from_secs(12);

/// Deaf to SIGTERM, with a child, a child in a session of its own, and an orphan without an environment.
const STUBBORN: &str = r#"
trap '' TERM HUP INT
hold="trap '' TERM HUP INT; read -r nothing < \$0"
sh -c "$hold" "$SHOP/never" "$BUILD_ID" &
setsid sh -c "$hold" "$SHOP/never" "$BUILD_ID" &
(setsid env -i sh -c "$hold" "$SHOP/never" "$BUILD_ID" &)
echo "$BUILD_ID" >> "$SHOP/reached"
while [ ! -e "$SHOP/open" ]; do sleep 0.1; done
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_stop_leaves_nothing_of_16_stubborn_builds_also_on_a_frozen_worker_and_on_one_cut_off() {
    let names: Vec<String> = (0..=BUILDS).map(|n| format!("p{n}")).collect();
    let workshop = Workshop::of(names.clone(), STUBBORN).unwrap();
    let made = std::process::Command::new("mkfifo").arg(workshop.folder().join("never")).status().unwrap();
    assert!(made.success());
    let mut line = Bare::start(&[("CLAIM", "12s"), ("MAX_CONCURRENT", "16")]).await.unwrap();
    let proxy = Proxy::start(line.server.port()).await.unwrap();
    for _ in 0..3 {
        line.add_builder(&workshop, 4, &[]).unwrap();
    }
    line.add_builder(&workshop, 4, &[("NATS_URL", &proxy.url())]).unwrap();
    line.until_obeyed(CLAIM, 4).await.unwrap();
    for name in &names[..BUILDS] {
        line.announce(format!(r#"{{"name": "@acme/{name}"}}"#)).await.unwrap();
    }
    let patience = Duration::from_secs(60);
    line.until_seen("all builds", patience, || workshop.lines("reached").len() == BUILDS).await.unwrap();
    // The orphans too.
    let whole = |build: &Vec<i32>| build.len() >= 4;
    line.until_seen("all processes", patience, || workshop.alive().values().filter(|of| whole(of)).count() == BUILDS)
        .await
        .unwrap();

    let silent: Vec<String> = line.workers[2..].iter().map(|worker| worker.printed()).collect();
    let permits = line.held().await.unwrap();
    let (of_silent, of_connected): (Vec<_>, Vec<_>) = permits.into_iter().partition(|permit| {
        let worker = permit.worker.as_deref().unwrap();
        silent.iter().any(|log| log.contains(worker))
    });
    let (of_silent, of_connected) = (ids(&of_silent), ids(&of_connected));
    assert_eq!((of_silent.len(), of_connected.len()), (8, 8));
    let leader = line.leader().await.unwrap();

    line.workers[2].freeze();
    proxy.refuse();
    proxy.cut();
    let commanded = Instant::now();
    let command = line.command("emergency-stop", r#"{"by": "ada", "reason": "fire"}"#).await.unwrap();
    let none_of = |builds: &[String]| {
        let alive = workshop.alive();
        !builds.iter().any(|build| alive.contains_key(build))
    };
    let decided = async {
        line.until_complete(command).await.unwrap();
        Instant::now()
    };
    let dead = async {
        line.until_seen("the end of connected builds", patience, || none_of(&of_connected)).await.unwrap();
        Instant::now()
    };
    let (decided, dead) = tokio::join!(decided, dead);
    println!("no process of a connected worker after {:?}", dead - commanded);
    // How long the broker's disk takes to store a command is not the line's.
    let took = dead.saturating_duration_since(decided);
    assert!(took < Duration::from_secs(2), "{took:?}\n{}", line.logs());
    line.until_seen("the end of all builds", patience, || workshop.alive().is_empty()).await.unwrap();
    let took = commanded.elapsed();
    println!("no process of any worker after {took:?}");
    assert!(took < CLAIM + Duration::from_secs(5), "{took:?}\n{}", line.logs());

    for name in &names[..BUILDS] {
        let name = format!("@acme/{name}");
        line.until_state(&name, "queued").await.unwrap();
        let retries = line.retries(&name).await.unwrap();
        assert_eq!((retries.failures, retries.lost, retries.infrastructure), (0, 0, 0), "{retries:?}");
        assert_eq!(retries.attempts[0].class, Some(FailureClass::Returned));
    }
    assert_eq!(line.held().await.unwrap(), []);

    // All workers are back, and there is one package more: nothing starts all the same.
    line.workers[2].thaw();
    proxy.heal();
    line.announce(format!(r#"{{"name": "@acme/{}"}}"#, names[BUILDS])).await.unwrap();
    line.until_state(&format!("@acme/{}", names[BUILDS]), "queued").await.unwrap();
    let state = loop {
        let state = line.ask("orchestrator.state", "").await.unwrap();
        if state["slots"] == 16 {
            break state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((&state["mode"], &state["by"], &state["reason"]), (&"stopped".into(), &"ada".into(), &"fire".into()));
    assert_eq!((&state["counts"]["ready"], &state["counts"]["building"]), (&17.into(), &0.into()));
    assert_eq!(started(&line).await, BUILDS);
    assert!(line.orchestrator.is_running());
    assert_eq!(line.leader().await.unwrap().term, leader.term, "the orchestrator stayed up");

    workshop.put("open").unwrap();
    line.command("resume", "").await.unwrap();
    for name in &names {
        line.until_state(&format!("@acme/{name}"), "published").await.unwrap();
    }
    assert_eq!(started(&line).await, BUILDS + names.len(), "each once more, and the new one");
    line.until_seen("nothing is left", patience, || workshop.alive().is_empty()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_stop_does_not_wait_for_a_long_announcement_that_is_being_worked_off() {
    const PACKAGES: usize = 12_000;
    let workshop = Workshop::of(["core".to_owned()], "echo core >> \"$SHOP/reached\"; exec sleep 600").unwrap();
    let mut line = Bare::start(&[]).await.unwrap();
    line.add_builder(&workshop, 1, &[]).unwrap();
    line.announce(r#"{"name": "@acme/core"}"#).await.unwrap();
    line.until_seen("a build", PATIENCE, || !workshop.lines("reached").is_empty()).await.unwrap();

    let packages: Vec<_> = (0..PACKAGES).map(|n| serde_json::json!({"name": format!("p{n}")})).collect();
    let long = line.announce(serde_json::json!(packages).to_string()).await.unwrap();
    line.until("intention", |intention| intention.is_some_and(|intention| intention["sequence"] == long))
        .await
        .unwrap();
    let command = line.command("emergency-stop", "").await.unwrap();
    line.until_complete(command).await.unwrap();
    let intention = line.broker.bucket(BucketName::Orchestrator).get("intention").await.unwrap();
    let goes_on = intention.and_then(|entry| entry.value).map(|value| serde_json::from_slice::<Intention>(&value));
    assert_eq!(goes_on.unwrap().unwrap().sequence, long, "the stop is complete, and the announcement goes on");
    line.until_seen("the end of the build", PATIENCE, || workshop.alive().is_empty()).await.unwrap();

    line.until("intention", |intention| intention.is_none()).await.unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
    let state = line.ask("orchestrator.state", "").await.unwrap();
    assert_eq!((&state["mode"], &state["counts"]["ready"]), (&"stopped".into(), &(PACKAGES + 1).into()));
}

fn ids(permits: &[packline_domain::record::Permit]) -> Vec<String> {
    permits.iter().map(|permit| permit.build_id.to_string()).collect()
}

async fn started(line: &Bare) -> usize {
    line.until_out().await.unwrap();
    line.events().await.unwrap().iter().filter(|event| event.kind == "started").count()
}
