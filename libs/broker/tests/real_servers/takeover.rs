use std::{collections::BTreeSet, time::Duration};

use packline_broker::{Broker, ConsumeError, InOrder, Message, StreamName, topology};

use crate::{Place, within};

const STREAM: StreamName = StreamName::Control;

async fn command(broker: &Broker, number: u64) -> u64 {
    let sequence = broker.publish(Message::new(topology::control("pause"), number.to_string())).await.unwrap();
    assert_eq!(sequence, number);
    sequence
}

async fn sequences(consumer: &mut InOrder, count: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(consumer.next().await.unwrap().sequence);
    }
    taken
}

/// Has the consumer put its pull at the broker, as it does when it waits.
async fn wait_a_little(consumer: &mut InOrder) {
    let waited = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(waited.is_err(), "there is nothing to take");
}

async fn waiting_pulls(place: &Place) -> u64 {
    let client = async_nats::connect(place.server.url()).await.unwrap();
    let answer = client.request("$JS.API.CONSUMER.INFO.CONTROL.orchestrator", "".into()).await.unwrap();
    serde_json::from_slice::<serde_json::Value>(&answer.payload).unwrap()["num_waiting"].as_u64().unwrap()
}

#[tokio::test]
async fn a_takeover_loses_and_reorders_nothing_while_a_frozen_leaders_pull_waits() {
    within(async {
        let place = Place::new().await;
        let (a, b, anybody) = (place.broker("a").await, place.broker("b").await, place.broker("anybody").await);
        let mut frozen = a.consume_in_order(STREAM, 0).await.unwrap();
        for number in 1..=5 {
            command(&anybody, number).await;
        }
        assert_eq!(sequences(&mut frozen, 2).await, [1, 2]);
        frozen.next().await.unwrap().ack().await;
        // Its pull goes on waiting; nobody looks at what it brings any more.

        let mut successor = b.consume_in_order(STREAM, 0).await.unwrap();
        for number in 6..=9 {
            command(&anybody, number).await;
        }
        assert_eq!(sequences(&mut successor, 9).await, (1..=9).collect::<Vec<_>>());

        for number in 10..=300 {
            command(&anybody, number).await;
        }
        assert_eq!(sequences(&mut successor, 291).await, (10..=300).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_raw_pull_of_a_dead_leader_swallows_nothing_after_the_takeover() {
    within(async {
        let place = Place::new().await;
        let (a, b, anybody) = (place.broker("a").await, place.broker("b").await, place.broker("anybody").await);
        let _durable = a.consume_in_order(STREAM, 0).await.unwrap();
        let dead = async_nats::connect(place.server.url()).await.unwrap();
        let _unread = dead.subscribe("dead.pulls").await.unwrap();
        dead.publish_with_reply(
            "$JS.API.CONSUMER.MSG.NEXT.CONTROL.orchestrator",
            "dead.pulls",
            r#"{"batch": 100, "expires": 600000000000}"#.into(),
        )
        .await
        .unwrap();
        while waiting_pulls(&place).await == 0 {}

        let mut successor = b.consume_in_order(STREAM, 0).await.unwrap();
        for number in 1..=3 {
            command(&anybody, number).await;
        }
        assert_eq!(sequences(&mut successor, 3).await, [1, 2, 3]);
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_thaws_puts_no_pull_on_its_successors_durable() {
    within(async {
        let place = Place::new().await;
        let (a, b, anybody) = (place.broker("a").await, place.broker("b").await, place.broker("anybody").await);
        for deaf in [false, true] {
            let mut frozen = a.consume_in_order(STREAM, 0).await.unwrap();
            if deaf {
                // It has taken all that its pull asked for, so that it would have to ask again.
                let last = anybody.stream_state(STREAM).await.unwrap().last_sequence;
                for number in last + 1..=last + 128 {
                    command(&anybody, number).await;
                }
                sequences(&mut frozen, 128).await;
            } else {
                wait_a_little(&mut frozen).await;
            }
            let after = anybody.stream_state(STREAM).await.unwrap().last_sequence;
            let mut successor = b.consume_in_order(STREAM, after).await.unwrap();
            wait_a_little(&mut successor).await;
            // The freeze: longer than the frozen one may stand still.
            let freeze = tokio::time::sleep(Duration::from_millis(2500));
            tokio::select! {
                () = freeze => {}
                taken = successor.next() => panic!("nothing was sent: {:?}", taken.map(|taken| taken.sequence)),
            }
            let thawed = frozen.next().await;
            assert!(matches!(thawed, Err(ConsumeError::Skipped { .. })));
            assert_eq!(waiting_pulls(&place).await, 1, "only the successor's own pull waits");
            command(&anybody, after + 1).await;
            assert_eq!(sequences(&mut successor, 1).await, [after + 1]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_leader_learns_at_once_that_its_durable_is_gone() {
    within(async {
        let place = Place::new().await;
        let (a, b) = (place.broker("a").await, place.broker("b").await);
        let mut old = a.consume_in_order(STREAM, 0).await.unwrap();
        wait_a_little(&mut old).await;
        let _new = b.consume_in_order(STREAM, 0).await.unwrap();
        assert!(matches!(old.next().await, Err(ConsumeError::Skipped { .. })));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_reordered_over_cuts_and_kills() {
    within(async {
        let mut place = Place::new().await;
        let proxy = place.proxy().await;
        let leader = crate::through(&proxy, "leader").await;
        let anybody = place.broker("anybody").await;
        let publishing = tokio::spawn(async move {
            for number in 1..=400_u64 {
                anybody.publish_stored(vec![Message::new(topology::control("pause"), number.to_string())]).await;
            }
        });
        let mut taken: Vec<u64> = Vec::new();
        let mut trouble = BTreeSet::from([50, 100, 150, 200, 250, 300]);
        let mut consumer: Option<InOrder> = None;
        let mut seen: BTreeSet<u64> = BTreeSet::new();
        while seen.len() < 400 {
            if trouble.first().is_some_and(|at| taken.len() >= *at) {
                let at = trouble.pop_first().unwrap();
                if at % 100 == 0 { place.server.restart().await.unwrap() } else { proxy.cut() }
            }
            let position = taken.last().copied().unwrap_or(0);
            let Some(open) = &mut consumer else {
                consumer = leader.consume_in_order(STREAM, position).await.ok();
                continue;
            };
            match open.next().await {
                Ok(delivery) => {
                    assert_eq!(delivery.sequence, position + 1, "in order, each once");
                    taken.push(delivery.sequence);
                    seen.insert(String::from_utf8_lossy(&delivery.payload).parse().unwrap());
                    delivery.ack().await;
                }
                Err(ConsumeError::Skipped { .. }) => consumer = None,
            }
        }
        publishing.await.unwrap();
    })
    .await;
}
