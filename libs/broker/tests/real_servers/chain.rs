use packline_broker::{CommitError, MAX_WRITES, Write};

use crate::{Place, leader, put, records, take, within};

#[tokio::test]
async fn a_deposed_leaders_commit_leaves_nothing_behind() {
    within(async {
        let place = Place::new().await;
        let (a, b) = (place.bucket("a").await, place.bucket("b").await);
        let mut old = take(&a, "a", 1).await;
        old.commit(&leader("a", 1, 2), &records(3, "before")).await.unwrap();

        let mut new = take(&b, "b", 2).await;
        for size in [1, 100, MAX_WRITES] {
            let late: Vec<Write> = (0..size).map(|number| put(format!("late.p{number}"), "late")).collect();
            let refused = old.commit(&leader("a", 1, 3), &late).await;
            assert!(matches!(refused, Err(CommitError::Deposed)), "{refused:?}");
        }
        assert!(matches!(old.commit(&leader("a", 1, 3), &[]).await, Err(CommitError::Deposed)));

        let left = b.load(">", new.revision()).await.unwrap();
        let keys: Vec<&str> = left.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["queue.p0", "queue.p1", "queue.p2", "leader"]);
        let committed = new.commit(&leader("b", 2, 2), &records(3, "after")).await.unwrap();
        assert_eq!(committed.first, left[3].revision + 1, "the refused commits have used no revision");
    })
    .await;
}

#[tokio::test]
async fn of_two_that_take_the_lease_at_once_one_gets_it() {
    within(async {
        let place = Place::new().await;
        let mut brokers = Vec::new();
        for number in 0..8 {
            brokers.push(place.bucket(&format!("o{number}")).await);
        }
        let takes = brokers.iter().enumerate().map(|(number, bucket)| async move {
            packline_broker::Chain::take(bucket, 0, &leader(&format!("o{number}"), 1, 1)).await
        });
        let taken = futures::future::join_all(takes).await;
        assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
        assert!(taken.iter().all(|taken| matches!(taken, Ok(_) | Err(CommitError::Deposed))));
    })
    .await;
}

#[tokio::test]
async fn the_ack_gives_the_revision_of_each_record() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        let mut chain = take(&bucket, "a", 1).await;
        for size in [1, 2, 50, MAX_WRITES] {
            let noise = bucket.put("noise", "x".into());
            let (committed, _) =
                tokio::join!(async { chain.commit(&leader("a", 1, 2), &records(size, "x")).await.unwrap() }, noise);
            assert_eq!(chain.revision(), committed.first);
            assert_eq!(bucket.get("leader").await.unwrap().unwrap().revision, committed.first);
            for number in [0, size / 2, size - 1] {
                let entry = bucket.get(&format!("queue.p{number}")).await.unwrap().unwrap();
                assert_eq!(entry.revision, committed.first + 1 + number as u64);
            }
        }
        let renewed = chain.commit(&leader("a", 1, 6), &[]).await.unwrap();
        assert_eq!(bucket.get("leader").await.unwrap().unwrap().revision, renewed.first);
    })
    .await;
}

#[tokio::test]
async fn a_conflict_on_a_record_stores_nothing_and_the_chain_goes_on() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        let mut chain = take(&bucket, "a", 1).await;
        let granted = chain.commit(&leader("a", 1, 2), &[put("permits.0", "granted")]).await.unwrap().first + 1;
        let claimed = place.bucket("worker").await.update("permits.0", "claimed".into(), granted).await.unwrap();

        let withdraw = |expect| {
            vec![put("queue.x", "changed"), Write { key: "permits.0".into(), value: None, expect: Some(expect) }]
        };
        let refused = chain.commit(&leader("a", 1, 3), &withdraw(granted)).await;
        assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
        assert_eq!(bucket.get("queue.x").await.unwrap(), None);

        chain.commit(&leader("a", 1, 3), &withdraw(claimed)).await.unwrap();
        assert_eq!(bucket.get("permits.0").await.unwrap().unwrap().value, None);
        assert!(bucket.get("queue.x").await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_is_too_large_is_refused_before_it_is_sent() {
    within(async {
        let place = Place::new().await;
        let mut chain = take(&place.bucket("a").await, "a", 1).await;
        let refused = chain.commit(&leader("a", 1, 2), &records(MAX_WRITES + 1, "x")).await;
        assert!(matches!(refused, Err(CommitError::TooLarge(1000))), "{refused:?}");
        chain.commit(&leader("a", 1, 2), &records(1, "x")).await.unwrap();
    })
    .await;
}
