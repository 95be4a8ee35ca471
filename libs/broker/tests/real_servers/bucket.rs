use std::{collections::HashMap, time::Instant};

use futures::StreamExt;
use packline_broker::{Bucket, BucketName, Entry, UpdateError, Watch, Watched};

use crate::{Place, leader, put, records, take, through, within};

#[tokio::test]
async fn a_key_is_read_as_it_was_last_written() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        assert_eq!(bucket.get("queue.acme/core").await.unwrap(), None);
        let first = bucket.update("queue.acme/core", "one".into(), 0).await.unwrap();
        assert!(matches!(bucket.update("queue.acme/core", "two".into(), 0).await, Err(UpdateError::Conflict(_))));
        let second = bucket.update("queue.acme/core", "two".into(), first).await.unwrap();
        let entry = Entry { key: "queue.acme/core".into(), value: Some("two".into()), revision: second };
        assert_eq!(bucket.get("queue.acme/core").await.unwrap(), Some(entry));
        bucket.delete("queue.acme/core").await.unwrap();
        let gone = bucket.get("queue.acme/core").await.unwrap().unwrap();
        assert_eq!((gone.value, gone.revision), (None, second + 1));
        let again = bucket.update("queue.acme/core", "three".into(), second + 1).await.unwrap();
        assert_eq!(again, second + 2);
    })
    .await;
}

#[tokio::test]
async fn writes_that_go_together_are_all_done_or_none() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        let writes = |values: &str, revisions: [u64; 3]| -> Vec<_> {
            let keys = ["permits.0", "permits.1", "permits.2"].map(str::to_owned);
            keys.into_iter().zip(revisions).map(|(key, revision)| (key, values.to_owned().into(), revision)).collect()
        };
        let first = bucket.update_all(&writes("one", [0, 0, 0])).await.unwrap();
        for (key, revision) in [("permits.0", first), ("permits.1", first + 1), ("permits.2", first + 2)] {
            assert_eq!(bucket.get(key).await.unwrap().unwrap().revision, revision);
        }
        let moved = bucket.update("permits.1", "moved".into(), first + 1).await.unwrap();
        bucket.update_all(&writes("two", [first, first + 1, first + 2])).await.unwrap_err();
        let values = bucket.load("permits.*", 0).await.unwrap();
        let mut values: Vec<_> = values.iter().map(|entry| entry.value.as_deref().unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, [&b"moved"[..], b"one", b"one"], "one revision was old");
        bucket.update_all(&writes("three", [first, moved, first + 2])).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_a_load_leaves_behind_is_soon_gone() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        bucket.update("permits.0", "one".into(), 0).await.unwrap();
        let client = async_nats::connect(place.server.url()).await.unwrap();
        // For how many nanoseconds of silence the broker keeps each.
        let consumers = async || -> Vec<u64> {
            let answer = client.request("$JS.API.CONSUMER.LIST.KV_orchestrator", "".into()).await.unwrap();
            let list: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
            let all = list["consumers"].as_array().unwrap();
            all.iter().map(|consumer| consumer["config"]["inactive_threshold"].as_u64().unwrap()).collect()
        };
        assert_eq!(consumers().await, [0; 0]);
        let mut left = Vec::new();
        while left.is_empty() {
            assert_eq!(bucket.load("permits.*", 0).await.unwrap().len(), 1);
            left = consumers().await;
        }
        assert!(left.iter().all(|silence| *silence == 1_000_000_000), "a second, and no longer: {left:?}");
        while !consumers().await.is_empty() {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_sees_its_own_takeover_record_and_all_before_it() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        for term in 1..=50 {
            let mut chain = take(&bucket, "old", term).await;
            chain.commit(&leader("old", term, 2), &records(30, &term.to_string())).await.unwrap();
            let chain = take(&bucket, "new", term).await;
            let entries = bucket.load(">", chain.revision()).await.unwrap();
            assert_eq!(entries.len(), 31);
            assert_eq!(entries[30].key, "leader");
            assert_eq!(entries[30].revision, chain.revision());
            assert!(entries[..30].iter().all(|entry| *entry.value.as_ref().unwrap() == term.to_string()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_load_takes_what_matches_with_its_delete_markers() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        assert_eq!(bucket.load("permits.*", 0).await.unwrap(), []);
        let mut chain = take(&bucket, "a", 1).await;
        let writes = [put("permits.0", "zero"), put("permits.1", "one"), put("queue.acme/core", "x")];
        chain.commit(&leader("a", 1, 2), &writes).await.unwrap();
        bucket.delete("permits.0").await.unwrap();
        for through in [0, chain.revision()] {
            let permits = bucket.load("permits.*", through).await.unwrap();
            let found: Vec<_> = permits.iter().map(|entry| (entry.key.as_str(), entry.value.as_deref())).collect();
            assert_eq!(found, [("permits.1", Some("one".as_bytes())), ("permits.0", None)]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_whole_while_others_write_and_connections_are_cut() {
    within(async {
        const KEYS: usize = 20_000;
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        let mut chain = take(&bucket, "a", 1).await;
        for part in 0..KEYS / 500 {
            let writes: Vec<_> = (0..500).map(|n| put(format!("queue.p{}", part * 500 + n), vec![b'x'; 300])).collect();
            chain.commit(&leader("a", 1, 2), &writes).await.unwrap();
        }
        let proxy = place.proxy().await;
        let loader = through(&proxy, "loader").await.bucket(BucketName::Orchestrator);
        let noise = tokio::spawn(async move {
            loop {
                bucket.put("queue.p7", "noise".into()).await.unwrap();
            }
        });
        for part in 0..5 {
            // In the middle of the read, which is about 8 MB on the wire.
            proxy.cut_after_answers(part * 1_500_000);
            let entries = loader.load(">", chain.revision()).await.unwrap();
            assert_eq!(entries.len(), KEYS + 1, "each key once");
            assert!(entries.windows(2).all(|pair| pair[0].revision < pair[1].revision), "in the order of revisions");
        }
        noise.abort();
        let began = Instant::now();
        loader.load(">", chain.revision()).await.unwrap();
        println!("{KEYS} keys loaded in {:?}", began.elapsed());
    })
    .await;
}

#[tokio::test]
async fn a_load_asks_for_a_page_at_a_time_so_that_little_waits_in_memory() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        let mut chain = take(&bucket, "a", 1).await;
        chain.commit(&leader("a", 1, 2), &records(600, "x")).await.unwrap();
        let client = async_nats::connect(place.server.url()).await.unwrap();
        let mut requests = client.subscribe("$JS.API.CONSUMER.MSG.NEXT.KV_orchestrator.*").await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(bucket.load_into::<Vec<_>>("queue.*", 0).await.unwrap().len(), 600);
        for most in [250, 250, 250] {
            let request: serde_json::Value = serde_json::from_slice(&requests.next().await.unwrap().payload).unwrap();
            assert_eq!(request["batch"], most);
        }
    })
    .await;
}

/// Follows a watch until it says `until`; what it knows then.
async fn follow(watch: &mut Watch, known: &mut HashMap<String, Option<Vec<u8>>>, until: &Watched) {
    loop {
        let seen = watch.next().await;
        match &seen {
            Watched::Entry(entry) => {
                known.insert(entry.key.clone(), entry.value.as_ref().map(|value| value.to_vec()));
            }
            Watched::Gap => known.clear(),
            Watched::Complete => {}
        }
        if seen == *until {
            return;
        }
    }
}

async fn write(bucket: &Bucket, key: &str, value: &'static str) -> Watched {
    let revision = bucket.put(key, value.into()).await.unwrap();
    Watched::Entry(Entry { key: key.into(), value: Some(value.into()), revision })
}

#[tokio::test]
async fn a_watch_says_what_is_there_then_what_is_new() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        write(&bucket, "permits.0", "zero").await;
        write(&bucket, "queue.other", "x").await;
        let mut watch = bucket.watch("permits.*");
        let mut known = HashMap::new();
        follow(&mut watch, &mut known, &Watched::Complete).await;
        assert_eq!(known.len(), 1);
        let last = write(&bucket, "permits.1", "one").await;
        follow(&mut watch, &mut known, &last).await;
        bucket.delete("permits.0").await.unwrap();
        let last = write(&bucket, "permits.1", "two").await;
        follow(&mut watch, &mut known, &last).await;
        assert_eq!(known["permits.0"], None);

        let mut empty = place.broker("b").await.bucket(BucketName::Workers).watch("*");
        assert_eq!(empty.next().await, Watched::Complete);
    })
    .await;
}

