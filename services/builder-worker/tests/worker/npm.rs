use std::{fs, time::Duration};

use packline_broker::StreamName;
use packline_domain::{
    Outcome,
    message::{PhaseReport, PhaseStatus},
};
use packline_testkit::{
    registry::Registry,
    stand_in::{Behaviour, StandIn},
};
use serde_json::json;

use crate::foreman::{Foreman, until};

const CLAIM: Duration = Duration::from_secs(60);
const TOKEN: &str = "s3cret-token-of-the-worker";

async fn place() -> (Foreman, Registry) {
    let foreman = Foreman::new(CLAIM).await;
    let registry = Registry::start(&foreman.folder().join("registry")).await.unwrap();
    (foreman, registry)
}

fn statuses(phases: &[PhaseReport]) -> Vec<(&str, PhaseStatus)> {
    phases.iter().map(|phase| (phase.name.as_str(), phase.status)).collect()
}

#[tokio::test]
async fn packages_are_built_tested_and_published_with_their_dependencies_from_the_registry() {
    use PhaseStatus::{Passed, Skipped};
    let (mut foreman, registry) = place().await;
    let build = "node -e \"require('fs').writeFileSync('built.js', 'module.exports = 42')\"";
    foreman.package(
        "@acme/core",
        json!({"name": "@acme/core", "version": "1.2.0", "main": "built.js", "scripts": {"build": build}}),
        &[(".npmrc", "@acme:registry=http://127.0.0.1:9/\n")],
    );
    let test = "node -e \"if (require('@acme/core') !== 42) process.exit(3)\" && env && cat ../../package.json";
    foreman.package(
        "@acme/app",
        json!({"name": "@acme/app", "version": "1.0.0-beta.1", "dependencies": {"@acme/core": "^1.0.0"}, "scripts": {"test": test}}),
        &[],
    );
    let root = json!({"name": "root", "private": true, "workspaces": ["packages/*"]}).to_string();
    fs::write(foreman.workspace().join("package.json"), root).unwrap();
    let (recipe, url) = (foreman.recipe("[workspace]\nmode = \"isolated\"\n"), registry.url());
    let settings = [("RECIPE", recipe.as_str()), ("NPM_REGISTRY", &url), ("NPM_TOKEN", TOKEN), ("SECRET", "x")];
    let _worker = foreman.worker("one", &settings);

    let core = foreman.build("@acme/core").await;
    assert_eq!(core.outcome, Outcome::Published, "{core:?}");
    let expected = [("install", Passed), ("build", Passed), ("lint", Skipped), ("test", Skipped), ("publish", Passed)];
    assert_eq!(statuses(&core.phases), expected);
    let published = registry.view("@acme/core").await.unwrap().unwrap();
    let integrity = &published.versions.get("1.2.0").unwrap().dist.integrity;
    assert_eq!((core.version.as_deref(), core.integrity.as_ref()), (Some("1.2.0"), Some(integrity)));
    assert!(!foreman.workspace().join("packages/core/built.js").exists(), "the source is untouched");

    let app = foreman.build("@acme/app").await;
    assert_eq!(app.outcome, Outcome::Published, "{app:?}");
    assert_eq!(registry.view("@acme/app").await.unwrap().unwrap().tags.get("beta").unwrap(), "1.0.0-beta.1");
    let subject = format!("builds.log.{}", app.build_id);
    let mut lines = String::new();
    let mut log = foreman.broker.consume_in_order(StreamName::Logs, 0).await.unwrap();
    while !lines.contains("BUILD_ID=") || !lines.contains("\"root\"") {
        let line = tokio::time::timeout(Duration::from_secs(20), log.next()).await.expect(&lines).unwrap();
        line.ack().await;
        if line.subject == subject && line.header("Phase") == Some("test") {
            lines.push_str(&format!("{}\n", String::from_utf8_lossy(&line.payload)));
        }
    }
    for expected in ["PACKAGE_PATH=packages/app", "PHASE=test", "CI=true", "ATTEMPT=1", "PLAN_PATH=plans/app.md"] {
        assert!(lines.contains(expected), "{expected} in {lines}");
    }
    for secret in [TOKEN, "SECRET", "NATS", "workspaces\""] {
        assert!(!lines.contains(secret), "{secret} in {lines}");
    }
}

