//! Builds that wait for a layer that another one makes.

use packline_domain::{BuildOrder, Outcome, phase::PhaseStatus, record::WorkerBuild};
use packline_testkit::{process::Process, stand_in::StandIn};
use serde_json::json;

use super::{Gate, MADE, REUSED, gated, member, phase, results};
use crate::{
    foreman::{Foreman, until},
    workspaces::Bench,
};

const INSTALL: &str = "the install of the workspace";

/// What the heartbeats say of a build, once `is_meant` holds of it.
async fn said(foreman: &Foreman, order: &BuildOrder, is_meant: impl Fn(&WorkerBuild) -> bool) -> WorkerBuild {
    until("what a heartbeat says", || async {
        let mut said = foreman.workers().await.into_values().flat_map(|worker| worker.builds);
        said.find(|build| build.build_id == order.build_id).filter(&is_meant)
    })
    .await
}

/// A worker whose installs may take a second, and be silent for as long.
fn limited(foreman: &Foreman, registry: &StandIn) -> Process {
    let recipe = foreman.recipe(
        "[[phase]]\nname = \"install\"\nbuiltin = \"install\"\ntimeout = \"1s\"\nsilence = \"1s\"\n\
         [[phase]]\nname = \"publish\"\nbuiltin = \"publish\"\n",
    );
    let url = registry.url();
    let settings = [("NPM_REGISTRY", url.as_str()), ("NPM_TOKEN", "t"), ("SLOTS", "2"), ("RECIPE", &recipe)];
    foreman.worker("limited", &settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_says_what_a_build_waits_for_until_it_goes_on() {
    let (Bench { mut foreman, registry: _registry, worker: _worker }, gate) = gated("2").await;
    let own = Gate::new(foreman.folder(), "own");
    let manifest = json!({"name": "@acme/b", "version": "1.0.0", "scripts": {"build": own.script()}});
    foreman.package("@acme/b", manifest, &[]);
    let maker = foreman.order(0, "@acme/a").await;
    let makes = gate.reached().await;
    gate.remove().unwrap();
    let waiter = foreman.order(1, "@acme/b").await;
    let waiting = said(&foreman, &waiter, |build| build.waiting_for.is_some()).await;
    assert_eq!((waiting.phase.as_deref(), waiting.waiting_for.as_deref()), (Some("install"), Some(INSTALL)));
    let making = said(&foreman, &maker, |build| build.phase.is_some()).await;
    assert_eq!((making.phase.as_deref(), making.waiting_for), (Some("install"), None));
    drop(makes);
    let builds = own.reached().await;
    own.remove().unwrap();
    let building = said(&foreman, &waiter, |build| build.phase.as_deref() == Some("build")).await;
    assert_eq!(building.waiting_for, None);
    drop(builds);
    let [maker, waiter] = results(&mut foreman, [&maker, &waiter]).await;
    assert_eq!((phase(&maker, "install"), phase(&waiter, "install")), (MADE, REUSED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_layer_counts_against_the_deadline_and_not_against_the_limits_of_the_phase() {
    let (Bench { mut foreman, registry, worker: unlimited }, gate) = gated("1").await;
    let maker = foreman.order(0, "@acme/a").await;
    let makes = gate.reached().await;
    gate.remove().unwrap();
    let _limited = limited(&foreman, &registry);
    let waiter = foreman.order(1, "@acme/b").await;
    said(&foreman, &waiter, |build| build.waiting_for.is_some()).await;
    let mut late = foreman.grant(2, "@acme/c").await;
    late.deadline_seconds = 3;
    foreman.send(&late).await;
    let ended = foreman.outcome(&late).await;
    assert_eq!((ended.outcome, ended.failed_phase.as_deref()), (Outcome::TimedOut, Some("install")), "{ended:?}");
    assert_eq!(ended.error.as_deref(), Some("install: killed: it took longer than the 3 s it may"));
    drop(makes);
    let [made, waited] = results(&mut foreman, [&maker, &waiter]).await;
    assert_eq!((phase(&made, "install"), phase(&waited, "install")), (MADE, REUSED));

    // What a build makes itself takes from its own phase.
    unlimited.kill().await;
    let gate = Gate::new(foreman.folder(), "gate");
    member(&foreman, "@acme/c", "1.0.1", json!({"tiny-gated": "1.0.0"}));
    let order = foreman.order(3, "@acme/c").await;
    let limited = foreman.outcome(&order).await;
    assert_eq!((limited.outcome, limited.failed_phase.as_deref()), (Outcome::TimedOut, Some("install")), "{limited:?}");
    assert_eq!(limited.phases.last().map(|phase| phase.status), Some(PhaseStatus::TimedOut));
    gate.remove().unwrap();
}
