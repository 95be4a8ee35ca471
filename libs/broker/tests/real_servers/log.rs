use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use packline_broker::{Broker, BuildLog, StreamName};
use packline_domain::{BuildId, LogEntry, Outcome};

use crate::{Place, publish::stored, through, within};

fn build() -> BuildId {
    BuildId { package: "@acme/core".parse().unwrap(), serial: 7 }
}

fn line(log: &BuildLog, text: impl Into<bytes::Bytes>) {
    log.write(&LogEntry::Lines { phase: "test".into() }, text);
}

/// Bodies by their numbers. What was sent again may stand there twice, and behind what came after it.
async fn read(broker: &Broker) -> BTreeMap<u64, String> {
    let mut messages = BTreeMap::new();
    let mut from = 1;
    while let Some(message) = broker.stored(StreamName::Logs, from).await.unwrap() {
        from = message.sequence + 1;
        let number = message.header("Number").unwrap().parse().unwrap();
        messages.insert(number, String::from_utf8_lossy(&message.payload).into_owned());
    }
    messages
}

#[tokio::test]
async fn a_builds_log_is_stored_and_what_is_not_is_counted() {
    within(async {
        let place = Place::new().await;
        let proxy = place.proxy().await;
        let broker = through(&proxy, "worker").await;
        let log = broker.build_log(&build());
        for number in 0..1000 {
            line(&log, format!("line {number}"));
        }
        line(&log, vec![b'x'; 300 * 1024]);
        log.write(&LogEntry::Over { outcome: Outcome::Published, private: false }, "");
        let reader = place.broker("reader").await;
        while reader.stream_state(StreamName::Logs).await.unwrap().messages < 1001 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(log.finish().await, 1, "one was too large");
        let (payload, headers) = stored(&place, "LOGS", 1000).await;
        assert_eq!(payload, b"line 999");
        assert!(headers.contains("Phase: test") && headers.contains("Number: 1000"), "{headers}");
        let (_, headers) = stored(&place, "LOGS", 1001).await;
        assert!(headers.contains("Outcome: published") && headers.contains("Number: 1002"), "{headers}");

        proxy.swallow_answers();
        let log = broker.build_log(&build());
        let began = Instant::now();
        let mut lines = 0;
        while log.has_room() {
            line(&log, vec![b'x'; 100_000]);
            lines += 1;
        }
        assert!((40..45).contains(&lines), "{lines} wait to be stored");
        assert!(began.elapsed().as_secs() < 30, "nobody waits for a log");
        assert_eq!(log.finish().await, lines, "nobody has said that they are stored");
        assert!(began.elapsed().as_secs() < 60, "a build does not wait for its log");
    })
    .await;
}

#[tokio::test]
async fn a_log_is_whole_although_the_broker_was_away_again_and_again() {
    within(async {
        let place = Place::new().await;
        let proxy = place.proxy().await;
        let broker = through(&proxy, "worker").await;
        let log = broker.build_log(&build());
        for number in 1..=2000_u64 {
            line(&log, number.to_string());
            match number % 400 {
                100 => proxy.cut(),
                200 => proxy.swallow_requests(),
                250 => proxy.swallow_answers(),
                300 => proxy.heal(),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let reader = place.broker("reader").await;
        while read(&reader).await.len() < 2000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(log.finish().await, 0, "it was healed long ago");
        let expected: BTreeMap<_, _> = (1..=2000).map(|number| (number, number.to_string())).collect();
        assert_eq!(read(&reader).await, expected);
    })
    .await;
}