#[tokio::test]
async fn a_version_that_is_there_is_success_only_where_it_is_ours() {
    let (mut foreman, registry) = place().await;
    let manifest = json!({"name": "@acme/core", "version": "1.0.0"});
    foreman.package("@acme/core", manifest.clone(), &[("index.js", "1")]);
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &registry.url())]);
    let first = foreman.build("@acme/core").await;
    assert_eq!(first.outcome, Outcome::Published, "{first:?}");
    let same = foreman.build("@acme/core").await;
    assert_eq!((same.outcome, &same.integrity), (Outcome::Published, &first.integrity));

    foreman.package("@acme/core", manifest, &[("index.js", "2")]);
    let other = foreman.build("@acme/core").await;
    assert_eq!((other.outcome, other.retry, other.failed_phase.as_deref()), (Outcome::Failed, false, Some("publish")));

    let mut order = foreman.grant(0, "@acme/core").await;
    order.integrities = vec![first.integrity.clone().unwrap()];
    foreman.send(&order).await;
    let earlier = foreman.outcome(&order).await;
    assert_eq!((earlier.outcome, earlier.integrity), (Outcome::Published, first.integrity));

    foreman.package("@acme/core", json!({"name": "@acme/core", "version": "0.9.0"}), &[]);
    assert_eq!(foreman.build("@acme/core").await.outcome, Outcome::Published);
    assert_eq!(registry.view("@acme/core").await.unwrap().unwrap().tags.get("latest").unwrap(), "1.0.0");
}

#[tokio::test]
async fn the_permit_names_what_is_published_before_it_is() {
    let (mut foreman, registry) = place().await;
    foreman.package("@acme/core", json!({"name": "@acme/core", "version": "1.0.0"}), &[]);
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &registry.url())]);
    foreman.order(0, "@acme/core").await;
    let result = foreman.result().await;
    let permit = foreman.permit(0).await.unwrap();
    assert_eq!((permit.integrity.is_some(), permit.integrity), (true, result.integrity));
    let entry = foreman.orchestrator.get("permits.0").await.unwrap().unwrap();
    assert_eq!(entry.revision, result.permit_revision);
}

