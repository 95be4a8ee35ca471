use std::time::Instant;

use packline_broker::{Broker, DeadLetter, Message, Source, StreamName, topology};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Place, through, within};

/// A stored message, as the stream gives it back.
pub(crate) async fn stored(place: &Place, stream: &str, sequence: u64) -> (Vec<u8>, String) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let client = async_nats::connect(place.server.url()).await.unwrap();
    let question = json!({"seq": sequence}).to_string();
    let answer = client.request(format!("$JS.API.STREAM.MSG.GET.{stream}"), question.into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    let decode = |field: &str| STANDARD.decode(answer["message"][field].as_str().unwrap_or_default()).unwrap();
    (decode("data"), String::from_utf8(decode("hdrs")).unwrap())
}

fn events(count: usize) -> Vec<Message> {
    (0..count).map(|number| Message::json(topology::event("queued"), &json!({"number": number}))).collect()
}

/// The numbers of all events from `first` on, in their order.
async fn numbers(broker: &Broker, after: u64) -> Vec<u64> {
    let last = broker.stream_state(StreamName::Events).await.unwrap().last_sequence;
    let mut consumer = broker.consume_in_order(StreamName::Events, after).await.unwrap();
    let mut numbers = Vec::new();
    for _ in after..last {
        let delivery = consumer.next().await.unwrap();
        numbers.push(serde_json::from_slice::<Value>(&delivery.payload).unwrap()["number"].as_u64().unwrap());
    }
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_stored_in_their_order_singly_and_in_batches() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        let mut after = 0;
        for count in [0, 1, 15, 16, 1000, 2500] {
            let began = Instant::now();
            broker.publish_stored(events(count)).await;
            println!("{count} events stored in {:?}", began.elapsed());
            assert_eq!(numbers(&broker, after).await, (0..count as u64).collect::<Vec<_>>());
            after += count as u64;
        }
    })
    .await;
}

#[tokio::test]
async fn of_many_messages_those_that_were_stored_under_their_ids_are_stored_once() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        let orders = |numbers: std::ops::Range<usize>| -> Vec<Message> {
            let order = |number| Message::json(topology::builds_start(), &json!({"number": number}));
            numbers.map(|number| Message { id: Some(format!("order.{number}")), ..order(number) }).collect()
        };
        for (numbers, there) in [(0..20, 20), (0..20, 20), (10..40, 40), (39..41, 41)] {
            broker.publish_stored(orders(numbers.clone())).await;
            let state = broker.stream_state(StreamName::Builds).await.unwrap();
            assert_eq!(state.messages, there, "{numbers:?}");
        }
        broker.publish_stored([orders(50..70), orders(50..70)].concat()).await;
        assert_eq!(broker.stream_state(StreamName::Builds).await.unwrap().messages, 61);
    })
    .await;
}

