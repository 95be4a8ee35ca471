use std::time::Duration;

use packline_domain::{Outcome, message::PhaseStatus};
use packline_testkit::registry::Registry;
use serde_json::json;

use crate::foreman::Foreman;

const TOKEN: &str = "s3cret-token-of-the-worker";

async fn place() -> (Foreman, Registry) {
    let foreman = Foreman::new(Duration::from_secs(60)).await;
    let registry = Registry::start(&foreman.folder().join("registry")).await.unwrap();
    (foreman, registry)
}

#[tokio::test]
async fn npm_in_a_recipe_uses_the_registry_in_force_and_has_the_token_in_publish_alone() {
    let (mut foreman, registry) = place().await;
    foreman.package(
        "@acme/core",
        json!({"name": "@acme/core", "version": "1.0.0", "main": "i.js"}),
        &[("i.js", "module.exports = 42")],
    );
    let app = json!({"name": "@acme/app", "version": "1.0.0", "dependencies": {"@acme/core": "1"}});
    foreman.package("@acme/app", app, &[("check.js", "process.exit(require('@acme/core') - 42)")]);
    let root = json!({"name": "root", "private": true, "workspaces": ["packages/*"]}).to_string();
    std::fs::write(foreman.workspace().join("package.json"), root).unwrap();
    let recipe = foreman.recipe(
        r#"
[workspace]
mode = "isolated"
[[phase]]
name = "install"
run = ["npm", "install"]
[[phase]]
name = "test"
run = ["sh", "-c", "node check.js; echo \"token: $NPM_TOKEN.\"; exit 0"]
[[phase]]
name = "publish"
run = ["sh", "-c", "test -n \"$NPM_TOKEN\" && echo \"token: $NPM_TOKEN.\" && npm config ls && npm publish"]
"#,
    );
    let url = registry.url();
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", &url), ("NPM_TOKEN", TOKEN)]);
    for name in ["@acme/core", "@acme/app"] {
        let result = foreman.build(name).await;
        assert_eq!(result.outcome, Outcome::Published, "{result:?}");
        assert!(registry.view(name).await.unwrap().unwrap().versions.contains_key("1.0.0"), "{name}");
        let log = foreman.log_until(&result.build_id, "publish| + @acme/").await;
        assert!(log.contains("test| token: .") && log.contains("publish| token: ***."), "{log}");
        assert!(log.contains("workspaces = false"), "{log}");
    }
    assert_ne!(foreman.build("@acme/core").await.outcome, Outcome::Published, "a command is not guarded");
}

#[tokio::test]
async fn a_recipe_keeps_the_guarded_publish_by_naming_it() {
    let (mut foreman, registry) = place().await;
    foreman.package("@acme/core", json!({"name": "@acme/core", "version": "1.0.0"}), &[("i.js", "1")]);
    foreman.package("@acme/own", json!({"name": "@acme/own", "version": "1.0.0", "private": true}), &[]);
    foreman.crate_of("thing", &[("here", "")]);
    let recipe = foreman.recipe(
        "[[phase]]\nname = \"check\"\nrun = [\"test\", \"-f\", \"i.js\"]\nwhen = \"file:i.js\"\n\
         [[phase]]\nname = \"publish\"\nbuiltin = \"npm-publish\"\n",
    );
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", &registry.url())]);
    let order = foreman.order(0, "@acme/core").await;
    let first = foreman.result().await;
    assert_eq!((first.outcome, &first.build_id), (Outcome::Published, &order.build_id), "{first:?}");
    let noted = foreman.permit(0).await.unwrap().integrity;
    assert_eq!((noted.is_some(), &noted), (true, &first.integrity));
    foreman.orchestrator.delete("permits.0").await.unwrap();
    let again = foreman.build("@acme/core").await;
    assert_eq!((again.outcome, &again.integrity), (Outcome::Published, &first.integrity), "what is ours is success");
    let private = foreman.build("@acme/own").await;
    assert_eq!((private.outcome, private.phases.last().unwrap().status), (Outcome::Published, PhaseStatus::Skipped));
    assert!(private.private && !first.private && !again.private);
    let thing = foreman.build("thing").await;
    assert_eq!((thing.outcome, thing.retry), (Outcome::Failed, false));
    assert!(thing.error.unwrap().starts_with("package.json cannot be read"));
}

