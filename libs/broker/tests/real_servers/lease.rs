use std::time::{Duration, Instant};

use packline_broker::{Chain, LeaseWatch};
use packline_domain::record::Leader;

use crate::{Place, leader, take, within};

/// As [`leader`] writes it.
const LEASE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_bucket_without_a_leader_is_vacant_at_once() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("b").await;
        let (observed, record) = LeaseWatch::vacant(&bucket, "b").await.unwrap();
        assert_eq!((observed, record), (0, None));
        Chain::take(&bucket, observed, &leader("b", 1, 1)).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_vacant_only_when_it_was_not_renewed_for_its_time() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        let mut chain = take(&bucket, "a", 1).await;
        let standby = tokio::spawn({
            let bucket = place.bucket("b").await;
            async move { (LeaseWatch::vacant(&bucket, "b").await.unwrap(), Instant::now()) }
        });
        let mut renewals = tokio::time::interval(LEASE / 3);
        let mut renewed = Instant::now();
        for _ in 0..9 {
            renewals.tick().await;
            renewed = Instant::now();
            chain.commit(&leader("a", 1, 2), &[]).await.unwrap();
            assert!(!standby.is_finished(), "it is renewed in time");
        }
        let ((observed, record), found) = standby.await.unwrap();
        assert_eq!(observed, chain.revision());
        assert_eq!(record.unwrap().holder.as_deref(), Some("a"));
        assert!(found.duration_since(renewed) >= LEASE);
        Chain::take(&place.bucket("b").await, observed, &leader("b", 2, 3)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_at_once() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        let hour = |holder: Option<&str>| Leader {
            holder: holder.map(Into::into),
            lease_millis: 3_600_000,
            ..leader("a", 1, 1)
        };
        let mut chain = Chain::take(&bucket, 0, &hour(Some("a"))).await.unwrap();
        let standby = place.bucket("b").await;
        let mut vacant = std::pin::pin!(LeaseWatch::vacant(&standby, "b"));
        let early = tokio::time::timeout(Duration::from_millis(500), &mut vacant).await;
        assert!(early.is_err(), "it is held");
        chain.commit(&hour(None), &[]).await.unwrap();
        let (observed, record) = vacant.await.unwrap();
        assert_eq!(observed, chain.revision());
        assert_eq!(record.unwrap().holder, None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_that_the_broker_was_away_does_not_count() {
    within(async {
        let place = Place::new().await;
        let bucket = place.bucket("a").await;
        let mut chain = take(&bucket, "a", 1).await;
        let standby = tokio::spawn({
            let bucket = place.bucket("b").await;
            async move { (LeaseWatch::vacant(&bucket, "b").await.unwrap(), Instant::now()) }
        });
        let mut thawed = Instant::now();
        for _ in 0..2 {
            chain.commit(&leader("a", 1, 2), &[]).await.unwrap();
            place.server.freeze();
            tokio::time::sleep(LEASE * 2).await;
            place.server.thaw();
            thawed = Instant::now();
            chain.commit(&leader("a", 1, 3), &[]).await.unwrap();
            assert!(!standby.is_finished(), "nobody could renew it meanwhile");
        }
        let ((observed, _), found) = standby.await.unwrap();
        assert_eq!(observed, chain.revision());
        assert!(found.duration_since(thawed) >= LEASE);
    })
    .await;
}