#[tokio::test]
async fn messages_of_several_streams_are_stored_together() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        let mut messages = events(20);
        messages.push(Message::new(topology::builds_start(), "{}"));
        messages.push(Message::new(topology::packages_status(), "{}"));
        broker.publish_stored(messages).await;
        for (stream, count) in [(StreamName::Events, 20), (StreamName::Builds, 1), (StreamName::Status, 1)] {
            assert_eq!(broker.stream_state(stream).await.unwrap().messages, count);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_goes_on_until_all_is_stored_through_a_kill() {
    within(async {
        for size in [10, 200] {
            let mut place = Place::new().await;
            let broker = place.broker("a").await;
            let publishing = tokio::spawn({
                let broker = broker.clone();
                async move {
                    for _ in 0..50 {
                        broker.publish_stored(events(size)).await;
                    }
                }
            });
            while broker.stream_state(StreamName::Events).await.unwrap().messages < 2 * size as u64 {}
            place.server.restart().await.unwrap();
            publishing.await.unwrap();
            let numbers = numbers(&place.broker("b").await, 0).await;
            let whole = numbers.iter().filter(|number| **number == size as u64 - 1).count();
            assert!(whole >= 50, "{whole} of 50 are there to the end");
            let follows = |pair: &[u64]| pair[1] == pair[0] + 1 || pair[1] <= pair[0];
            assert!(numbers.windows(2).all(follows), "nothing is skipped, some may be repeated");
        }
    })
    .await;
}

#[tokio::test]
async fn an_oversized_dead_letter_keeps_its_beginning_its_size_and_its_hash() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        let body: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let source =
            Source { stream: StreamName::Packages, sequence: 7, stored: 1_700_000_000_000_000_000, item: Some(2) };
        let letter = DeadLetter {
            kind: "packages".into(),
            reason: "1000000 bytes;\na message has at most 262144".into(),
            source_subject: topology::packages_new(),
            source: Some(source),
            payload: body.clone().into(),
        };
        broker.dead_letter(letter.clone()).await;
        let (payload, headers) = stored(&place, "DEAD", 1).await;
        assert_eq!(payload, body[..64 * 1024]);
        for header in [
            "Reason: 1000000 bytes; a message has at most 262144".to_owned(),
            "Source-Subject: packages.new".to_owned(),
            "Source-Sequence: 7".to_owned(),
            "Size: 1000000".to_owned(),
            format!("SHA-256: {}", hex::encode(Sha256::digest(&body))),
            "Nats-Msg-Id: PACKAGES:7:1700000000000000000:2".to_owned(),
        ] {
            assert!(headers.lines().any(|line| line == header), "{header} is not among {headers}");
        }

        broker.dead_letter(letter.clone()).await;
        assert_eq!(broker.stream_state(StreamName::Dead).await.unwrap().messages, 1, "the same is kept once");
        let another = DeadLetter { payload: "small".into(), source: None, ..letter.clone() };
        broker.dead_letter(another.clone()).await;
        let (payload, headers) = stored(&place, "DEAD", 2).await;
        assert_eq!(payload, b"small");
        assert!(!headers.contains("SHA-256"));
        broker.dead_letter(another).await;
        assert_eq!(broker.stream_state(StreamName::Dead).await.unwrap().messages, 2, "the same is kept once");

        let of = |source| DeadLetter { source: Some(source), ..letter.clone() };
        let whole = of(Source { item: None, ..source });
        let recreated = of(Source { stored: source.stored + 1, ..source });
        let sibling = of(Source { item: Some(3), ..source });
        broker.publish_stored([whole, recreated, sibling].map(DeadLetter::message).to_vec()).await;
        assert_eq!(broker.stream_state(StreamName::Dead).await.unwrap().messages, 5, "another is another");
    })
    .await;
}

#[tokio::test]
async fn a_message_that_no_broker_takes_becomes_a_dead_letter_and_holds_nothing_up() {
    within(async {
        let place = Place::new().await;
        let broker = place.broker("a").await;
        let huge = Message::new(topology::event("huge"), vec![b'x'; 2_000_000]);
        broker.publish_stored([vec![huge], events(3)].concat()).await;
        assert_eq!(broker.stream_state(StreamName::Events).await.unwrap().messages, 3);
        assert!(stored(&place, "DEAD", 1).await.1.contains("Source-Subject: events.huge"));
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_whose_answer_was_lost_is_stored_once() {
    within(async {
        let place = Place::new().await;
        let (proxy, direct) = (place.proxy().await, place.broker("direct").await);
        let broker = through(&proxy, "a").await;
        let letter = DeadLetter {
            kind: "control".into(),
            reason: "no command is called dance".into(),
            source_subject: topology::control("dance"),
            source: Some(Source { stream: StreamName::Control, sequence: 1, stored: 1, item: None }),
            payload: "tango".into(),
        };
        let huge = Message::new(topology::event("huge"), vec![b'x'; 2_000_000]);
        for (message, letters) in [(huge, 1), (letter.message(), 2)] {
            proxy.swallow_answers();
            let storing = tokio::spawn({
                let broker = broker.clone();
                async move { broker.publish_stored(vec![message]).await }
            });
            while direct.stream_state(StreamName::Dead).await.unwrap().messages < letters {}
            proxy.heal();
            assert_eq!(storing.await.unwrap(), [letters]);
            assert_eq!(direct.stream_state(StreamName::Dead).await.unwrap().messages, letters);
        }
    })
    .await;
}