#[tokio::test]
async fn a_recipe_names_the_other_phases_of_the_built_in_recipe_too() {
    let (mut foreman, registry) = place().await;
    let scripts = json!({"prepare": "echo prepared > prepared"});
    let mut manifest = json!({"name": "@acme/core", "version": "1.0.0", "scripts": scripts});
    foreman.package("@acme/core", manifest.clone(), &[]);
    manifest["name"] = "@acme/stuck".into();
    manifest["dependencies"] = json!({"@acme/none": "1"});
    foreman.package("@acme/stuck", manifest, &[]);
    foreman.crate_of("thing", &[("here", "")]);
    // A phase of this name gets the token only with a command of its own.
    let recipe = foreman.recipe(
        "max_fix_attempts = 1\n[[phase]]\nname = \"publish\"\nbuiltin = \"install\"\n\
         fix = [\"sh\", \"-c\", \"echo token: $NPM_TOKEN.\"]\n\
         [[phase]]\nname = \"prepare\"\nbuiltin = \"prepare\"\n\
         [[phase]]\nname = \"check\"\nrun = [\"test\", \"-f\", \"prepared\"]\n\
         [[phase]]\nname = \"put\"\nbuiltin = \"publish\"\n\
         [[category.bare.phase]]\nname = \"install\"\nbuiltin = \"install\"\n",
    );
    let url = registry.url();
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", &url), ("NPM_TOKEN", TOKEN)]);
    let result = foreman.build("@acme/core").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    let phases: Vec<_> = result.phases.iter().map(|phase| (phase.name.as_str(), phase.status)).collect();
    let (passed, skipped) = (PhaseStatus::Passed, PhaseStatus::Skipped);
    assert_eq!(phases, [("publish", passed), ("prepare", skipped), ("check", passed), ("put", passed)]);
    assert!(registry.view("@acme/core").await.unwrap().unwrap().versions.contains_key("1.0.0"));
    foreman.log_until(&result.build_id, "prepare| skipped: in isolated mode npm install runs these scripts").await;
    let stuck = foreman.build("@acme/stuck").await;
    assert_eq!((stuck.outcome, stuck.fix_attempts), (Outcome::Failed, Some(1)), "{stuck:?}");
    foreman.log_until(&stuck.build_id, "publish| token: .").await;
    for category in ["unknown", "bare"] {
        let mut order = foreman.grant(0, "thing").await;
        order.category = category.into();
        foreman.send(&order).await;
        let thing = foreman.outcome(&order).await;
        assert_eq!((thing.outcome, thing.retry), (Outcome::Failed, false), "{thing:?}");
        assert!(thing.error.unwrap().starts_with("package.json cannot be read"), "{category}");
        foreman.orchestrator.delete("permits.0").await.unwrap();
    }
}

#[tokio::test]
async fn a_publish_that_fails_before_anything_is_sent_is_fixed_and_run_again() {
    let (mut foreman, registry) = place().await;
    let scripts = json!({"prepack": "test -f fixed"});
    foreman.package("@acme/core", json!({"name": "@acme/core", "version": "1.0.0", "scripts": scripts}), &[]);
    let recipe = foreman.recipe(
        "max_fix_attempts = 1\n[[phase]]\nname = \"publish\"\nbuiltin = \"publish\"\n\
         fix = [\"sh\", \"-c\", \"echo token: $NPM_TOKEN. > fixed; cat fixed\"]\n",
    );
    let url = registry.url();
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", &url), ("NPM_TOKEN", TOKEN)]);
    let result = foreman.build("@acme/core").await;
    assert_eq!((result.outcome, result.fix_attempts), (Outcome::Published, Some(1)), "{result:?}");
    assert!(registry.view("@acme/core").await.unwrap().unwrap().versions.contains_key("1.0.0"));
    let log = foreman.log_until(&result.build_id, "publish| fixed; running the phase again").await;
    assert!(log.contains("publish| token: ."), "no token for a fix of what is built in: {log}");
}

