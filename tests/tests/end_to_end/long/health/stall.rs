//! The stall alarm: an operator is told when work could start and nothing moves.

use std::time::{Duration, Instant};

use packline_broker::StreamName;
use packline_domain::{
    Mode,
    answer::{Stall, State},
};
use packline_service::metric;
use packline_tests::{Bare, PATIENCE};
use serde_json::{Value, json};

use super::scraped::Scraped;

/// Asks until it is so.
async fn until(line: &Bare, what: &str, so: impl Fn(&State) -> bool) -> State {
    let since = Instant::now();
    loop {
        let answer = line.ask("orchestrator.state", "").await.unwrap();
        let state: State = serde_json::from_value(answer).unwrap();
        if so(&state) {
            return state;
        }
        assert!(since.elapsed() < PATIENCE, "{what}: {state:#?}\n{}", line.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The events that tell of stalls.
async fn alarms(line: &Bare) -> Vec<(String, String)> {
    let events = line.messages(StreamName::Events).await.unwrap();
    let alarms = events.into_iter().filter(|(subject, _)| subject.starts_with("events.stall"));
    alarms.map(|(subject, event)| (subject, event["message"].as_str().unwrap().to_owned())).collect()
}

async fn until_alarms(line: &Bare, count: usize) -> Vec<(String, String)> {
    let since = Instant::now();
    loop {
        let alarms = alarms(line).await;
        if alarms.len() >= count {
            return alarms;
        }
        assert!(since.elapsed() < PATIENCE, "{alarms:?}\n{}", line.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A request to the broker's own interface, as the `nats` tool makes them.
async fn request(line: &Bare, subject: &str, body: Value) -> Value {
    let answer: Value = serde_json::from_slice(&line.broker.ask(subject, body.to_string()).await.unwrap()).unwrap();
    assert_eq!(answer.get("error"), None, "{answer}");
    answer
}

fn errors(line: &Bare) -> usize {
    let printed = line.orchestrator.printed();
    printed.lines().filter(|line| line.contains("ERROR") && line.contains("stalled: ")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_no_worker_takes_for_thirty_seconds_raise_the_alarm_once_and_it_ends() {
    let mut line = Bare::start(&[("HTTP_ADDR", "127.0.0.1:0")]).await.unwrap();
    line.add_worker(2).unwrap();
    Scraped::by(&line.orchestrator).await.unwrap().shows(&[(metric::STALLED, &[], 0.0)]);
    until(&line, "a worker lives", |state| state.slots == 2).await;
    // An operator has paused the consumer of the orders.
    let pause = "$JS.API.CONSUMER.PAUSE.BUILDS.builders";
    request(&line, pause, json!({"pause_until": "2999-01-01T00:00:00Z"})).await;
    let announced = Instant::now();
    line.announce(r#"{"name": "@acme/core"}"#).await.unwrap();
    line.until_state("@acme/core", "building").await.unwrap();
    let state = until(&line, "the alarm", |state| state.stalled.is_some()).await;
    assert!(announced.elapsed() > Duration::from_secs(29), "{:?}", announced.elapsed());
    let stalled = state.stalled.unwrap();
    assert_eq!(stalled.kind, Stall::NotTaken);
    assert!(stalled.text.contains("1 build is handed out, first that of @acme/core"), "{}", stalled.text);
    let raised = until_alarms(&line, 1).await;
    assert_eq!(raised, [("events.stalled".to_owned(), stalled.text)]);
    assert_eq!(errors(&line), 1, "{}", line.orchestrator.last_lines(20));
    let is = |stalled: f64| move |said: &Scraped| said.is(metric::STALLED, &[], stalled);
    Scraped::until(&line.orchestrator, "the metric says so", is(1.0)).await.unwrap();

    request(&line, pause, json!({})).await;
    line.until_state("@acme/core", "published").await.unwrap();
    until(&line, "it is over", |state| state.stalled.is_none()).await;
    Scraped::until(&line.orchestrator, "the metric says so", is(0.0)).await.unwrap();
    let alarms = until_alarms(&line, 2).await;
    assert_eq!(alarms[1].0, "events.stallEnded");
    assert!(alarms[1].1.starts_with("the stall is over after "), "{alarms:?}");
    assert_eq!((alarms.len(), errors(&line)), (2, 1), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_could_start_and_does_not_for_thirty_seconds_raises_the_alarm_with_its_cause() {
    let mut line = Bare::start(&[("MAX_CONCURRENT", "100"), ("HTTP_ADDR", "127.0.0.1:0")]).await.unwrap();
    line.add_worker(100).unwrap();
    until(&line, "a worker lives", |state| state.slots == 100).await;
    line.command("pause", "").await.unwrap();
    until(&line, "it is paused", |state| state.mode == Mode::Paused && state.complete).await;
    // Somebody has deleted the stream of the events: what commits imply is stored nowhere, and piles up.
    request(&line, "$JS.API.STREAM.DELETE.EVENTS", json!({})).await;
    for i in 0..80 {
        let name = format!("@acme/p{i}");
        line.announce(json!({"name": name}).to_string()).await.unwrap();
        // One commit each, until nothing more is taken.
        let queued = line.until_state(&name, "queued");
        if tokio::time::timeout(Duration::from_secs(15), queued).await.is_err() {
            break;
        }
    }
    line.command("resume", "").await.unwrap();
    let state = until(&line, "the alarm", |state| state.stalled.is_some()).await;
    let stalled = state.stalled.clone().unwrap();
    assert_eq!(stalled.kind, Stall::NotStarted, "{stalled:?}");
    assert!(stalled.text.contains("the broker does not store what earlier commits are to send"), "{}", stalled.text);
    assert!(state.counts.ready > 0 && state.slots == 100, "{state:#?}");
    assert_eq!(errors(&line), 1);

    // Operators are heard all the same.
    line.command("pause", r#"{"by": "ada"}"#).await.unwrap();
    let state = until(&line, "it is paused", |state| state.mode == Mode::Paused).await;
    assert_eq!((state.by.as_deref(), state.stalled), (Some("ada"), None), "nothing is to be started");
    line.command("resume", "").await.unwrap();

    // Somebody makes it anew.
    line.broker.ensure_topology().await.unwrap();
    line.until_state("@acme/p0", "published").await.unwrap();
    let alarms = until_alarms(&line, 2).await;
    let kinds: Vec<_> = alarms.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["events.stalled", "events.stallEnded"], "{alarms:?}");
    until(&line, "it is over", |state| state.stalled.is_none()).await;
}
