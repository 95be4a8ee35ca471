//! Each refusal is one dead letter, however often its message is read, and another message is another refusal.
use packline_broker::{Message, StreamName};
use packline_tests::Bare;
use serde_json::Value;

/// Refused commands of one round: more than a leader stores in the time that it takes to kill it.
const COMMANDS: usize = 100;

async fn letters(line: &Bare) -> u64 {
    line.broker.stream_state(StreamName::Dead).await.unwrap().messages
}

fn applied(leader: &Value) -> u64 {
    leader.pointer("/positions/CONTROL/sequence").and_then(Value::as_u64).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_one_dead_letter_although_its_leader_is_killed_before_it_commits() {
    let mut line = Bare::start(&[]).await.unwrap();
    let (mut rounds, mut met) = (0, false);
    while !met {
        rounds += 1;
        assert!(rounds <= 20, "no leader was killed between a dead letter and its commit\n{}", line.logs());
        let before = letters(&line).await;
        line.until_leading().await.unwrap();
        let bodies = (0..COMMANDS).map(|n| Message::new("control.cancel", format!("\"../{rounds}-{n}\"")));
        let sequences = line.publish_once(bodies.collect()).await;
        let last = *sequences.last().unwrap();
        while letters(&line).await == before {}
        line.orchestrator.kill().await;
        let stored = line.stored(StreamName::Dead).await.unwrap();
        let committed = applied(&serde_json::to_value(line.leader().await.unwrap()).unwrap());
        let refused = stored.iter().filter_map(|letter| letter.header("Source-Sequence")?.parse::<u64>().ok()).max();
        met = refused > Some(committed);
        line.orchestrator = line.line().orchestrator(&format!("next-{rounds}"), &[]).unwrap();
        line.until("leader", |leader| leader.is_some_and(|leader| applied(leader) >= last)).await.unwrap();
        assert_eq!(letters(&line).await, (rounds * COMMANDS) as u64, "\n{}", line.logs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_recreated_has_dead_letters_of_its_own() {
    let mut line = Bare::start(&[]).await.unwrap();
    let refused =
        async |line: &Bare, body: &str| line.publish_once(vec![Message::new("control.cancel", body.to_owned())]).await;
    assert_eq!(refused(&line, "\"../first\"").await, [1]);
    line.until("leader", |leader| leader.is_some_and(|leader| applied(leader) == 1)).await.unwrap();
    line.orchestrator.kill().await;
    line.broker.ask("$JS.API.STREAM.DELETE.CONTROL", "").await.unwrap();
    line.orchestrator = line.line().orchestrator("next", &[]).unwrap();
    line.until("leader", |leader| leader.is_some_and(|leader| applied(leader) == 0)).await.unwrap();
    assert_eq!(refused(&line, "\"../second\"").await, [1]);
    line.until("leader", |leader| leader.is_some_and(|leader| applied(leader) == 1)).await.unwrap();
    let stored = line.stored(StreamName::Dead).await.unwrap();
    let bodies: Vec<_> = stored.iter().map(|letter| std::str::from_utf8(&letter.payload).unwrap()).collect();
    assert_eq!(bodies, ["\"../first\"", "\"../second\""], "\n{}", line.logs());
}