#[tokio::test]
async fn categories_alone_leave_the_built_in_phases_to_all_others() {
    let (mut foreman, registry) = place().await;
    foreman.package("@acme/core", json!({"name": "@acme/core", "version": "1.0.0"}), &[("i.js", "1")]);
    let recipe = foreman.recipe("[[category.docs.phase]]\nname = \"a\"\nrun = [\"true\"]\n");
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", &registry.url())]);
    let mut docs = foreman.grant(0, "@acme/core").await;
    docs.category = "docs".into();
    foreman.send(&docs).await;
    assert_eq!(foreman.outcome(&docs).await.phases.len(), 1);
    assert!(registry.view("@acme/core").await.unwrap().is_none());
    let result = foreman.build("@acme/core").await;
    assert_eq!((result.outcome, result.phases.len()), (Outcome::Published, 5), "{result:?}");
    assert!(registry.view("@acme/core").await.unwrap().is_some());
}

#[tokio::test]
async fn a_command_that_publishes_starts_only_while_its_permit_stands() {
    let (mut foreman, _registry) = place().await;
    foreman.crate_of("thing", &[("here", "")]);
    let wait = "while ! test -e \\\"$GATE\\\"; do sleep 0.05; done";
    let gate = foreman.folder().join("gate");
    let published = foreman.folder().join("published");
    let recipe = foreman.recipe(&format!(
        "[[phase]]\nname = \"wait\"\nrun = [\"sh\", \"-c\", \"echo waiting; {wait}\"]\nenv = {{ GATE = \"{}\" }}\n\
         [[phase]]\nname = \"publish\"\nrun = [\"touch\", \"{}\"]\n",
        gate.display(),
        published.display()
    ));
    let _worker = foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", "http://127.0.0.1:9")]);
    let order = foreman.order(0, "thing").await;
    foreman.log_until(&order.build_id, "waiting").await;
    let stands = foreman.orchestrator.get("permits.0").await.unwrap().unwrap();
    // Withdrawn, and nobody has woken the worker: its next read of the permit is far away.
    let mut permit = foreman.permit(0).await.unwrap();
    permit.ending = Some(packline_domain::record::Ending::Stop);
    foreman.orchestrator.update("permits.0", crate::foreman::json(&permit), stands.revision).await.unwrap();
    std::fs::write(&gate, "").unwrap();
    let result = foreman.outcome(&order).await;
    assert_eq!(result.outcome, Outcome::Cancelled, "{result:?}");
    assert!(!published.exists());
}

#[tokio::test]
async fn what_a_build_lays_in_wait_for_the_settings_of_publish_is_not_met() {
    let (mut foreman, registry) = place().await;
    foreman.crate_of("thing", &[("here", "")]);
    let kept = foreman.folder().join("kept");
    std::fs::write(&kept, "kept").unwrap();
    for (name, trap) in [("pipe", "mkfifo"), ("link", "ln -s $KEPT")] {
        let recipe = foreman.recipe(&format!(
            "[[phase]]\nname = \"build\"\nrun = [\"sh\", \"-c\", '{trap} \"$npm_config_userconfig-publish\"']\n\
             env = {{ KEPT = \"{}\" }}\n[[phase]]\nname = \"publish\"\nrun = [\"npm\", \"config\", \"ls\"]\n",
            kept.display()
        ));
        let url = registry.url();
        let worker = foreman.worker(name, &[("RECIPE", &recipe), ("NPM_REGISTRY", &url), ("NPM_TOKEN", TOKEN)]);
        let result = tokio::time::timeout(Duration::from_secs(60), foreman.build("thing")).await;
        assert_eq!(result.expect(name).outcome, Outcome::Published);
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "kept", "{name}");
        worker.kill().await;
    }
}
