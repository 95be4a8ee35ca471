use std::time::Duration;

use packline_broker::{Broker, Follow, Followed, From, Message, StreamName, topology};
use serde_json::{Value, json};

use crate::{Place, through, within};

fn events(numbers: std::ops::Range<u64>) -> Vec<Message> {
    numbers.map(|number| Message::json(topology::event("queued"), &json!({"number": number}))).collect()
}

/// The numbers of the next events; `None` where all of the past was said.
async fn next(follow: &mut Follow) -> Option<u64> {
    match follow.next().await.unwrap() {
        Followed::Message(message) => serde_json::from_slice::<Value>(&message.payload).unwrap()["number"].as_u64(),
        Followed::CaughtUp => None,
    }
}

fn everything(broker: &Broker) -> Follow {
    broker.follow(StreamName::Events, "events.>", From::Sequence(0))
}

#[tokio::test]
async fn the_past_is_followed_from_a_place_or_a_time_on_and_then_what_is_new() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        let mut nothing = everything(&broker);
        assert_eq!(next(&mut nothing).await, None);
        broker.publish_stored(events(0..3)).await;
        let third = broker.stored(StreamName::Events, 3).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        broker.publish(Message::json(topology::event("failed"), &json!({"number": 3}))).await.unwrap();
        for (subject, from, expected) in [
            ("events.>", From::Sequence(0), &[0, 1, 2, 3][..]),
            ("events.>", From::Sequence(3), &[2, 3]),
            ("events.>", From::Sequence(9), &[]),
            ("events.>", From::Time(third.stored_at.after(Duration::from_millis(2))), &[3]),
            ("events.failed", From::Sequence(0), &[3]),
            ("events.none", From::Sequence(0), &[]),
        ] {
            let mut follow = broker.follow(StreamName::Events, subject, from);
            let mut seen = Vec::new();
            while let Some(number) = next(&mut follow).await {
                seen.push(number);
            }
            assert_eq!(seen, expected, "{subject} {from:?}");
        }
        assert_eq!(next(&mut nothing).await, Some(0), "what is new");
    })
    .await;
}

#[tokio::test]
async fn each_message_is_seen_once_although_the_broker_is_killed_and_the_connection_cut() {
    within(async {
        let mut place = Place::new().await;
        let proxy = place.proxy().await;
        let (broker, reader) = (place.broker("writer").await, through(&proxy, "reader").await);
        broker.publish_stored(events(0..500)).await;
        let seeing = tokio::spawn(async move {
            let (mut follow, mut seen) = (everything(&reader), Vec::new());
            loop {
                let Followed::Message(message) = follow.next().await.unwrap() else { continue };
                seen.push(message.sequence);
                if message.payload.ends_with(b":2999}") {
                    return seen;
                }
            }
        });
        for step in 1..6 {
            for ten in 0..50 {
                let first = step * 500 + ten * 10;
                broker.publish_stored(events(first..first + 10)).await;
                match (step, ten) {
                    (1, 25) => proxy.cut(),
                    (2, 25) => proxy.swallow_answers(),
                    (3, 25) => proxy.heal(),
                    (4, 25) => place.server.restart().await.unwrap(),
                    _ => {}
                }
            }
        }
        // What the writer could not know to be stored it has sent again.
        let seen = seeing.await.unwrap();
        assert!(seen.iter().copied().eq(1..=seen.len() as u64) && seen.len() >= 3000, "{}", seen.len());
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_made_anew_is_followed_from_its_beginning_and_one_that_is_not_there_is_an_error() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        broker.publish_stored(events(0..5)).await;
        let mut follow = everything(&broker);
        for expected in [Some(0), Some(1), Some(2), Some(3), Some(4), None] {
            assert_eq!(next(&mut follow).await, expected);
        }
        broker.ask("$JS.API.STREAM.DELETE.EVENTS", "").await.unwrap();
        broker.ensure_topology().await.unwrap();
        broker.publish_stored(events(7..9)).await;
        assert_eq!((next(&mut follow).await, next(&mut follow).await), (Some(7), Some(8)));
        broker.ask("$JS.API.STREAM.DELETE.EVENTS", "").await.unwrap();
        let error = everything(&broker).next().await.unwrap_err();
        assert!(!error.is_passing(), "{error}");
    })
    .await;
}