#[tokio::test]
async fn after_a_reconnect_a_watch_says_gap_and_everything_again() {
    within(async {
        let mut place = Place::new().await;
        let direct = place.bucket("a").await;
        let proxy = place.proxy().await;
        let mut watch = through(&proxy, "watcher").await.bucket(BucketName::Orchestrator).watch("permits.*");
        let mut known = HashMap::new();
        follow(&mut watch, &mut known, &Watched::Complete).await;
        let last = write(&direct, "permits.0", "zero").await;
        follow(&mut watch, &mut known, &last).await;

        proxy.refuse();
        proxy.cut();
        write(&direct, "permits.0", "missed").await;
        write(&direct, "permits.1", "one").await;
        proxy.heal();
        follow(&mut watch, &mut known, &Watched::Gap).await;
        follow(&mut watch, &mut known, &Watched::Complete).await;
        assert_eq!(known["permits.0"], Some(b"missed".to_vec()));
        assert_eq!(known["permits.1"], Some(b"one".to_vec()));

        place.server.restart().await.unwrap();
        follow(&mut watch, &mut known, &Watched::Gap).await;
        follow(&mut watch, &mut known, &Watched::Complete).await;
        let last = write(&direct, "permits.2", "two").await;
        follow(&mut watch, &mut known, &last).await;
        assert_eq!(known.len(), 3);
    })
    .await;
}