#[tokio::test]
async fn each_failure_has_its_class() {
    let (mut foreman, registry) = place().await;
    let package = |name: &str, rest: serde_json::Value| {
        let mut manifest = json!({"name": name, "version": "1.0.0"});
        manifest.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        foreman.package(name, manifest, &[]);
    };
    package("fails", json!({"scripts": {"test": "echo some reason; exit 3"}}));
    package("never", json!({"scripts": {"lint": "exit 78"}}));
    package("machine", json!({"scripts": {"build": "exit 75"}}));
    package("foreign", json!({"publishConfig": {"registry": "https://elsewhere.example"}}));
    package("misses", json!({"dependencies": {"@acme/no-such-package": "1.0.0"}}));
    package("private", json!({"private": true, "version": "2.0.0"}));
    package("no-version", json!({"version": "one"}));
    foreman.package("other", json!({"name": "another"}), &[]);
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &registry.url())]);
    for (name, outcome, retry, phase) in [
        ("fails", Outcome::Failed, true, Some("test")),
        ("never", Outcome::Failed, false, Some("lint")),
        ("machine", Outcome::Infrastructure, true, Some("build")),
        ("foreign", Outcome::Failed, false, None),
        ("misses", Outcome::Failed, true, Some("install")),
        ("private", Outcome::Published, true, None),
        ("no-version", Outcome::Failed, false, Some("publish")),
        ("other", Outcome::Failed, false, None),
        ("missing", Outcome::Failed, false, None),
    ] {
        let result = foreman.build(name).await;
        assert_eq!((result.outcome, result.failed_phase.as_deref()), (outcome, phase), "{name}: {result:?}");
        assert_eq!(result.retry, retry, "{name}: {result:?}");
        if name == "fails" {
            assert!(result.error.unwrap().contains("some reason"));
        }
    }
    let folder = fs::read_dir(foreman.scratch()).unwrap().next().unwrap().unwrap().path();
    until("all copies removed", || async { (fs::read_dir(folder.join("builds")).unwrap().count() == 0).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_worker_whose_registry_is_dead_rests() {
    let mut foreman = Foreman::new(CLAIM).await;
    foreman.package("@acme/core", json!({"name": "@acme/core", "version": "1.0.0"}), &[]);
    let dead = format!("http://127.0.0.1:{}", packline_testkit::port::free_port().unwrap());
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &dead)]);
    for _ in 0..3 {
        let result = foreman.build("@acme/core").await;
        assert_eq!(
            (result.outcome, result.failed_phase.as_deref()),
            (Outcome::Infrastructure, Some("publish")),
            "{result:?}"
        );
    }
    until("a rest", || async {
        let workers = foreman.workers().await;
        let worker = workers.values().next()?;
        (worker.slots == 0 && worker.resting.is_some()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_one_line_and_status_2() {
    let foreman = Foreman::new(CLAIM).await;
    for (setting, value, said) in [
        ("RECIPE", "/no/such/recipe.toml", "RECIPE is npm, none or a TOML file; /no/such/recipe.toml cannot be read"),
        ("WORKSPACE_ROOT", "/no/such/folder", "WORKSPACE_ROOT is a folder with packages in it"),
        ("NPM_REGISTRY", "npm.example.com", "a registry is an address like"),
        ("SLOTS", "0", "SLOTS"),
    ] {
        let worker = foreman.worker(setting, &[(setting, value)]);
        let ended = tokio::time::timeout(Duration::from_secs(20), worker.exited()).await.unwrap();
        assert_eq!(ended.code(), Some(2), "{setting}");
        if setting != "SLOTS" {
            assert!(worker.printed().contains(said), "{}", worker.printed());
        }
    }
}

#[tokio::test]
async fn what_a_build_leaves_in_its_folder_does_not_configure_publish() {
    let (mut foreman, registry) = place().await;
    // Nothing is published, somebody else's proxy is used, another token is sent: if npm read this.
    let settings = "dry-run=true\\nproxy=http://127.0.0.1:9/\\n//127.0.0.1/:_authToken=stolen\\n";
    let build = format!("node -e \"require('fs').writeFileSync('.npmrc', '{settings}')\"");
    foreman.package(
        "@acme/sly",
        json!({"name": "@acme/sly", "version": "1.0.0", "scripts": {"test": build}}),
        &[("index.js", "1")],
    );
    foreman.package(
        "@acme/proxied",
        json!({"name": "@acme/proxied", "version": "1.0.0", "publishConfig": {"proxy": "http://127.0.0.1:9/"}}),
        &[],
    );
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &registry.url()), ("NPM_TOKEN", TOKEN)]);
    let sly = foreman.build("@acme/sly").await;
    assert_eq!(sly.outcome, Outcome::Published, "{sly:?}");
    assert!(registry.view("@acme/sly").await.unwrap().is_some_and(|found| found.versions.contains_key("1.0.0")));
    let proxied = foreman.build("@acme/proxied").await;
    assert_eq!((proxied.outcome, proxied.retry), (Outcome::Failed, false), "{proxied:?}");
    assert!(registry.view("@acme/proxied").await.unwrap().is_none());
}

#[tokio::test]
async fn a_publish_is_believed_when_the_registry_has_it() {
    let (mut foreman, registry) = (Foreman::new(CLAIM).await, StandIn::start().await);
    foreman.package("@acme/core", json!({"name": "@acme/core", "version": "1.0.0"}), &[]);
    registry.next_put(Behaviour::Accept);
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &registry.url())]);
    let result = foreman.build("@acme/core").await;
    assert_eq!((result.outcome, result.retry), (Outcome::Infrastructure, true), "{result:?}");
    assert!(result.error.unwrap().contains("the registry does not have it"));
    assert!(result.integrity.is_some(), "a later attempt is to know its own");
}
