//! Pause, resume and drain, as an operator commands them.

use packline_testkit::witness::processes_of;
use packline_tests::{Fixture, Gate, PATIENCE, Scene};
use serde_json::Value;

fn is_complete(mode: &'static str) -> impl Fn(Option<&Value>) -> bool {
    move |control| control.is_some_and(|control| control["mode"] == mode && control["complete"] == true)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_while_paused_and_the_running_build_goes_on() {
    let gate = Gate::closed().unwrap();
    let packages = [Fixture::new("core").stops_at(&gate), Fixture::new("app").needs("core")];
    let mut scene = Scene::start(&packages, &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();
    scene.command("pause", r#"{"by": "ada", "reason": "release"}"#).await.unwrap();
    let control = scene.until("control", is_complete("paused")).await.unwrap().unwrap();
    assert_eq!((&control["by"], &control["reason"]), (&"ada".into(), &"release".into()));
    gate.open().unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    let state = scene.ask("orchestrator.state", "").await.unwrap();
    assert_eq!((&state["mode"], &state["counts"]["ready"]), (&"paused".into(), &1.into()), "{state}");
    assert!(scene.permits().await.unwrap().is_empty());
    scene.command("resume", "").await.unwrap();
    scene.until_state("@acme/app", "published").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_orchestrators_all_exit_0_and_the_next_one_goes_on() {
    let gate = Gate::closed().unwrap();
    let packages = [Fixture::new("core").stops_at(&gate), Fixture::new("app").needs("core")];
    let mut scene = Scene::start(&packages, &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();
    scene.plant.add_orchestrator().unwrap();
    scene
        .until_seen("the standby stands by", PATIENCE, || scene.plant.orchestrators[1].printed().contains("stands by"))
        .await
        .unwrap();
    scene.command("drain", "").await.unwrap();
    scene.until("control", is_complete("draining")).await.unwrap();
    assert!(scene.plant.orchestrators.iter().all(|orchestrator| orchestrator.is_running()));
    gate.open().unwrap();
    for orchestrator in &scene.plant.orchestrators {
        let ended = tokio::time::timeout(PATIENCE, orchestrator.exited()).await;
        assert!(ended.is_ok_and(|status| status.success()), "{}", orchestrator.last_lines(20));
    }
    assert!(scene.permits().await.unwrap().is_empty());
    scene.until_state("@acme/app", "queued").await.unwrap();
    scene.plant.add_orchestrator().unwrap();
    scene.until_state("@acme/app", "published").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_stop_kills_what_runs_and_the_attempt_is_unspent() {
    let gate = Gate::closed().unwrap();
    let mut scene = Scene::start(&[Fixture::new("core").stops_at(&gate)], &[]).await.unwrap();
    scene.run(1).await.unwrap();
    let first = scene.until_reached(&gate, 1).await.unwrap().remove(0);
    scene.command("emergency-stop", "").await.unwrap();
    scene.until_seen("no process of the build", PATIENCE, || processes_of(&first).is_empty()).await.unwrap();
    scene.until_state("@acme/core", "queued").await.unwrap();
    gate.open().unwrap();
    scene.command("resume", "").await.unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    let retries = scene.retries("@acme/core").await.unwrap();
    assert_eq!((retries.failures, retries.attempts.last().unwrap().attempt), (0, 1), "{retries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_program_stops_when_it_is_asked_to_also_while_its_broker_is_away() {
    let mut scene = Scene::start(&[Fixture::new("core")], &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_state("@acme/core", "published").await.unwrap();
    scene.plant.broker.kill().await;
    for program in scene.plant.orchestrators.iter().chain(&scene.plant.pollers).chain(&scene.plant.workers) {
        let status = program.stop(PATIENCE).await;
        assert!(status.success(), "{} ends with {status}\n{}", program.name(), program.last_lines(20));
    }
}
