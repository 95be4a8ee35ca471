//! The whole path on real parts: what is built, in which order, how often.

use std::time::Duration;

use packline_broker::StreamName;
use packline_domain::{FailureClass, Outcome, record::State};
use packline_tests::{Fixture, Gate, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_diamond_is_built_in_the_order_of_its_dependencies() {
    let packages = [
        Fixture::new("top").needs("left").needs("right"),
        Fixture::new("left").needs("base"),
        Fixture::new("right").needs("base"),
        Fixture::new("base").script("build", "node -e 0"),
    ];
    let mut scene = Scene::start(&packages, &[]).await.unwrap();
    scene.run(2).await.unwrap();
    for package in &packages {
        scene.until_state(package.name(), "published").await.unwrap();
        scene.until_catalogue(package.name(), "published").await.unwrap();
    }
    let result = async |name: &str| scene.results(name).await.unwrap().remove(0);
    let (base, left, right, top) = (
        result("@acme/base").await,
        result("@acme/left").await,
        result("@acme/right").await,
        result("@acme/top").await,
    );
    for (first, then) in [(&base, &left), (&base, &right), (&left, &top), (&right, &top)] {
        assert!(first.finished_at <= then.started_at, "{first:?} ends after {then:?} begins");
        assert!(first.phases.last().is_some_and(|phase| phase.name == "publish"), "{first:?}");
    }
    let installed = scene.plant.registry.view("@acme/top").await.unwrap().unwrap();
    assert!(installed.versions.contains_key("1.0.0"));
    assert!(scene.permits().await.unwrap().is_empty());
    let results = scene.messages(StreamName::Results).await.unwrap();
    assert_eq!(results.len(), packages.len(), "one build each: {results:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_retried_and_counted_and_block_what_waits_for_them() {
    let packages = [
        Fixture::new("flaky").script("test", "node -e \"process.exit(process.env.ATTEMPT === '3' ? 0 : 1)\""),
        Fixture::new("broken").script("test", "node -e \"process.exit(4)\""),
        Fixture::new("waiting").needs("broken"),
        Fixture::new("impostor").field("name", "@acme/somebody-else".into()),
    ];
    let mut scene = Scene::start(&packages, &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.announce(r#"{"name": "@acme/impostor"}"#).await.unwrap();
    scene.announce(r#"{"name": "@acme/nowhere"}"#).await.unwrap();

    scene.until_state("@acme/flaky", "published").await.unwrap();
    let flaky = scene.retries("@acme/flaky").await.unwrap();
    let classes: Vec<_> = flaky.attempts.iter().map(|attempt| (attempt.attempt, attempt.class)).collect();
    assert_eq!(classes, [(1, Some(FailureClass::Own)), (2, Some(FailureClass::Own)), (3, None)]);

    let broken = scene.until_state("@acme/broken", "failed").await.unwrap();
    let State::Failed { error, failed_phase } = broken.state else { panic!("{broken:?}") };
    assert!(failed_phase.as_deref() == Some("test") && error.contains("status 4"), "{error}");
    assert_eq!(scene.retries("@acme/broken").await.unwrap().failures, 3);
    assert_eq!(scene.until_state("@acme/waiting", "queued").await.unwrap().status_commit, 0);
    scene.until_catalogue("@acme/broken", "failed").await.unwrap();

    for permanent in ["@acme/impostor", "@acme/nowhere"] {
        scene.until_state(permanent, "failed").await.unwrap();
        let attempts = scene.retries(permanent).await.unwrap().attempts;
        assert_eq!(attempts.len(), 1, "{permanent} is tried once: {attempts:?}");
        assert_eq!(attempts[0].class, Some(FailureClass::Permanent));
    }
    assert!(scene.permits().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_announcement_during_a_build_leads_to_one_build() {
    let gate = Gate::closed().unwrap();
    let package = Fixture::new("core").stops_at(&gate);
    let mut scene = Scene::start(std::slice::from_ref(&package), &[]).await.unwrap();
    scene.run(2).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();
    let mut last = 0;
    let mut every = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..20 {
        every.tick().await;
        last = scene.announce(r#"[{"name": "@acme/core", "priority": 3}]"#).await.unwrap();
    }
    scene
        .until("leader", |leader| leader.is_some_and(|leader| leader["positions"]["PACKAGES"]["sequence"] == last))
        .await
        .unwrap();
    gate.open().unwrap();
    let record = scene.until_state("@acme/core", "published").await.unwrap();
    assert_eq!(record.package.priority, 3, "the newest data counts");
    scene.until_catalogue("@acme/core", "published").await.unwrap();
    assert_eq!(gate.reached().len(), 1);
    assert_eq!(scene.results("@acme/core").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_changed_during_its_build_is_built_again_and_what_is_there_already_is_success() {
    let gate = Gate::closed().unwrap();
    let package = Fixture::new("core").stops_at(&gate);
    let mut scene = Scene::start(std::slice::from_ref(&package), &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();
    scene.announce(r#"{"name": "@acme/core", "ref": "v2"}"#).await.unwrap();
    scene.until("queue.acme/core", |queue| queue.is_some_and(|queue| queue["again"] == true)).await.unwrap();
    gate.open().unwrap();
    scene.until_reached(&gate, 2).await.unwrap();
    let record = scene.until_state("@acme/core", "published").await.unwrap();
    assert_eq!(record.package.extra["ref"], "v2");
    let results = scene.results("@acme/core").await.unwrap();
    assert!(results.iter().all(|result| result.outcome == Outcome::Published), "{results:?}");
    assert_eq!(results[0].integrity, results[1].integrity);
}
