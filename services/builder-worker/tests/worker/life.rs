use std::{fs, time::Duration};

use packline_domain::{BuildOrder, Outcome};
use packline_testkit::process::Process;
use serde_json::json;

use crate::foreman::{Foreman, alive, until, until_alive};

/// A package whose test leaves stubborn children and never ends.
const ENDLESS: &str = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 1000' &) ; sleep 1001 & wait";

pub(crate) async fn endless(claim: Duration) -> (Foreman, Process, BuildOrder) {
    let mut foreman = Foreman::new(claim).await;
    foreman.package(
        "@acme/endless",
        json!({"name": "@acme/endless", "version": "1.0.0", "scripts": {"test": ENDLESS}}),
        &[],
    );
    let worker = foreman.worker("one", &[("NPM_REGISTRY", "http://127.0.0.1:9")]);
    let order = foreman.order(0, "@acme/endless").await;
    until("the phase test", || async {
        let workers = foreman.workers().await;
        let builds = &workers.values().next()?.builds;
        (builds.first()?.phase.as_deref() == Some("test")).then_some(())
    })
    .await;
    until_alive(&order, true).await;
    (foreman, worker, order)
}

#[tokio::test]
async fn a_withdrawn_build_is_killed_and_then_said_to_be_cancelled() {
    let (mut foreman, _worker, order) = endless(Duration::from_secs(60)).await;
    foreman.withdraw(0).await;
    let result = foreman.outcome(&order).await;
    assert_eq!((result.outcome, result.failed_phase.as_deref()), (Outcome::Cancelled, Some("test")));
    assert_eq!(alive(&order), 0);
}

#[tokio::test]
async fn a_build_whose_permit_is_gone_is_killed() {
    let (foreman, _worker, order) = endless(Duration::from_secs(3)).await;
    foreman.orchestrator.delete("permits.0").await.unwrap();
    until_alive(&order, false).await;
    until("the build forgotten", || async { foreman.workers().await.values().next()?.builds.is_empty().then_some(()) })
        .await;
}

#[tokio::test]
async fn a_killed_worker_leaves_no_process_and_its_copy_goes_with_the_next_one() {
    let (mut foreman, worker, order) = endless(Duration::from_secs(60)).await;
    worker.kill().await;
    until_alive(&order, false).await;
    assert_eq!(fs::read_dir(foreman.scratch()).unwrap().count(), 1);
    foreman.package("@acme/p", json!({"name": "@acme/p", "version": "1.0.0", "private": true}), &[]);
    let _next = foreman.worker("two", &[("NPM_REGISTRY", "http://127.0.0.1:9")]);
    let order = foreman.order(1, "@acme/p").await;
    assert_eq!(foreman.outcome(&order).await.outcome, Outcome::Published);
    assert_eq!(fs::read_dir(foreman.scratch()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_frozen_workers_build_ends_with_its_fuse_and_it_goes_on_under_a_new_name() {
    let (mut foreman, worker, order) = endless(Duration::from_secs(3)).await;
    let old = foreman.permit(0).await.unwrap().worker.unwrap();
    worker.freeze();
    until_alive(&order, false).await;
    worker.thaw();
    let result = foreman.outcome(&order).await;
    assert_eq!((result.outcome, &result.worker), (Outcome::Returned, &old));
    until("a new name", || async {
        let workers = foreman.workers().await;
        (!workers.contains_key(&old) && workers.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_frozen_broker_blows_the_fuse() {
    let (mut foreman, _worker, order) = endless(Duration::from_secs(3)).await;
    foreman.server.freeze();
    until_alive(&order, false).await;
    foreman.server.thaw();
    assert_eq!(foreman.outcome(&order).await.outcome, Outcome::Returned);
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_hands_back_what_it_cannot_finish() {
    let (mut foreman, worker, order) = endless(Duration::from_secs(60)).await;
    assert!(worker.stop(Duration::from_secs(30)).await.success());
    assert_eq!(alive(&order), 0);
    assert_eq!(foreman.outcome(&order).await.outcome, Outcome::Returned);
    assert!(foreman.workers().await.is_empty());
    assert_eq!(fs::read_dir(foreman.scratch()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_build_that_takes_longer_than_its_order_allows_is_killed() {
    let mut foreman = Foreman::new(Duration::from_secs(60)).await;
    foreman.package(
        "@acme/slow",
        json!({"name": "@acme/slow", "version": "1.0.0", "scripts": {"build": ENDLESS}}),
        &[],
    );
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", "http://127.0.0.1:9")]);
    let mut order = foreman.grant(0, "@acme/slow").await;
    order.deadline_seconds = 3;
    foreman.send(&order).await;
    let result = foreman.outcome(&order).await;
    assert_eq!((result.outcome, result.retry), (Outcome::TimedOut, true));
    assert_eq!(alive(&order), 0);
}

#[tokio::test]
async fn a_build_that_is_not_at_its_first_phase_yet_is_killed_as_well() {
    let mut foreman = Foreman::new(Duration::from_secs(60)).await;
    // Nobody ever writes to it, and the worker would wait for npm's settings.
    let settings = foreman.folder().join("npmrc");
    nix::unistd::mkfifo(&settings, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _worker = foreman.worker("one", &[("npm_config_userconfig", &settings.display().to_string())]);
    let mut late = foreman.grant(0, "@acme/late").await;
    late.deadline_seconds = 2;
    foreman.send(&late).await;
    assert_eq!(foreman.outcome(&late).await.outcome, Outcome::TimedOut);

    let withdrawn = foreman.order(0, "@acme/withdrawn").await;
    until("a claim", || async { foreman.permit(0).await?.worker.map(|_| ()) }).await;
    foreman.withdraw(0).await;
    let answer = tokio::time::timeout(Duration::from_secs(40), foreman.outcome(&withdrawn)).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Cancelled);
}
