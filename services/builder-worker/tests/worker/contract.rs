//! The contract's section on the builder, sentence by sentence, and the test that shows each.
//!
//! | the contract says | shown in | by |
//! |---|---|---|
//! | phases in order, each run without a shell in the package's folder of a private copy | `tests/worker/contract.rs` | `phases_run_in_order_without_a_shell_in_the_packages_folder_of_a_private_copy` |
//! | … install, build, lint, test, publish, with dependencies as just published | `tests/worker/npm.rs` | `packages_are_built_tested_and_published_with_their_dependencies_from_the_registry` |
//! | … each with its own limits | `tests/worker/guard.rs` | `each_limit_ends_a_phase_in_its_own_way` |
//! | what package.json has no script for is skipped and says so | `tests/worker/contract.rs` | `what_has_no_script_is_skipped_and_says_so` |
//! | a `test` that only prints and exits 1 is no test | `tests/worker/no_test.rs` | `a_test_script_that_only_prints_and_exits_1_is_no_test_and_fails_nothing` |
//! | `private` skips publish and counts as published | `tests/worker/contract.rs` | `a_private_package_skips_publish_and_counts_as_published` |
//! | permanent: no such folder, another name, another registry in publishConfig | `tests/worker/npm.rs` | `each_failure_has_its_class` |
//! | status 75 is the machine's fault, 78 means never retry | `tests/worker/npm.rs` | `each_failure_has_its_class` |
//! | a recipe file replaces the phases | `tests/worker/recipe.rs` | `a_recipe_file_replaces_the_phases` |
//! | … for all packages or for a category | `tests/worker/recipe.rs` | `a_category_with_phases_of_its_own_uses_these_instead` |
//! | unknown keys are refused, with the line | `../../libs/recipe/tests/recipe/problems.rs` | `unknown_keys_are_refused_with_their_place` |
//! | `when`: only where there is that script or file | `tests/worker/recipe.rs` | `a_phase_is_skipped_where_its_script_or_file_is_not_there` |
//! | `timeout`: the process group is killed | `tests/worker/recipe.rs` | `a_phase_that_takes_too_long_is_killed_with_all_that_it_started` |
//! | `silence`: the same | `tests/worker/recipe.rs` | `a_phase_that_prints_nothing_for_too_long_is_killed` |
//! | `output_limit`: the phase fails, permanently | `tests/worker/recipe.rs` | `a_phase_that_prints_too_much_fails_permanently` |
//! | `fix`: run when the phase failed, then the phase again; counted | `tests/worker/recipe.rs` | `fixes_are_counted_over_all_phases_of_a_build` |
//! | `env` is added to the allow-list | `tests/worker/recipe.rs` | `env_is_added_to_the_environment_of_its_phase_alone` |
//! | the environment is an allow-list and what the phase is told | `tests/worker/contract.rs` | `a_phase_sees_the_allow_list_and_what_it_is_told_and_nothing_else` |
//! | NPM_TOKEN reaches the publish phase only | `tests/worker/contract.rs` | `the_token_reaches_no_npm_and_no_script` |
//! | … and there the request that publishes | `tests/worker/put.rs` | `the_request_is_made_alone_and_shows_its_token_to_nobody` |
//! | dependencies never come from the sibling folder | `tests/worker/contract.rs` | `a_dependency_on_the_folder_of_a_sibling_is_refused_in_one_line` |
//! | … workspaces are off in every npm command | `tests/worker/contract.rs` | `every_npm_command_has_workspaces_off` |
//! | … no lock file of the root, no `.npmrc` of the project | `tests/worker/isolated.rs` | `the_copy_has_what_the_package_needs_and_no_more` |
//! | publish notes the integrity of what it packed in its permit, then publishes that | `tests/worker/npm.rs` | `the_permit_names_what_is_published_before_it_is` |
//! | … in this order | `../../tests/tests/end_to_end/long/published.rs` | `what_was_published_before_its_worker_was_killed_ends_as_published_also_when_its_tarball_differs` |
//! | a version that is there is success where it is ours, else a permanent failure | `tests/worker/npm.rs` | `a_version_that_is_there_is_success_only_where_it_is_ours` |
//! | … also where the worker died after it had published | `../../tests/tests/end_to_end/long/published.rs` | `what_was_published_before_its_worker_was_killed_ends_as_published_also_when_its_tarball_differs` |
//! | when a worker dies, its builds are killed within a second | `tests/worker/guard.rs` | `the_build_of_a_killed_worker_is_dead_within_a_second` |
//! | … by a guard that does not depend on it: frozen | `tests/worker/guard.rs` | `a_frozen_workers_build_ends_with_its_fuse` |
//! | … without namespaces as well | `tests/worker/guard.rs` | `without_namespaces_a_killed_worker_takes_its_build_along_as_well` |
//! | … or had no heartbeat confirmed for three quarters of CLAIM | `tests/worker/contract.rs` | `a_build_is_dead_three_quarters_of_claim_after_the_last_confirmed_heartbeat` |
//! | … a broker that is away does that too | `tests/worker/life.rs` | `a_frozen_broker_blows_the_fuse` |
//! | GRACE: builds may finish within it | `tests/worker/contract.rs` | `who_is_asked_to_stop_finishes_what_it_can_within_grace` |
//! | … and are handed back after it | `tests/worker/life.rs` | `a_worker_that_is_asked_to_stop_hands_back_what_it_cannot_finish` |
//! | SLOTS: builds at a time | `tests/worker/contract.rs` | `no_more_builds_run_at_a_time_than_there_are_slots` |
//! | NPM_REGISTRY, else the order's, else what npm itself is set to | `tests/worker/contract.rs` | `the_workers_registry_goes_before_the_orders_and_that_before_npms_own` |
//! | RECIPE=none: no phases, every build succeeds at once | `tests/worker/orders.rs` | `an_order_is_claimed_built_answered_and_forgotten` |
//! | settings that cannot work are one line and status 2 | `tests/worker/npm.rs` | `settings_that_cannot_work_are_one_line_and_status_2` |
//! | the log is streamed | `tests/worker/contract.rs` | `what_a_build_prints_is_in_its_log_while_it_runs` |

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use packline_broker::StreamName;
use packline_domain::{BuildOrder, Outcome};
use packline_testkit::{registry::Registry, table};
use serde_json::json;

