//! Any part may be killed between any two instructions; nothing is lost, nothing is built twice at a time.

use std::time::Duration;

use packline_domain::{FailureClass, record::Leader};
use packline_testkit::witness::processes_of;
use packline_tests::{Fixture, Gate, PATIENCE, SHORT_CLAIM, Scene};
use serde_json::{Value, json};

/// [`SHORT_CLAIM`].
const CLAIM: Duration = Duration::from_secs(6);
/// How long the guard of a killed worker may take, on a loaded machine.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_killed_in_the_middle_of_a_build_leaves_the_build_to_the_next() {
    let gate = Gate::closed().unwrap();
    let packages = [Fixture::new("core").stops_at(&gate), Fixture::new("app").needs("core")];
    let mut scene = Scene::start(&packages, &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();
    scene.plant.orchestrators[0].kill().await;
    gate.open().unwrap();
    scene.plant.add_orchestrator().unwrap();
    scene.until_state("@acme/app", "published").await.unwrap();
    assert_eq!(gate.reached().len(), 1, "the running build was not started again");
    assert_eq!(scene.retries("@acme/core").await.unwrap().attempts.len(), 1);
    assert!(scene.permits().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_from_a_killed_leader_and_from_a_frozen_one() {
    let gate = Gate::closed().unwrap();
    let packages = [Fixture::new("core").stops_at(&gate), Fixture::new("app").needs("core")];
    let mut scene = Scene::start(&packages, &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();
    let first = scene.leader().await.unwrap();
    scene.plant.add_orchestrator().unwrap();
    scene.plant.orchestrators[0].kill().await;
    let replaced = |old: &Leader| {
        let old = json!(old.holder);
        move |leader: Option<&Value>| leader.is_some_and(|now| now["holder"].is_string() && now["holder"] != old)
    };
    scene.until("leader", replaced(&first)).await.unwrap();

    let second = scene.leader().await.unwrap();
    scene.plant.add_orchestrator().unwrap();
    scene.plant.orchestrators[1].freeze();
    scene.until("leader", replaced(&second)).await.unwrap();
    scene.plant.orchestrators[1].thaw();
    gate.open().unwrap();
    scene.until_state("@acme/app", "published").await.unwrap();
    assert_eq!(gate.reached().len(), 1);
    assert!(scene.permits().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_build_of_a_killed_worker_dies_with_it_and_is_built_again_by_another() {
    let gate = Gate::closed().unwrap();
    let mut scene = Scene::start(&[Fixture::new("core").stops_at(&gate)], &[SHORT_CLAIM]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_obeyed(CLAIM, 1).await.unwrap();
    let builds = scene.until_reached(&gate, 1).await.unwrap();
    assert!(!processes_of(&builds[0]).is_empty());
    scene.plant.workers[0].kill().await;
    scene.until_seen("no process of the build", KILLED_WITHIN, || processes_of(&builds[0]).is_empty()).await.unwrap();
    scene.plant.add_worker(2).unwrap();
    gate.open().unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    let retries = scene.retries("@acme/core").await.unwrap();
    let classes: Vec<_> = retries.attempts.iter().map(|attempt| (attempt.attempt, attempt.class)).collect();
    assert_eq!(classes, [(1, Some(FailureClass::WorkerLost)), (1, None)], "a lost worker is no failure of the package");
    assert_eq!(retries.failures, 0);
    assert!(scene.permits().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_build_of_a_frozen_worker_is_dead_before_it_is_built_again() {
    let gate = Gate::closed().unwrap();
    let mut scene = Scene::start(&[Fixture::new("core").stops_at(&gate)], &[SHORT_CLAIM]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_obeyed(CLAIM, 1).await.unwrap();
    let first = scene.until_reached(&gate, 1).await.unwrap().remove(0);
    scene.plant.workers[0].freeze();
    scene.plant.add_worker(2).unwrap();
    scene
        .until_seen("the second build", PATIENCE, || {
            let again = gate.reached().len() > 1;
            assert!(!again || processes_of(&first).is_empty(), "two builds of one package at a time");
            again
        })
        .await
        .unwrap();
    assert!(!processes_of(&gate.reached()[1]).is_empty());
    scene.plant.workers[0].thaw();
    gate.open().unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    assert_eq!(gate.reached().len(), 2);
    assert!(scene.permits().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_in_the_middle_of_a_build_goes_on_where_it_was() {
    let gate = Gate::closed().unwrap();
    let packages = [Fixture::new("core").stops_at(&gate), Fixture::new("app").needs("core")];
    let mut scene = Scene::start(&packages, &[("LEASE", "4s")]).await.unwrap();
    scene.run(2).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();
    scene.plant.broker.kill().await;
    scene.plant.broker.restart().await.unwrap();
    gate.open().unwrap();
    scene.until_state("@acme/app", "published").await.unwrap();
    scene.until_catalogue("@acme/app", "published").await.unwrap();
    assert_eq!(scene.retries("@acme/core").await.unwrap().failures, 0);
    assert!(scene.permits().await.unwrap().is_empty());
    for part in scene.plant.orchestrators.iter().chain(&scene.plant.pollers).chain(&scene.plant.workers) {
        assert!(part.is_running(), "{} survives its broker\n{}", part.name(), part.last_lines(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_killed_before_it_reports_leaves_the_report_to_the_next() {
    let gate = Gate::closed().unwrap();
    let mut scene = Scene::start(&[Fixture::new("core").stops_at(&gate)], &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();
    scene.plant.pollers[0].kill().await;
    gate.open().unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    scene.plant.add_poller().unwrap();
    scene.until_catalogue("@acme/core", "published").await.unwrap();
    assert_eq!(gate.reached().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_killed_once_in_the_middle_of_the_demo_changes_no_outcome() {
    let mut scene = Scene::demo(&[SHORT_CLAIM]).await.unwrap();
    scene.run(2).await.unwrap();
    scene.until_obeyed(CLAIM, 2).await.unwrap();
    scene.until_held("@demo/text").await.unwrap();
    scene.plant.orchestrators[0].kill().await;
    scene.plant.add_orchestrator().unwrap();

    let held = scene.until_held("@demo/roman").await.unwrap();
    let (worker, of_build) = (held.worker.unwrap(), held.build_id.to_string());
    scene.until_seen("a process of the build", PATIENCE, || !processes_of(&of_build).is_empty()).await.unwrap();
    let holder = scene.plant.workers.iter().find(|process| process.printed().contains(&worker)).unwrap();
    holder.kill().await;
    scene.until_seen("no process of its build", KILLED_WITHIN, || processes_of(&of_build).is_empty()).await.unwrap();
    scene.plant.add_worker(2).unwrap();

    scene.until_state("@demo/text", "published").await.unwrap();
    scene.plant.pollers[0].kill().await;
    scene.plant.add_poller().unwrap();
    scene.until_held("@demo/wrap").await.unwrap();
    scene.plant.broker.kill().await;
    scene.plant.broker.restart().await.unwrap();

    for package in ["@demo/text", "@demo/case", "@demo/wrap", "@demo/banner", "@demo/egg", "@demo/hen"] {
        scene.until_state(package, "published").await.unwrap();
        scene.until_catalogue(package, "published").await.unwrap();
    }
    scene.until_state("@demo/roman", "failed").await.unwrap();
    scene.until_catalogue("@demo/roman", "failed").await.unwrap();
    assert_eq!(scene.until_state("@demo/clock", "queued").await.unwrap().status_commit, 0, "it never started");
    let ends = async |package: &str, class: Option<FailureClass>| {
        let attempts = scene.retries(package).await.unwrap().attempts;
        attempts.iter().filter(|attempt| attempt.class == class).count()
    };
    let expected = [
        ("@demo/text", 0, 1),
        ("@demo/case", 0, 1),
        ("@demo/wrap", 2, 1),
        ("@demo/banner", 0, 1),
        ("@demo/roman", 3, 0),
        ("@demo/egg", 0, 1),
        ("@demo/hen", 0, 1),
    ];
    for (package, own, published) in expected {
        let counted = (ends(package, Some(FailureClass::Own)).await, ends(package, None).await);
        assert_eq!(counted, (own, published), "{package}");
    }
    let lost = scene.retries("@demo/roman").await.unwrap().attempts;
    let lost: Vec<_> = lost.iter().filter(|attempt| attempt.class == Some(FailureClass::WorkerLost)).collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0].build_id.to_string(), of_build);
    assert!(scene.permits().await.unwrap().is_empty());
}
