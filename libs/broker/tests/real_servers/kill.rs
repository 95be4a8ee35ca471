use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use packline_broker::{Entry, MAX_WRITES};
use packline_domain::record::Leader;
use packline_testkit::campaign;

use crate::{Place, leader, records, take, within};

/// How far the commits of one life have come: number sent, number acknowledged.
#[derive(Clone, Copy, Default)]
struct Progress {
    sent: u64,
    acked: u64,
}

/// All records carry the number of the commit that `leader` names, and follow it without a gap.
fn check_whole(entries: &[Entry]) -> u64 {
    let record = entries.iter().find(|entry| entry.key == "leader").unwrap();
    let commit = serde_json::from_slice::<Leader>(record.value.as_ref().unwrap()).unwrap().commit;
    let queue: Vec<&Entry> = entries.iter().filter(|entry| entry.key.starts_with("queue.")).collect();
    assert_eq!(queue.len(), MAX_WRITES);
    for (entry, number) in queue.iter().zip(1..) {
        assert_eq!(entry.value.as_ref().unwrap(), commit.to_string().as_bytes(), "{} is of another commit", entry.key);
        assert_eq!(entry.revision, record.revision + number);
    }
    commit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_1000_records_is_whole_or_absent_whenever_its_broker_is_killed() {
    let kills: u32 = campaign::size(20, 100);
    within(async {
        let mut place = Place::new().await;
        let mut commit = 1;
        let (mut unheard, mut in_the_middle) = (0, 0);
        for life in 0..kills {
            let bucket = place.bucket("leader").await;
            let mut chain = take(&bucket, "a", u64::from(life) + 1).await;
            let first = Instant::now();
            chain.commit(&leader("a", 1, commit), &records(MAX_WRITES, &commit.to_string())).await.unwrap();
            let usual = first.elapsed();

            let progress = Arc::new(Mutex::new(Progress { sent: commit, acked: commit }));
            let (began, mut begun) = tokio::sync::watch::channel(());
            let committing = tokio::spawn({
                let progress = Arc::clone(&progress);
                async move {
                    for number in commit + 1.. {
                        progress.lock().unwrap().sent = number;
                        let _ = began.send(());
                        chain.commit(&leader("a", 1, number), &records(MAX_WRITES, &number.to_string())).await.unwrap();
                        progress.lock().unwrap().acked = number;
                    }
                }
            });
            // Somewhere within the commit that begins now: from its first message to its ack.
            begun.changed().await.unwrap();
            tokio::time::sleep(usual.mul_f64(f64::from(life) / f64::from(kills - 1)).min(Duration::from_secs(1))).await;
            place.server.kill().await;
            committing.abort();
            let Progress { sent, acked } = *progress.lock().unwrap();
            in_the_middle += u32::from(sent > acked);

            place.server.restart().await.unwrap();
            let reader = place.bucket("reader").await;
            commit = check_whole(&reader.load(">", 0).await.unwrap());
            assert!((acked..=sent).contains(&commit), "acked {acked}, sent {sent}, found {commit}");
            unheard += u32::from(commit > acked);
            commit += 1;
        }
        println!("{in_the_middle} of {kills} kills within a commit, {unheard} stored without an answer");
        assert!(in_the_middle >= kills / 2, "only {in_the_middle} kills hit a commit");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_commits_on_through_kills_of_the_server() {
    within(async {
        let mut place = Place::new().await;
        let bucket = place.bucket("leader").await;
        let mut chain = take(&bucket, "a", 1).await;
        let (sender, mut commits) = tokio::sync::watch::channel(0_u64);
        let committing = tokio::spawn(async move {
            let mut last = chain.revision();
            for number in 1..=60 {
                let committed =
                    chain.commit(&leader("a", 1, number), &records(100, &number.to_string())).await.unwrap();
                assert_eq!(committed.first, last + if number == 1 { 1 } else { 101 }, "each commit is stored once");
                last = committed.first;
                let _ = sender.send(number);
            }
        });
        for after in [10, 20, 30, 40, 50] {
            commits.wait_for(|number| *number >= after).await.unwrap();
            place.server.restart().await.unwrap();
        }
        committing.await.unwrap();
    })
    .await;
}
