//! A script `test` that is no test, and a `lint` that fails.

use std::time::Duration;

use packline_domain::{
    Outcome,
    phase::{PhaseReport, PhaseStatus, Tests},
};
use packline_testkit::registry::Registry;
use serde_json::json;

use crate::{foreman::Foreman, recorder::Recorder};

const CLAIM: Duration = Duration::from_secs(60);
const NOWHERE: &str = "http://127.0.0.1:9";
const STUB: &str = "echo \"Error: run tests from root\" && exit 1";

fn of<'a>(phases: &'a [PhaseReport], name: &str) -> &'a PhaseReport {
    phases.iter().find(|phase| phase.name == name).unwrap()
}

#[tokio::test]
async fn a_test_script_that_only_prints_and_exits_1_is_no_test_and_fails_nothing() {
    let mut foreman = Foreman::new(CLAIM).await;
    let registry = Registry::start(&foreman.folder().join("registry")).await.unwrap();
    for (name, script) in [("@acme/stub", STUB), ("@acme/real", "true && exit 1")] {
        let manifest = json!({"name": name, "version": "1.0.0", "scripts": {"test": script}});
        foreman.package(name, manifest, &[]);
    }
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &registry.url())]);
    let stub = foreman.build("@acme/stub").await;
    assert_eq!((stub.outcome, stub.tests), (Outcome::Published, Some(Tests::NoTest)), "{stub:?}");
    let why = "the script test of package.json only prints and exits 1, so it is no test";
    let skipped = of(&stub.phases, "test");
    assert_eq!((skipped.status, skipped.reason.as_deref()), (PhaseStatus::Skipped, Some(why)));
    assert_eq!(of(&stub.phases, "lint").reason.as_deref(), Some("package.json has no script lint"));
    assert!(registry.view("@acme/stub").await.unwrap().is_some());
    foreman.log_until(&stub.build_id, &format!("test| skipped: {why}")).await;
    let real = foreman.build("@acme/real").await;
    assert_eq!((real.outcome, real.failed_phase.as_deref(), real.tests), (Outcome::Failed, Some("test"), None));
}

#[tokio::test]
async fn in_a_recipe_it_is_none_for_the_condition_and_a_command_runs_as_it_is_written() {
    let mut foreman = Foreman::new(CLAIM).await;
    let recorder = Recorder::before(&foreman, "exit 0");
    foreman.crate_of("stub", &[("package.json", &json!({"scripts": {"test": STUB}}).to_string())]);
    foreman.crate_of("none", &[("package.json", "{}")]);
    let recipe = foreman.recipe(
        "[[phase]]\nname = \"test\"\nrun = [\"npm\", \"run\", \"test\"]\nwhen = \"script:test\"\n\
         [[category.told.phase]]\nname = \"test\"\nrun = [\"npm\", \"run\", \"test\"]\n",
    );
    let _worker = foreman.worker("one", &[("PATH", &recorder.path), ("RECIPE", &recipe), ("NPM_REGISTRY", NOWHERE)]);
    for (name, tests) in [("stub", Some(Tests::NoTest)), ("none", None)] {
        let result = foreman.build(name).await;
        assert_eq!((result.outcome, result.tests), (Outcome::Published, tests), "{result:?}");
        assert_eq!(of(&result.phases, "test").status, PhaseStatus::Skipped);
    }
    assert_eq!(recorder.calls().len(), 0);
    let mut told = foreman.grant(0, "stub").await;
    told.category = "told".into();
    foreman.send(&told).await;
    let result = foreman.outcome(&told).await;
    assert_eq!((of(&result.phases, "test").status, result.tests), (PhaseStatus::Passed, None));
    assert_eq!(recorder.calls().len(), 1);
}

#[tokio::test]
async fn in_isolated_mode_a_lint_that_fails_fails_the_build() {
    let mut foreman = Foreman::new(CLAIM).await;
    foreman.crate_of("thing", &[("here", "")]);
    let recipe = foreman.recipe("[[phase]]\nname = \"lint\"\nrun = [\"sh\", \"-c\", \"exit 1\"]\n");
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", NOWHERE)]);
    let result = foreman.build("thing").await;
    assert_eq!((result.outcome, result.failed_phase.as_deref()), (Outcome::Failed, Some("lint")), "{result:?}");
    assert!(!of(&result.phases, "lint").warning && result.warnings.is_empty());
}
