//! Nothing starts after a pause is complete.
use std::time::{Duration, Instant};

use packline_broker::{BucketName, StreamName, Watch, Watched};
use packline_domain::{BuildResult, record::Control};
use packline_testkit::campaign;
use packline_tests::{Bare, PATIENCE};

const PACKAGES: usize = 12;

/// Waits for a value of `control`; answers the revision that it was written with.
async fn until(control: &mut Watch, wanted: impl Fn(&Control) -> bool) -> u64 {
    let found = async {
        loop {
            if let Watched::Entry(entry) = control.next().await
                && let Some(value) = entry.value
                && wanted(&serde_json::from_slice(&value).unwrap())
            {
                return entry.revision;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the command is applied")
}

async fn some_time(most: Duration) {
    tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
}

/// How many orders were withdrawn so far because nobody had taken them.
async fn withdrawn(line: &Bare) -> usize {
    line.until_out().await.unwrap();
    line.events().await.unwrap().iter().filter(|event| event.kind == "returned").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_after_a_complete_pause_in_any_round() {
    let rounds = campaign::size(50, 200);
    let mut line = Bare::start(&[("MAX_CONCURRENT", "16")]).await.unwrap();
    for _ in 0..2 {
        line.add_worker(8).unwrap();
    }
    let mut control = line.broker.bucket(BucketName::Orchestrator).watch("control");
    line.announce(r#"{"name": "@acme/first"}"#).await.unwrap();
    line.until_state("@acme/first", "published").await.unwrap();

    let started = Instant::now();
    let mut closed = Vec::new();
    // Goes on until a pause has met an order that nobody had taken: without one the test shows nothing.
    while closed.len() < rounds || withdrawn(&line).await == 0 && closed.len() < 20 * rounds {
        let round = closed.len();
        let said = |word: &str| format!("{word} {round}");
        let packages: Vec<String> = (0..PACKAGES).map(|n| format!(r#"{{"name": "@acme/p{round}-{n}"}}"#)).collect();
        line.announce(format!("[{}]", packages.join(", "))).await.unwrap();
        // Anywhere in the middle of them.
        some_time(Duration::from_millis(40)).await;
        line.command("pause", format!(r#"{{"reason": "{}"}}"#, said("pause"))).await.unwrap();
        let paused =
            until(&mut control, |control| control.origin.reason == Some(said("pause")) && control.complete).await;
        // Whatever would start wrongly has a moment to do so.
        some_time(Duration::from_millis(10)).await;
        line.command("resume", format!(r#"{{"reason": "{}"}}"#, said("resume"))).await.unwrap();
        let resumed = until(&mut control, |control| control.origin.reason == Some(said("resume"))).await;
        closed.push((paused, resumed));
    }
    let rounds = closed.len();
    println!("{rounds} rounds took {:?}", started.elapsed());
    let (all, since) = (rounds * PACKAGES + 1, Instant::now());
    while line.ask("orchestrator.state", "").await.unwrap()["counts"]["published"] != all {
        assert!(since.elapsed() < 2 * PATIENCE, "{}", line.logs());
        some_time(Duration::from_millis(100)).await;
    }
    println!("all is built after {:?}", started.elapsed());

    // The last write of a worker to its permit was its claim: it wrote nothing to publish.
    let mut claims = Vec::new();
    for message in line.stored(StreamName::Results).await.unwrap() {
        claims.push(serde_json::from_slice::<BuildResult>(&message.payload).unwrap().permit_revision);
    }
    assert!(claims.len() >= all, "{}", claims.len());
    for (paused, resumed) in &closed {
        let wrong: Vec<_> = claims.iter().filter(|claim| (paused..resumed).contains(claim)).collect();
        assert!(wrong.is_empty(), "taken at {wrong:?}, between {paused} and {resumed}");
    }
    line.until_out().await.unwrap();
    let (mut pauses, mut running) = (0, true);
    for event in line.events().await.unwrap() {
        match event.kind.as_str() {
            "paused" => (pauses, running) = (pauses + 1, false),
            "resumed" => running = true,
            "started" => assert!(running, "{event:?}"),
            _ => {}
        }
    }
    let withdrawn = withdrawn(&line).await;
    println!("{withdrawn} orders were withdrawn in {pauses} pauses");
    assert_eq!(pauses, rounds);
    assert!(withdrawn > 0, "no pause met an order that nobody had taken");
}
