//! Announcements of every length.

use std::collections::BTreeSet;

use packline_broker::{BucketName, Message, StreamName, topology};
use packline_domain::{PackageStatus, StatusKind};
use packline_tests::{Bare, Console, Fixture, Scene};
use serde_json::{Value, json};

const PACKAGES: usize = 8000;

/// Announces packages in one message, and returns when it has begun; its sequence.
async fn begun(console: &Console, round: usize) -> anyhow::Result<u64> {
    let packages: Vec<_> = (0..PACKAGES).map(|i| json!({"name": format!("@r{round}/p{i}")})).collect();
    let sequence = console.announce(json!(packages).to_string()).await?;
    console
        .until("intention", |intention| intention.is_some_and(|intention| intention["sequence"] == sequence))
        .await?;
    Ok(sequence)
}

/// Waits until all up to this announcement is applied.
async fn applied(console: &Console, sequence: u64) -> anyhow::Result<()> {
    let at = |leader: &Value| leader.pointer("/positions/PACKAGES/sequence").and_then(Value::as_u64);
    console.until("leader", |leader| leader.and_then(at) == Some(sequence)).await.map(drop)
}

/// Kills the leader as soon as a long announcement has begun; whether it was not done.
async fn killed_in_the_middle(scene: &mut Scene, round: usize) -> anyhow::Result<bool> {
    let sequence = begun(scene, round).await?;
    if let Some(leader) = scene.plant.orchestrators.last() {
        leader.kill().await;
    }
    let left = scene.broker.bucket(BucketName::Orchestrator).get("intention").await?;
    scene.plant.add_orchestrator()?;
    applied(scene, sequence).await?;
    Ok(left.is_some_and(|entry| entry.value.is_some()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_longer_than_a_commit_is_queued_whole_although_the_leader_is_killed_in_the_middle() {
    let mut scene = Scene::start(&[Fixture::new("core")], &[]).await.unwrap();
    scene.plant.add_orchestrator().unwrap();
    let mut rounds = 0;
    // A leader that was done before the kill shows nothing: then once more.
    while !killed_in_the_middle(&mut scene, rounds).await.unwrap() {
        rounds += 1;
        assert!(rounds < 10, "no kill came in the middle");
    }
    assert_eq!(scene.until("intention", |intention| intention.is_none()).await.unwrap(), None);
    let queued = scene.broker.bucket(BucketName::Orchestrator).load("queue.>", 0).await.unwrap();
    assert_eq!(queued.len(), PACKAGES * (rounds + 1));
    let arrival = |value: &[u8]| serde_json::from_slice::<Value>(value).ok()?["arrival"].as_u64();
    let arrivals: BTreeSet<_> = queued.iter().filter_map(|entry| arrival(entry.value.as_ref()?)).collect();
    assert_eq!(arrivals.len(), queued.len(), "each once, in a place of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_made_anew_holds_is_no_rest_of_an_announcement_of_before() {
    let mut line = Bare::start(&[]).await.unwrap();
    let intention = line.broker.bucket(BucketName::Orchestrator);
    let mut sequence = 0;
    for round in 0..10 {
        sequence = begun(&line, round).await.unwrap();
        line.orchestrator.kill().await;
        if intention.get("intention").await.unwrap().is_some_and(|entry| entry.value.is_some()) {
            break;
        }
        line.orchestrator = line.line().orchestrator(&format!("round-{round}"), &[]).unwrap();
    }
    line.broker.ask("$JS.API.STREAM.DELETE.PACKAGES", "").await.unwrap();
    line.broker.ensure_topology().await.unwrap();
    for n in 1..=sequence {
        assert_eq!(line.announce(json!([{"name": format!("@new/p{n}")}]).to_string()).await.unwrap(), n);
    }
    line.orchestrator = line.line().orchestrator("next", &[]).unwrap();
    for n in 1..=sequence {
        line.until_state(&format!("@new/p{n}"), "queued").await.unwrap();
    }
    assert_eq!(line.until("intention", |intention| intention.is_none()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_go_on_while_more_is_announced_than_commits_can_take() {
    const MESSAGES: u64 = 200;
    let mut line = Bare::start(&[]).await.unwrap();
    line.add_worker(4).unwrap();
    while line.ask("orchestrator.state", "").await.unwrap()["slots"] != 4 {}
    line.orchestrator.kill().await;
    let flood = (0..MESSAGES).map(|message| {
        let packages: Vec<_> = (0..50).map(|i| json!({"name": format!("@flood-{message}/p{i}")})).collect();
        Message::json(topology::packages_new(), &packages)
    });
    let last = line.publish_once(flood.collect()).await.pop();
    line.orchestrator = line.line().orchestrator("next", &[]).unwrap();
    applied(&line, last.unwrap()).await.unwrap();
    let last = line.until_state(&format!("@flood-{}/p49", MESSAGES - 1), "queued").await.unwrap();
    let first = line.broker.stored(StreamName::Status, 1).await.unwrap().unwrap();
    let first: PackageStatus = serde_json::from_slice(&first.payload).unwrap();
    assert_eq!(first.status, StatusKind::Building);
    assert!(first.commit + 10 < last.commit, "began in {} of {}", first.commit, last.commit);
}
