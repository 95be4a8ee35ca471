use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use packline_broker::{BrokerError, ConsumeError, ConsumerState, Message, StreamName, topology};

use crate::{Place, through, within};

const LONG: Duration = Duration::from_secs(30);

fn orders(numbers: std::ops::Range<u32>) -> Vec<Message> {
    numbers.map(|number| Message::new(topology::builds_start(), number.to_string())).collect()
}

#[tokio::test]
async fn a_worker_takes_only_what_it_has_slots_for() {
    within(async {
        let place = Place::new().await;
        let (a, b) = (place.broker("a").await, place.broker("b").await);
        let (mut first, mut second) = (a.orders().await.unwrap(), b.orders().await.unwrap());
        a.publish_stored(orders(0..5)).await;
        let taken = first.fetch(2, LONG).await.unwrap();
        assert_eq!(taken.iter().map(|order| order.sequence).collect::<Vec<_>>(), [1, 2]);
        let rest = second.fetch(10, LONG).await.unwrap();
        assert_eq!(rest.iter().map(|order| order.sequence).collect::<Vec<_>>(), [3, 4, 5]);
        let state = a.pending(StreamName::Builds, topology::BUILDERS).await.unwrap();
        assert_eq!(state, ConsumerState { pending: 0, ack_pending: 5 });

        for order in taken.iter().chain(&rest) {
            order.progress().await;
            order.ack_confirmed().await.unwrap();
        }
        assert_eq!(a.stream_state(StreamName::Builds).await.unwrap().messages, 0);
    })
    .await;
}

#[tokio::test]
async fn a_waiting_worker_gets_an_order_at_once() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        let mut pull = broker.orders().await.unwrap();
        let empty = pull.fetch(3, Duration::from_millis(200)).await.unwrap();
        assert!(empty.is_empty());
        let began = Instant::now();
        let publish = async {
            while place_waits(&place).await == 0 {}
            broker.publish_stored(orders(0..1)).await;
        };
        let (taken, ()) = tokio::join!(pull.fetch(3, LONG), publish);
        assert_eq!(taken.unwrap().len(), 1);
        assert!(began.elapsed() < LONG / 3);
    })
    .await;
}

#[tokio::test]
async fn a_fetch_brings_together_what_there_is_room_for_when_it_comes() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        let mut pull = broker.orders().await.unwrap();
        let room = Cell::new(1);
        let publish = async {
            while place_waits(&place).await == 0 {}
            room.set(10);
            broker.publish_stored(orders(0..20)).await;
        };
        let (taken, ()) = tokio::join!(pull.fetch_for(|| room.get(), LONG), publish);
        assert_eq!(taken.unwrap().len(), 10);
    })
    .await;
}

async fn place_waits(place: &Place) -> u64 {
    let client = async_nats::connect(place.server.url()).await.unwrap();
    let answer = client.request("$JS.API.CONSUMER.INFO.BUILDS.builders", "".into()).await.unwrap();
    serde_json::from_slice::<serde_json::Value>(&answer.payload).unwrap()["num_waiting"].as_u64().unwrap()
}

#[tokio::test]
async fn a_fetch_that_was_dropped_half_way_loses_nothing() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        let mut pull = broker.orders().await.unwrap();
        let dropped = tokio::time::timeout(Duration::from_millis(300), pull.fetch(1, LONG)).await;
        assert!(dropped.is_err());
        broker.publish_stored(orders(0..1)).await;
        assert_eq!(pull.fetch(1, LONG).await.unwrap().len(), 1, "its pull brought it meanwhile");
    })
    .await;
}

#[tokio::test]
async fn a_fetch_goes_on_after_the_broker_came_back() {
    within(async {
        let mut place = Place::new().await;
        let broker = place.broker("a").await;
        let mut pull = broker.orders().await.unwrap();
        assert!(pull.fetch(1, Duration::from_millis(100)).await.unwrap().is_empty());
        place.server.kill().await;
        let waiting = tokio::spawn(async move {
            loop {
                match pull.fetch(1, Duration::from_secs(1)).await {
                    Ok(taken) if taken.is_empty() => {}
                    Ok(taken) => break taken.len(),
                    Err(BrokerError::Unavailable(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        place.server.restart().await.unwrap();
        place.broker("b").await.publish_stored(orders(0..1)).await;
        assert_eq!(waiting.await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_nudge_reaches_its_worker_alone() {
    within(async {
        let place = Place::new().await;
        let (a, b) = (place.broker("a").await, place.broker("b").await);
        let (mut mine, mut other) = (a.wakeups("host-1").await.unwrap(), a.wakeups("host-2").await.unwrap());
        a.pending(StreamName::Builds, topology::BUILDERS).await.unwrap();
        b.wake("host-1").await;
        mine.next().await;
        assert!(tokio::time::timeout(Duration::from_millis(50), other.next()).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_leader_starts_after_its_position_and_acknowledges_by_the_last() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        for number in 1..=10 {
            broker.publish(Message::new(topology::packages_new(), number.to_string())).await.unwrap();
        }
        let mut consumer = broker.consume_in_order(StreamName::Packages, 4).await.unwrap();
        let mut last = None;
        for sequence in 5..=10 {
            let delivery = consumer.next().await.unwrap();
            assert_eq!((delivery.sequence, &*delivery.payload), (sequence, sequence.to_string().as_bytes()));
            assert_eq!(delivery.subject, "packages.new");
            last = Some(delivery.acker());
        }
        last.unwrap().ack_confirmed().await.unwrap();
        let state = broker.pending(StreamName::Packages, topology::ORCHESTRATOR).await.unwrap();
        assert_eq!(state, ConsumerState { pending: 0, ack_pending: 0 });
        broker.purge_before(StreamName::Packages, 9).await.unwrap();
        assert_eq!(broker.stream_state(StreamName::Packages).await.unwrap().first_sequence, 9);
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_was_cut_off_starts_its_consumer_anew() {
    within(async {
        let place = Place::new().await;
        let proxy = place.proxy().await;
        let (leader, anybody) = (through(&proxy, "leader").await, place.broker("anybody").await);
        let mut connections = leader.reconnects();
        let mut consumer = leader.consume_in_order(StreamName::Results, 0).await.unwrap();
        anybody.publish(Message::new(topology::builds_result(), "1")).await.unwrap();
        assert_eq!(consumer.next().await.unwrap().sequence, 1);
        connections.mark_unchanged();
        proxy.cut();
        assert!(matches!(consumer.next().await, Err(ConsumeError::Skipped { .. })));
        if leader.consume_in_order(StreamName::Results, 1).await.is_err() {
            connections.changed().await.unwrap();
        }
        let mut consumer = leader.consume_in_order(StreamName::Results, 1).await.unwrap();
        anybody.publish(Message::new(topology::builds_result(), "2")).await.unwrap();
        assert_eq!(consumer.next().await.unwrap().sequence, 2);
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_commits_slowly_gets_what_came_again_in_order() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        broker.publish(Message::new(topology::builds_result(), "1")).await.unwrap();
        let mut consumer = broker.consume_in_order(StreamName::Results, 0).await.unwrap();
        let first = consumer.next().await.unwrap();
        assert_eq!(first.delivered, 1);
        first.nak(Duration::ZERO).await;
        assert!(matches!(consumer.next().await, Err(ConsumeError::Skipped { .. })));
        let mut consumer = broker.consume_in_order(StreamName::Results, 0).await.unwrap();
        assert_eq!(consumer.next().await.unwrap().sequence, 1);
    })
    .await;
}