use crate::{
    foreman::{Foreman, alive, until, until_alive},
    life::endless,
    recorder::Recorder,
};

const CLAIM: Duration = Duration::from_secs(60);
const TOKEN: &str = "s3cret-token-of-the-worker";
const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn every_sentence_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(table::problems(root, include_str!("contract.rs"), 20), [""; 0]);
}

/// The lines in the log of a build, with their phases, up to the line `last`.
async fn logged(foreman: &Foreman, order: &BuildOrder, last: &str) -> Vec<(String, String)> {
    let subject = format!("builds.log.{}", order.build_id);
    let mut log = foreman.broker.consume_in_order(StreamName::Logs, 0).await.unwrap();
    let mut lines = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), log.next()).await;
        let message = next.unwrap_or_else(|_| panic!("no `{last}` in {lines:#?}")).unwrap();
        message.ack().await;
        if message.subject != subject {
            continue;
        }
        let phase = message.header("Phase").unwrap_or_default().to_owned();
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        lines.extend(text.lines().map(|line| (phase.clone(), line.to_owned())));
        if lines.iter().any(|(_, line)| line == last) {
            return lines;
        }
    }
}

/// One package with all scripts, built and published by the real npm, whose calls are written down.
async fn recorded(settings: &[(&str, &str)]) -> (Foreman, Recorder, BuildOrder) {
    let mut foreman = Foreman::new(CLAIM).await;
    let registry = Registry::start(&foreman.folder().join("registry")).await.unwrap();
    let recorder = Recorder::before_npm(&foreman);
    let scripts = json!({"build": "node -e 0", "lint": "node -e 0", "test": "node -e 0"});
    foreman.package("@acme/core", json!({"name": "@acme/core", "version": "1.0.0", "scripts": scripts}), &[]);
    let url = registry.url();
    let settings: Vec<_> = [("PATH", recorder.path.as_str()), ("NPM_REGISTRY", &url), ("NPM_TOKEN", TOKEN)]
        .into_iter()
        .chain(settings.iter().copied())
        .collect();
    let worker = foreman.worker("one", &settings);
    let mut order = foreman.grant(0, "@acme/core").await;
    (order.category, order.attempt) = ("utils".into(), 1);
    order.dependencies = vec!["@acme/base".parse().unwrap(), "lodash".parse().unwrap()];
    foreman.send(&order).await;
    let result = foreman.outcome(&order).await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert!(worker.stop(Duration::from_secs(30)).await.success());
    (foreman, recorder, order)
}

