//! What the services say about how they do: over HTTP, and by the stall alarm.
mod scraped;
mod stall;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use packline_broker::{Message, topology};
use packline_service::metric::{self, Kind, METRICS, Metric};
use packline_testkit::process::Process;
use packline_tests::{Bare, Fixture, Gate, PATIENCE, SHORT_CLAIM, Scene};
use serde_json::{Value, json};

use self::scraped::{Scraped, get};

/// Every process of a line on a port of its own.
const SERVED: [(&str, &str); 2] = [("HTTP_ADDR", "127.0.0.1:0"), ("MAX_ATTEMPTS", "1")];

async fn until_ready(process: &Process, ready: Result<(), &str>) {
    let since = Instant::now();
    loop {
        let (status, line) = get(process, "/readyz").await.unwrap();
        match ready {
            Ok(()) if status == 200 => return,
            Err(why) if status == 503 && line.contains(why) => {
                assert_eq!(line.lines().count(), 1, "{line}");
                return;
            }
            _ => {}
        }
        assert!(since.elapsed() < PATIENCE, "{} says {status} {line}", process.name());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What each of these histograms of seconds adds up to is what so many things can have taken since then.
fn add_up(said: &Scraped, since: Instant, names: &[&str]) {
    for name in names {
        let (total, count) = (said.total(name), said.value(name, &[]).unwrap_or(0.0));
        let most = count * since.elapsed().as_secs_f64();
        assert!(total > 0.0 && total <= most, "{name}: {count} took {total} s, at most {most} s:\n{}", said.text);
    }
}

/// All that is said stands in the table, as the type that the table says.
fn is_by_the_table(said: &Scraped) {
    let types: BTreeMap<&str, &str> = said
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .filter(|(name, _)| name.starts_with("packline_"))
        .collect();
    assert!(types.len() >= 2, "{}", said.text);
    for (name, kind) in types {
        let metric: &Metric = METRICS.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}"));
        let expected = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(kind, expected, "{name}");
        assert!(said.text.contains(&format!("# HELP {name} {}", metric.help)), "{name}");
    }
    for sample in said.samples.iter().filter(|sample| sample.metric.starts_with("packline_")) {
        for label in sample.labels.keys() {
            let known = METRICS.iter().any(|metric| {
                sample.metric.starts_with(metric.name) && (metric.labels.contains(&label.as_str()) || label == "le")
            });
            assert!(known, "{}: {label}", sample.metric);
        }
    }
    assert!(said.is_over("process_resident_memory_bytes", 0.0), "{}", said.text);
    assert!(said.is(metric::BUILD_INFO, &[], 1.0), "{}", said.text);
    for acme in ["acme", "worker-1"] {
        assert!(!said.text.contains(acme), "a series for each package or worker: {}", said.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_counts_what_it_does_as_prometheus_reads_it() {
    let packages =
        [Fixture::new("core"), Fixture::new("app").needs("core"), Fixture::new("broken").script("test", "exit 1")];
    let since = Instant::now();
    let mut scene = Scene::start(&packages, &SERVED).await.unwrap();
    scene.run(1).await.unwrap();
    scene.announce(r#"{"name": "../evil"}"#).await.unwrap();
    scene.until_state("@acme/app", "published").await.unwrap();
    scene.until_state("@acme/broken", "failed").await.unwrap();
    let settled = |said: &Scraped| {
        said.is(metric::QUEUE, &[("state", "published")], 2.0) && said.is(metric::QUEUE, &[("state", "failed")], 1.0)
    };
    let said = Scraped::until(&scene.plant.orchestrators[0], "the queue is shown", settled).await.unwrap();
    is_by_the_table(&said);
    said.shows(&[
        (metric::QUEUE, &[], 3.0),
        (metric::PERMITS, &[], 0.0),
        (metric::LIMIT, &[], 4.0),
        (metric::SLOTS, &[], 2.0),
        (metric::LEADER, &[], 1.0),
        (metric::TERM, &[], 1.0),
        (metric::CONNECTED, &[], 1.0),
        (metric::ATTEMPTS, &[], 3.0),
        (metric::ENDED, &[("outcome", "published"), ("phase", "none")], 2.0),
        (metric::ENDED, &[("outcome", "failed"), ("phase", "test")], 1.0),
        (metric::ATTEMPT_TIME, &[("outcome", "published")], 2.0),
        (metric::WAIT, &[], 3.0),
        (metric::DEAD_LETTERS, &[("reason", "packages")], 1.0),
    ]);
    let commits = said.value(metric::COMMITS, &[]).unwrap();
    assert!(commits >= 3.0, "{commits}");
    add_up(&said, since, &[metric::COMMIT_TIME, metric::WAIT, metric::ATTEMPT_TIME]);
    // Each of three packages is queued, granted and ended.
    assert!(said.total(metric::COMMIT_RECORDS) >= 9.0, "{}", said.text);
    for name in [metric::COMMIT_RECORDS, metric::COMMIT_TIME] {
        assert!(said.is(name, &[], commits), "{name}:\n{}", said.text);
    }
    let last = scene.leader().await.unwrap().commit;
    let renewed = |leader: Option<&Value>| leader.is_some_and(|leader| leader["commit"].as_u64() > Some(last + 3));
    scene.until("leader", renewed).await.unwrap();
    let said = Scraped::by(&scene.plant.orchestrators[0]).await.unwrap();
    assert!(said.is(metric::COMMITS, &[], commits), "a lease that is renewed counts as a commit:\n{}", said.text);

    let said = Scraped::by(&scene.plant.workers[0]).await.unwrap();
    is_by_the_table(&said);
    said.shows(&[
        (metric::BUILDS, &[("outcome", "published"), ("phase", "none")], 2.0),
        (metric::BUILDS, &[("outcome", "failed"), ("phase", "test")], 1.0),
        (metric::BUILD_TIME, &[], 3.0),
        (metric::PHASE_TIME, &[("phase", "publish"), ("status", "passed")], 2.0),
        (metric::PHASE_TIME, &[("phase", "test"), ("status", "failed")], 1.0),
        (metric::WORKER_SLOTS, &[], 2.0),
        (metric::WORKER_BUILDS, &[], 0.0),
    ]);
    add_up(&said, since, &[metric::BUILD_TIME, metric::PHASE_TIME]);

    let poller = &scene.plant.pollers[0];
    let said = Scraped::until(poller, "the poll is shown", |said| said.is_over(metric::LAST_POLL, 0.0)).await.unwrap();
    is_by_the_table(&said);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let last = said.value(metric::LAST_POLL, &[]).unwrap();
    assert!((now - PATIENCE.as_secs_f64()..=now).contains(&last), "{last} is not shortly before {now}");
    assert!(said.value(metric::POLLS, &[("result", "ok")]) >= Some(1.0), "{}", said.text);
    said.shows(&[(metric::POLLED, &[], 3.0), (metric::LEADER, &[], 1.0), (metric::TERM, &[], 1.0)]);

    let settings = [("DATABASE", scene.plant.folder().join("catalogue.db").display().to_string())];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let settings = [&settings[..], &[("MCP_HTTP_ADDR", "127.0.0.1:0")]].concat();
    let catalogue = scene.plant.line().start("packages-api", "catalogue", &settings).unwrap();
    until_ready(&catalogue, Ok(())).await;
    let shown = |said: &Scraped| said.is(metric::CATALOGUE, &[("status", "failed")], 1.0);
    let said = Scraped::until(&catalogue, "the failure is reported", shown).await.unwrap();
    is_by_the_table(&said);
    said.shows(&[(metric::CATALOGUE, &[], 3.0)]);
    for process in [&scene.plant.orchestrators[0], &scene.plant.workers[0], poller, &catalogue] {
        until_ready(process, Ok(())).await;
        assert_eq!(get(process, "/livez").await.unwrap(), (200, "ok\n".to_owned()));
        assert_eq!(get(process, "/elsewhere").await.unwrap().0, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_ready_only_while_it_reaches_the_broker_and_live_all_the_same() {
    let settings = [&SERVED[..], &[("LEASE", "1s")]].concat();
    let mut scene = Scene::start(&[Fixture::new("core")], &settings).await.unwrap();
    scene.run(1).await.unwrap();
    scene.plant.add_orchestrator().unwrap();
    scene.plant.add_poller().unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    let plant = &mut scene.plant;
    let services = || plant.orchestrators.iter().chain(&plant.pollers).chain(&plant.workers);
    for process in services() {
        until_ready(process, Ok(())).await;
    }
    plant.broker.kill().await;
    let since = Instant::now();
    for process in services() {
        until_ready(process, Err("it is not connected to the broker")).await;
        Scraped::by(process).await.unwrap().shows(&[(metric::CONNECTED, &[], 0.0)]);
    }
    // longer than an orchestrator may go without a turn while there is a broker
    tokio::time::sleep_until((since + Duration::from_secs(12)).into()).await;
    for process in services() {
        assert_eq!(get(process, "/livez").await.unwrap().0, 200, "to be restarted would not help {}", process.name());
    }
    plant.broker.restart().await.unwrap();
    let plant = &scene.plant;
    for process in plant.orchestrators.iter().chain(&plant.pollers).chain(&plant.workers) {
        until_ready(process, Ok(())).await;
        assert_eq!(get(process, "/livez").await.unwrap().0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_broker_stores_nothing_more_is_live_and_not_ready() {
    let settings = [&SERVED[..], &[("LEASE", "1s")]].concat();
    let line = Bare::start(&settings).await.unwrap();
    until_ready(&line.orchestrator, Ok(())).await;
    // the connection stays, and reads are answered
    set_limits(&line, &json!({"max_bytes": 1, "discard": "new"})).await;
    let age = |line: &str| line.strip_prefix("its lease was last confirmed ")?.split(' ').next()?.parse::<u64>().ok();
    // longer than an orchestrator may go without a turn
    let since = Instant::now();
    loop {
        let (_, said) = get(&line.orchestrator, "/readyz").await.unwrap();
        if age(&said) > Some(11) {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Scraped::by(&line.orchestrator).await.unwrap().shows(&[(metric::CONNECTED, &[], 1.0)]);
    assert_eq!(get(&line.orchestrator, "/livez").await.unwrap().0, 200, "to be restarted would not help");
    set_limits(&line, &json!({"max_bytes": -1})).await;
    until_ready(&line.orchestrator, Ok(())).await;
}

/// Changes the stream behind the bucket of the orchestrator.
async fn set_limits(line: &Bare, limits: &Value) {
    let ask = async |what: &str, body: String| -> Value {
        let answer = line.broker.ask(&format!("$JS.API.STREAM.{what}.KV_orchestrator"), body).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    };
    let mut found = ask("INFO", String::new()).await;
    let config = found.get_mut("config").and_then(Value::as_object_mut).unwrap();
    config.extend(limits.as_object().unwrap().clone());
    let answer = ask("UPDATE", json!(config).to_string()).await;
    assert_eq!(answer.get("error"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_lost_worker_counts_and_the_build_after_it_is_no_first_one() {
    let gate = Gate::closed().unwrap();
    let settings = [&SERVED[..], &[SHORT_CLAIM]].concat();
    let mut scene = Scene::start(&[Fixture::new("core").stops_at(&gate)], &settings).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_obeyed(Duration::from_secs(6), 1).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();
    let building = |said: &Scraped| said.is(metric::QUEUE, &[("state", "building")], 1.0);
    let said = Scraped::until(&scene.plant.orchestrators[0], "it is building", building).await.unwrap();
    said.shows(&[(metric::PERMITS, &[], 1.0), (metric::QUEUE, &[], 1.0)]);
    Scraped::by(&scene.plant.workers[0]).await.unwrap().shows(&[(metric::WORKER_BUILDS, &[], 1.0)]);
    scene.plant.workers[0].kill().await;
    let lost = [("outcome", "workerLost")];
    let orchestrator = &scene.plant.orchestrators[0];
    let said =
        Scraped::until(orchestrator, "the worker is lost", |said| said.is(metric::ENDED, &lost, 1.0)).await.unwrap();
    said.shows(&[(metric::ATTEMPT_TIME, &lost, 1.0), (metric::PERMITS, &[], 0.0)]);
    gate.open().unwrap();
    scene.plant.add_worker(2).unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    let published = [("outcome", "published")];
    let orchestrator = &scene.plant.orchestrators[0];
    let said =
        Scraped::until(orchestrator, "it is published", |said| said.is(metric::ENDED, &published, 1.0)).await.unwrap();
    said.shows(&[(metric::ATTEMPTS, &[], 2.0), (metric::ENDED, &[], 2.0), (metric::WAIT, &[], 1.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_counted_by_what_each_package_waits_for() {
    let line = Bare::start(&[SERVED[0]]).await.unwrap();
    let packages = json!([{"name": "free"}, {"name": "needy", "dependencies": ["free"]},
        {"name": "a", "dependencies": ["b"]}, {"name": "b", "dependencies": ["a"]}]);
    line.broker.publish(Message::json(topology::packages_new(), &packages)).await.unwrap();
    let counted = |said: &Scraped| said.is(metric::QUEUE, &[], 4.0);
    let said = Scraped::until(&line.orchestrator, "all are counted", counted).await.unwrap();
    said.shows(&[
        (metric::QUEUE, &[("state", "ready")], 1.0),
        (metric::QUEUE, &[("state", "blocked")], 1.0),
        (metric::QUEUE, &[("state", "unresolvable")], 2.0),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_that_has_not_polled_yet_says_so() {
    let line = Bare::start(&[]).await.unwrap();
    let settings = [SERVED[0], ("MCP_COMMAND", "sleep 600")];
    let poller = line.line().poller("poller", &settings).unwrap();
    let said = Scraped::until(&poller, "it is active", |said| said.is(metric::LEADER, &[], 1.0)).await.unwrap();
    said.shows(&[(metric::LAST_POLL, &[], 0.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_ready_counts_nothing_and_leads_when_the_leader_is_gone() {
    let mut scene = Scene::start(&[Fixture::new("core")], &SERVED).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    scene.plant.add_orchestrator().unwrap();
    let [leader, standby] = &scene.plant.orchestrators[..] else { panic!("two orchestrators") };
    until_ready(standby, Ok(())).await;
    let said = Scraped::by(standby).await.unwrap();
    for name in [metric::LEADER, metric::QUEUE, metric::PERMITS, metric::LIMIT, metric::SLOTS] {
        said.shows(&[(name, &[], 0.0)]);
    }
    Scraped::until(leader, "the leader leads", |said| said.is_over(metric::LEADER, 0.0)).await.unwrap();
    leader.kill().await;
    let leads = |said: &Scraped| said.is_over(metric::TERM, 1.0) && said.is_over(metric::QUEUE, 0.0);
    let said = Scraped::until(standby, "the standby leads", leads).await.unwrap();
    said.shows(&[(metric::LEADER, &[], 1.0)]);
    until_ready(standby, Ok(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_addr_that_cannot_be_used_is_one_line_and_exit_status_2() {
    let scene = Scene::start(&[Fixture::new("core")], &[]).await.unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = held.local_addr().unwrap().to_string();
    for program in ["orchestrator", "poller", "builder-worker", "packages-api"] {
        let process = scene.plant.line().start(program, program, &[("HTTP_ADDR", &held)]).unwrap();
        let ended = tokio::time::timeout(PATIENCE, process.exited()).await.unwrap();
        let printed = process.printed();
        assert_eq!(ended.code(), Some(2), "{program}: {printed}");
        assert!(printed.contains(&format!("HTTP_ADDR: failed to listen on {held}")), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
    }
}
