use futures::future::join_all;
use packline_broker::{BucketName, Conflict};

use crate::{Place, leader, put, take, through, within};

const COPIES: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_50_copies_of_an_order_exactly_one_worker_wins_the_permit() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("leader").await;
        let mut chain = take(&bucket, "a", 1).await;
        let mut workers = Vec::new();
        for number in 0..COPIES {
            workers.push((format!("w{number}"), place.bucket("worker").await));
        }
        for round in 0..5 {
            let key = format!("permits.{round}");
            let granted = chain.commit(&leader("a", 1, 2), &[put(&key, "granted")]).await.unwrap().first + 1;
            let claims = workers.iter().map(|(name, bucket)| {
                let (name, key) = (name.clone(), key.clone());
                async move { (name.clone(), bucket.write_until_decided(&key, name.into(), granted).await) }
            });
            let claimed = join_all(claims).await;
            let won: Vec<&String> = claimed.iter().filter(|(_, won)| won.is_ok()).map(|(name, _)| name).collect();
            assert_eq!(won.len(), 1, "{won:?}");
            let entry = bucket.get(&key).await.unwrap().unwrap();
            assert_eq!(entry.value.unwrap(), won[0].as_bytes());
        }
    })
    .await;
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_recognised_by_reading() {
    within(async {
        let place = Place::new().await;
        let eye = place.bucket("leader").await;
        let granted = eye.put("permits.0", "granted".into()).await.unwrap();
        let proxy = place.proxy().await;
        let worker = through(&proxy, "worker").await.bucket(BucketName::Orchestrator);
        proxy.swallow_answers();
        let mut claim = std::pin::pin!(worker.write_until_decided("permits.0", "w1".into(), granted));
        tokio::select! {
            done = &mut claim => panic!("nobody can know yet: {done:?}"),
            () = async {
                while eye.get("permits.0").await.unwrap().unwrap().revision == granted {}
            } => {}
        }
        // The record is there before its answer is on the way: heal only when that is lost.
        proxy.lost(20).await;
        proxy.heal();
        assert_eq!(claim.await, Err(Conflict));
        assert_eq!(worker.get("permits.0").await.unwrap().unwrap().value.unwrap(), "w1");
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_never_arrived_is_sent_again_until_it_is_decided() {
    within(async {
        let place = Place::new().await;
        let eye = place.bucket("leader").await;
        let granted = eye.put("permits.0", "granted".into()).await.unwrap();
        let proxy = place.proxy().await;
        let worker = through(&proxy, "worker").await.bucket(BucketName::Orchestrator);
        proxy.swallow_requests();
        let mut claim = std::pin::pin!(worker.write_until_decided("permits.0", "w1".into(), granted));
        tokio::select! {
            done = &mut claim => panic!("nobody can know yet: {done:?}"),
            () = proxy.lost(1) => {}
        }
        proxy.heal();
        let revision = claim.await.unwrap();
        assert_eq!(eye.get("permits.0").await.unwrap().unwrap().revision, revision);
    })
    .await;
}