#[tokio::test]
async fn phases_run_in_order_without_a_shell_in_the_packages_folder_of_a_private_copy() {
    let (foreman, recorder, _) = recorded(&[]).await;
    let calls = recorder.calls();
    let commands: Vec<String> = calls.iter().map(|call| call.command()).collect();
    assert_eq!(commands, ["install", "run build", "run lint", "run test", "publish"], "npm is started once to publish");
    let scratch = foreman.scratch().canonicalize().unwrap();
    for call in &calls {
        assert!(call.cwd.starts_with(&scratch), "{call:?}");
        assert!(call.parent != "sh", "{call:?}");
    }
    for call in &calls[..4] {
        assert!(call.cwd.ends_with("workspace/packages/core"), "{call:?}");
    }
}

#[tokio::test]
async fn every_npm_command_has_workspaces_off() {
    let (_foreman, recorder, _) = recorded(&[]).await;
    let calls = recorder.calls();
    assert!(calls.len() >= 5, "{calls:?}");
    for call in calls {
        assert!(call.arguments.iter().any(|argument| argument == "--workspaces=false"), "{call:?}");
    }
}

#[tokio::test]
async fn a_phase_sees_the_allow_list_and_what_it_is_told_and_nothing_else() {
    const PASSED_ON: [&str; 16] = [
        "PATH",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "TERM",
        "RUSTUP_HOME",
    ];
    let own = [
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("NODE_OPTIONS", "--no-warnings"),
        ("npm_config_loglevel", "silly"),
        ("http_proxy", "http://user:password@127.0.0.1:9"),
        ("no_proxy", "127.0.0.1"),
        ("TZ", "UTC"),
    ];
    let (foreman, recorder, order) = recorded(&own).await;
    let calls = recorder.calls();
    let told = ["install", "build", "lint", "test", "publish"];
    let phases: BTreeSet<&str> = calls.iter().map(|call| call.phase()).collect();
    assert_eq!(phases, told.into_iter().collect());
    let build_id = order.build_id.to_string();
    for call in calls {
        let root = call.env.get("WORKSPACE_ROOT").unwrap();
        assert!(Path::new(root).starts_with(foreman.scratch().canonicalize().unwrap()), "{root}");
        let expected = BTreeMap::from([
            ("PACKAGE_NAME", "@acme/core"),
            ("PACKAGE_PATH", "packages/core"),
            ("PLAN_PATH", "plans/core.md"),
            ("CATEGORY", "utils"),
            ("DEPENDENCIES", r#"["@acme/base","lodash"]"#),
            ("BUILD_ID", &build_id),
            ("ATTEMPT", "1"),
            ("CI", "true"),
            ("TZ", "UTC"),
            ("no_proxy", "127.0.0.1"),
        ]);
        for (name, value) in expected {
            assert_eq!(call.env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(call.env.get("NPM_REGISTRY").is_some_and(|registry| registry.starts_with("http://127.0.0.1:")));
        assert_eq!(call.env.get("http_proxy"), None, "it names a password");
        let more = ["PHASE", "WORKSPACE_ROOT", "NPM_REGISTRY", "HOME", "TMPDIR", "PACKAGE_NAME", "PACKAGE_PATH"];
        let more = more.iter().chain(&[
            "npm_config_userconfig",
            "PLAN_PATH",
            "CATEGORY",
            "DEPENDENCIES",
            "BUILD_ID",
            "ATTEMPT",
            "CI",
        ]);
        let allowed: BTreeSet<&str> = PASSED_ON.iter().chain(more).copied().collect();
        let odd: Vec<_> = call.env.keys().filter(|name| !allowed.contains(name.as_str())).collect();
        assert!(odd.is_empty(), "{odd:?}");
    }
}

#[tokio::test]
async fn the_token_reaches_no_npm_and_no_script() {
    let (_foreman, recorder, _) = recorded(&[]).await;
    for call in recorder.calls() {
        let secret = call.env.values().chain(&call.arguments).any(|text| text.contains(TOKEN));
        assert!(!secret && !call.settings.contains(TOKEN), "{call:?}");
    }
}

#[tokio::test]
async fn what_has_no_script_is_skipped_and_says_so() {
    let mut foreman = Foreman::new(CLAIM).await;
    let recorder = Recorder::before(&foreman, "exit 0");
    foreman.package("@acme/bare", json!({"name": "@acme/bare", "version": "1.0.0", "private": true}), &[]);
    let _worker = foreman.worker("one", &[("PATH", &recorder.path), ("NPM_REGISTRY", NOWHERE)]);
    let order = foreman.order(0, "@acme/bare").await;
    assert_eq!(foreman.outcome(&order).await.outcome, Outcome::Published);
    let lines = logged(&foreman, &order, "skipped: package.json says private").await;
    for phase in ["build", "lint", "test"] {
        let said = (phase.to_owned(), format!("skipped: package.json has no script {phase}"));
        assert!(lines.contains(&said), "{lines:?}");
    }
}

#[tokio::test]
async fn a_private_package_skips_publish_and_counts_as_published() {
    let mut foreman = Foreman::new(CLAIM).await;
    let recorder = Recorder::before(&foreman, "exit 0");
    foreman.package("@acme/secret", json!({"name": "@acme/secret", "private": true}), &[]);
    let _worker = foreman.worker("one", &[("PATH", &recorder.path), ("NPM_REGISTRY", NOWHERE)]);
    let result = foreman.build("@acme/secret").await;
    assert_eq!((result.outcome, result.success, result.integrity), (Outcome::Published, true, None));
    assert!(result.private && result.warnings.is_empty());
    let commands: Vec<String> = recorder.calls().iter().map(|call| call.command()).collect();
    assert_eq!(commands, ["install"]);
}

#[tokio::test]
async fn a_dependency_on_the_folder_of_a_sibling_is_refused_in_one_line() {
    let mut foreman = Foreman::new(CLAIM).await;
    foreman.package("@acme/base", json!({"name": "@acme/base", "version": "1.0.0"}), &[]);
    let needs = json!({"@acme/base": "file:../base"});
    foreman.package("@acme/core", json!({"name": "@acme/core", "version": "1.0.0", "devDependencies": needs}), &[]);
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", NOWHERE)]);
    let result = foreman.build("@acme/core").await;
    assert_eq!((result.outcome, result.retry, result.phases.len()), (Outcome::Failed, false, 0), "{result:?}");
    let error = result.error.unwrap();
    assert!(error.contains("@acme/base is taken from `file:../base`") && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn a_build_is_dead_three_quarters_of_claim_after_the_last_confirmed_heartbeat() {
    const CLAIM: Duration = Duration::from_secs(8);
    let (_foreman, worker, order) = endless(CLAIM).await;
    worker.freeze();
    let frozen = Instant::now();
    until_alive(&order, false).await;
    let took = frozen.elapsed();
    // The last heartbeat was sent at most a sixth of CLAIM, and what its answer took, before.
    assert!(took > CLAIM / 2 && took < CLAIM, "{took:?}");
    worker.thaw();
}

/// A worker whose npm waits in every command until it is let through.
async fn gated(settings: &[(&str, &str)]) -> (Foreman, packline_testkit::process::Process) {
    let foreman = Foreman::new(CLAIM).await;
    let folder = foreman.folder().display().to_string();
    fs::create_dir(foreman.folder().join("running")).unwrap();
    let recorder = Recorder::before(
        &foreman,
        &format!(
            "touch '{folder}/running/'$PACKAGE_NAME; ls '{folder}/running' | wc -l >> '{folder}/counts'
             while [ ! -e '{folder}/open' ]; do sleep 0.02; done
             rm '{folder}/running/'$PACKAGE_NAME"
        ),
    );
    let settings: Vec<_> = [("PATH", recorder.path.as_str()), ("NPM_REGISTRY", NOWHERE)]
        .into_iter()
        .chain(settings.iter().copied())
        .collect();
    let worker = foreman.worker("one", &settings);
    (foreman, worker)
}

fn counts(foreman: &Foreman) -> Vec<usize> {
    let text = fs::read_to_string(foreman.folder().join("counts")).unwrap_or_default();
    text.lines().map(|line| line.trim().parse().unwrap()).collect()
}

#[tokio::test]
async fn no_more_builds_run_at_a_time_than_there_are_slots() {
    let (mut foreman, _worker) = gated(&[("SLOTS", "2")]).await;
    let mut waiting = BTreeSet::new();
    for n in 0..5 {
        let name = format!("p{n}");
        foreman.package(&name, json!({"name": name, "private": true}), &[]);
        waiting.insert(foreman.order(n, &name).await.build_id);
    }
    until("two builds", || async { (counts(&foreman).len() >= 2).then_some(()) }).await;
    fs::write(foreman.folder().join("open"), "").unwrap();
    while !waiting.is_empty() {
        waiting.remove(&foreman.result().await.build_id);
    }
    let counts = counts(&foreman);
    assert_eq!((counts.len(), counts.iter().max()), (5, Some(&2)), "{counts:?}");
}

#[tokio::test]
async fn who_is_asked_to_stop_finishes_what_it_can_within_grace() {
    let (mut foreman, worker) = gated(&[("GRACE", "60s")]).await;
    foreman.package("core", json!({"name": "core", "private": true}), &[]);
    let order = foreman.order(0, "core").await;
    until("the build", || async { (!counts(&foreman).is_empty()).then_some(()) }).await;
    worker.signal(Signal::SIGTERM);
    until("its answer", || async { worker.printed().contains("builds may finish within 60 s").then_some(()) }).await;
    fs::write(foreman.folder().join("open"), "").unwrap();
    assert_eq!(foreman.outcome(&order).await.outcome, Outcome::Published);
    assert!(worker.exited().await.success());
}

#[tokio::test]
async fn the_workers_registry_goes_before_the_orders_and_that_before_npms_own() {
    let mut foreman = Foreman::new(CLAIM).await;
    let recorder = Recorder::before(&foreman, "exit 0");
    foreman.package("core", json!({"name": "core", "private": true}), &[]);
    let mut seen = Vec::new();
    for (own, ordered) in [(Some("http://127.0.0.1:10"), true), (None, true), (None, false)] {
        let settings = [("PATH", recorder.path.as_str()), ("npm_config_registry", "http://127.0.0.1:11/")];
        let settings: Vec<_> = settings.into_iter().chain(own.map(|own| ("NPM_REGISTRY", own))).collect();
        let worker = foreman.worker("one", &settings);
        let mut order = foreman.grant(0, "core").await;
        order.config.registry = ordered.then(|| "http://127.0.0.1:12".into());
        foreman.send(&order).await;
        assert_eq!(foreman.outcome(&order).await.outcome, Outcome::Published);
        worker.stop(Duration::from_secs(30)).await;
        let install = recorder.calls().into_iter().rfind(|call| call.phase() == "install").unwrap();
        seen.push(install.env.get("NPM_REGISTRY").unwrap().clone());
    }
    assert_eq!(seen, ["http://127.0.0.1:10", "http://127.0.0.1:12", "http://127.0.0.1:11"]);
}

#[tokio::test]
async fn what_a_build_prints_is_in_its_log_while_it_runs() {
    let mut foreman = Foreman::new(CLAIM).await;
    let scripts = json!({"test": "echo so far so good; sleep 1000"});
    foreman.package("@acme/slow", json!({"name": "@acme/slow", "version": "1.0.0", "scripts": scripts}), &[]);
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", NOWHERE)]);
    let order = foreman.order(0, "@acme/slow").await;
    let lines = logged(&foreman, &order, "so far so good").await;
    assert!(lines.contains(&("test".into(), "so far so good".into())), "{lines:?}");
    assert!(alive(&order) > 0, "it still runs");
    assert_eq!(foreman.broker.stream_state(StreamName::Results).await.unwrap().messages, 0);
    foreman.withdraw(0).await;
    assert_eq!(foreman.outcome(&order).await.outcome, Outcome::Cancelled);
}
