//! Layers that fail and are fixed.

use std::fs;

use packline_domain::{
    BuildResult, Outcome,
    phase::{PhaseStatus, Tests},
};
use packline_testkit::{stand_in::StandIn, workspaces::Released};
use serde_json::{Value, json};

use super::{CLAIM, Gate, MADE, REUSED, WAITS, count, installs, member, phase, results};
use crate::{foreman::Foreman, workspaces::Bench};

/// A workspace of `@acme/a` and `@acme/b` with this in the package.json of its root, and no worker yet.
async fn place(root: Value) -> (Foreman, StandIn) {
    let (foreman, registry) = (Foreman::new(CLAIM).await, StandIn::start().await);
    let mut manifest = json!({"name": "own", "private": true, "workspaces": ["packages/*"]});
    manifest.as_object_mut().unwrap().extend(root.as_object().unwrap().clone());
    fs::create_dir_all(foreman.workspace()).unwrap();
    fs::write(foreman.workspace().join("package.json"), manifest.to_string()).unwrap();
    for name in ["@acme/a", "@acme/b"] {
        member(&foreman, name, "1.0.0", json!({}));
    }
    (foreman, registry)
}

/// A worker by a recipe whose builds may fix once; `first` stands before its phase `publish`.
fn start(foreman: Foreman, registry: StandIn, first: &str) -> Bench {
    let publish = "[[phase]]\nname = \"publish\"\nbuiltin = \"publish\"\n";
    let recipe = foreman.recipe(&format!("max_fix_attempts = 1\n{first}\n{publish}"));
    let url = registry.url();
    let settings = [("NPM_REGISTRY", url.as_str()), ("NPM_TOKEN", "t"), ("SLOTS", "2"), ("RECIPE", &recipe)];
    let worker = foreman.worker("worker", &settings);
    Bench { foreman, registry, worker }
}

fn install_fixed_by(script: &str) -> String {
    format!("[[phase]]\nname = \"install\"\nbuiltin = \"install\"\nfix = [\"sh\", \"-c\", '''{script}''']\n")
}

/// A dependency that installs once a file is there.
async fn picky(foreman: &Foreman, registry: &StandIn) {
    let script = format!("test -e {}/flag", foreman.folder().display());
    let picky = Released::new("tiny-picky", "1.0.0").field("scripts", json!({"postinstall": script}));
    picky.put(&registry.url()).await.unwrap();
}

fn ended(result: &BuildResult) -> (Outcome, bool, Option<&str>, Option<u32>) {
    (result.outcome, result.retry, result.failed_phase.as_deref(), result.fix_attempts)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_that_fails_is_fixed_and_tried_again_while_others_wait() {
    let (foreman, registry) = place(json!({"devDependencies": {"tiny-picky": "1.0.0"}})).await;
    picky(&foreman, &registry).await;
    let gate = Gate::new(foreman.folder(), "gate");
    let fix = format!("{}; touch {}/flag", gate.script(), foreman.folder().display());
    let Bench { mut foreman, registry: _registry, worker: _worker } = start(foreman, registry, &install_fixed_by(&fix));
    let fixed = foreman.order(0, "@acme/a").await;
    let fixes = gate.reached().await;
    gate.remove().unwrap();
    let waiter = foreman.order(1, "@acme/b").await;
    foreman.log_until(&waiter.build_id, WAITS).await;
    drop(fixes);
    let [fixed, waiter] = results(&mut foreman, [&fixed, &waiter]).await;
    assert_eq!((ended(&fixed), phase(&fixed, "install")), ((Outcome::Published, true, None, Some(1)), MADE));
    assert_eq!((ended(&waiter), phase(&waiter, "install")), ((Outcome::Published, true, None, None), REUSED));
    assert_eq!(count(&foreman, ".store/failures"), 0, "what was fixed is not remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_that_no_fix_helps_fails_each_package_and_is_fixed_for_the_first_one_alone() {
    let (foreman, registry) = place(json!({"devDependencies": {"tiny-picky": "1.0.0"}})).await;
    picky(&foreman, &registry).await;
    let Bench { mut foreman, registry, worker: _worker } = start(foreman, registry, &install_fixed_by("exit 1"));
    let first = foreman.build("@acme/a").await;
    assert_eq!(ended(&first), (Outcome::Failed, false, Some("install"), Some(1)), "{first:?}");
    foreman.log_until(&first.build_id, "install| not fixed: a build may try that 1 times").await;
    assert_eq!(installs(&registry, "tiny-picky"), 2);
    let second = foreman.build("@acme/b").await;
    assert_eq!(ended(&second), (Outcome::Failed, false, Some("install"), None), "{second:?}");
    assert_eq!((second.error, installs(&registry, "tiny-picky")), (first.error, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_of_the_root_that_fail_are_fixed_and_run_again_without_what_they_wrote() {
    let (foreman, registry) = place(json!({})).await;
    let flag = foreman.folder().join("flag").display().to_string();
    let test = format!("test ! -e left && (test -e {flag} || (touch left && exit 1))");
    let root = json!({"name": "own", "private": true, "workspaces": ["packages/*"], "scripts": {"test": test}});
    fs::write(foreman.workspace().join("package.json"), root.to_string()).unwrap();
    let recipe = format!(
        "[workspace]\nroot_test = \"gate\"\n[[phase]]\nname = \"install\"\nbuiltin = \"install\"\n\
         [[phase]]\nname = \"test\"\nrun = [\"npm\", \"test\"]\nwhen = \"script:test\"\nfix = [\"touch\", \"{flag}\"]\n"
    );
    let Bench { mut foreman, registry: _registry, worker: _worker } = start(foreman, registry, &recipe);
    let result = foreman.build("@acme/a").await;
    assert_eq!(ended(&result), (Outcome::Published, true, None, Some(1)), "{result:?}");
    assert_eq!((result.tests, phase(&result, "test").0), (Some(Tests::RootPassed), PhaseStatus::Passed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_install_adds_nothing() {
    let (foreman, registry) =
        place(json!({"devDependencies": {"tiny-dep": "1.0.0"}, "scripts": {"postinstall": "true"}})).await;
    Released::new("tiny-dep", "1.0.0").put(&registry.url()).await.unwrap();
    let install = |name: &str| format!("[[phase]]\nname = \"{name}\"\nbuiltin = \"install\"\n");
    let sees = "[[phase]]\nname = \"sees\"\nrun = [\"node\", \"-e\", \"require.resolve('tiny-dep/package.json')\"]\n";
    let first = [&install("install"), &install("again"), sees].concat();
    let Bench { mut foreman, registry: _registry, worker: _worker } = start(foreman, registry, &first);
    let result = foreman.build("@acme/a").await;
    assert_eq!((phase(&result, "install"), phase(&result, "again")), (MADE, REUSED));
    assert_eq!(phase(&result, "sees"), MADE);
    assert_eq!((count(&foreman, "installed"), count(&foreman, "root")), (1, 1));
}
