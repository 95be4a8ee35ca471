use packline_broker::{BucketName, Chain, CommitError};

use crate::{Place, leader, put, records, take, through, within};

/// A chain behind a proxy, and the way round it.
async fn behind_a_proxy(place: &Place) -> (packline_testkit::proxy::Proxy, Chain, packline_broker::Bucket) {
    let proxy = place.proxy().await;
    let bucket = through(&proxy, "a").await.bucket(BucketName::Orchestrator);
    let chain = take(&bucket, "a", 1).await;
    (proxy, chain, place.bucket("eye").await)
}

#[tokio::test]
async fn a_commit_that_was_stored_without_an_answer_is_found_and_not_stored_again() {
    within(async {
        let place = Place::new().await;
        let (proxy, mut chain, eye) = behind_a_proxy(&place).await;
        for writes in [records(0, ""), records(20, "x")] {
            let before = chain.revision();
            proxy.swallow_answers();
            let mut watch = eye.watch("leader");
            let record = leader("a", 1, 2);
            let mut commit = std::pin::pin!(chain.commit(&record, &writes));
            loop {
                let seen = tokio::select! {
                    done = &mut commit => panic!("nobody can know yet: {done:?}"),
                    seen = watch.next() => seen,
                };
                if matches!(seen, packline_broker::Watched::Entry(entry) if entry.revision > before) {
                    break;
                }
            }
            proxy.heal();
            let committed = commit.await.unwrap();
            assert_eq!(eye.get("leader").await.unwrap().unwrap().revision, committed.first);
        }
        chain.commit(&leader("a", 1, 3), &[]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_sent_again() {
    within(async {
        let place = Place::new().await;
        let (proxy, mut chain, eye) = behind_a_proxy(&place).await;
        let before = chain.revision();
        proxy.swallow_requests();
        let (record, writes) = (leader("a", 1, 2), records(20, "x"));
        let mut commit = std::pin::pin!(chain.commit(&record, &writes));
        tokio::select! {
            done = &mut commit => panic!("nobody can know yet: {done:?}"),
            () = proxy.lost(1000) => {}
        }
        assert_eq!(eye.get("leader").await.unwrap().unwrap().revision, before);
        proxy.heal();
        let committed = commit.await.unwrap();
        assert_eq!(committed.first, before + 1);
        assert_eq!(eye.get("queue.p19").await.unwrap().unwrap().revision, committed.first + 20);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_commit_ends_as_deposed_when_another_leads_meanwhile() {
    within(async {
        for arrives in [true, false] {
            let place = Place::new().await;
            let (proxy, mut chain, eye) = behind_a_proxy(&place).await;
            let before = chain.revision();
            if arrives {
                proxy.swallow_answers()
            } else {
                proxy.swallow_requests()
            }
            let (record, writes) = (leader("a", 1, 2), vec![put("queue.x", "x")]);
            let mut commit = std::pin::pin!(chain.commit(&record, &writes));
            let observed = tokio::select! {
                done = &mut commit => panic!("nobody can know yet: {done:?}"),
                observed = async {
                    proxy.lost(1).await;
                    loop {
                        let revision = eye.get("leader").await.unwrap().unwrap().revision;
                        if revision > before || !arrives {
                            break revision;
                        }
                    }
                } => observed,
            };
            Chain::take(&eye, observed, &leader("b", 2, 3)).await.unwrap();
            proxy.heal();
            let ended = commit.await;
            assert!(matches!(ended, Err(CommitError::Deposed)), "{ended:?}");
            assert_eq!(eye.get("queue.x").await.unwrap().is_some(), arrives);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_arrived_in_part_leaves_nothing_and_is_sent_again() {
    within(async {
        let place = Place::new().await;
        let (proxy, mut chain, eye) = behind_a_proxy(&place).await;
        for part in 1..10 {
            let before = chain.revision();
            // A commit of 999 records is about 200 kB on the wire.
            proxy.cut_after_requests(part * 20_000);
            let committed = chain.commit(&leader("a", 1, 2), &records(999, &part.to_string())).await.unwrap();
            assert_eq!(committed.first, before + if part == 1 { 1 } else { 1000 }, "it is stored once");
            let entries = eye.load("queue.*", committed.first).await.unwrap();
            assert_eq!(entries.len(), 999);
            assert!(entries.iter().all(|entry| *entry.value.as_ref().unwrap() == part.to_string()));
        }
    })
    .await;
}
