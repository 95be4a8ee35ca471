use std::{fs, time::Duration};

use packline_domain::Outcome;
use packline_testkit::{registry::Registry, stand_in::StandIn};
use serde_json::{Value, json};

use crate::foreman::Foreman;

const MISSING: &str = "main names dist/index.js, which is not in the tarball";
const RIGHT: &str = "build it in \"build\" or \"prepublishOnly\", or name it in \"files\"";

async fn place() -> (Foreman, Registry) {
    let foreman = Foreman::new(Duration::from_secs(60)).await;
    let registry = Registry::start(&foreman.folder().join("registry")).await.unwrap();
    (foreman, registry)
}

fn hollow(version: &str) -> Value {
    json!({"name": "@acme/core", "version": version, "main": "dist/index.js", "module": "dist/index.mjs"})
}

/// A recipe that publishes whatever there is.
const UNCHECKED: &str = "[[phase]]\nname = \"publish\"\nrun = [\"npm\", \"publish\"]\n";
/// A recipe that checks.
const CHECKED: &str = "[[phase]]\nname = \"publish\"\nbuiltin = \"npm-publish\"\n";

#[tokio::test]
async fn a_package_without_its_main_is_not_published_and_the_file_is_named() {
    let (mut foreman, registry) = place().await;
    foreman.package("@acme/core", hollow("1.0.0"), &[("index.d.ts", "")]);
    let mut private = hollow("1.0.0");
    private.as_object_mut().unwrap().insert("private".into(), true.into());
    let users = StandIn::start().await;
    let place = users.url().replace("http:", "");
    let npmrc = foreman.folder().join("npmrc");
    fs::write(&npmrc, format!("registry={}\n{place}/:_authToken=token-of-the-user\n", users.url())).unwrap();
    let npmrc = npmrc.display().to_string();
    let url = registry.url();
    let settings = [("NPM_REGISTRY", url.as_str()), ("NPM_TOKEN", "token-of-it"), ("npm_config_userconfig", &npmrc)];
    let _worker = foreman.worker("one", &settings);

    let order = foreman.order(0, "@acme/core").await;
    let result = foreman.result().await;
    assert_eq!(result.build_id, order.build_id);
    let ended = (result.outcome, result.retry, result.failed_phase.as_deref());
    assert_eq!(ended, (Outcome::Failed, false, Some("publish")), "{result:?}");
    assert_eq!(result.error.unwrap(), format!("publish: {MISSING}; {RIGHT}"));
    assert_eq!(result.integrity, None, "nothing was about to be published");
    assert_eq!(foreman.permit(0).await.unwrap().integrity, None);
    assert!(registry.view("@acme/core").await.unwrap().is_none());
    let log = foreman.log_until(&result.build_id, "looking whether").await;
    assert!(log.contains("publish| module names dist/index.mjs, which is not in the tarball"), "{log}");
    let asked: Vec<_> = users.requests().iter().map(|request| (request.method.clone(), request.package())).collect();
    assert_eq!(asked, [("GET".to_owned(), Some("@acme/core".to_owned()))], "the user's registry is asked");
    assert_eq!(users.requests()[0].header("authorization"), Some("Bearer token-of-the-user"));
    foreman.orchestrator.delete("permits.0").await.unwrap();

    foreman.package("@acme/core", private, &[]);
    assert_eq!(foreman.build("@acme/core").await.outcome, Outcome::Published, "nobody installs it");
}

#[tokio::test]
async fn what_the_newest_published_version_lacks_too_is_published() {
    let (mut foreman, registry) = place().await;
    foreman.package("@acme/core", hollow("1.0.0"), &[]);
    let (unchecked, url) = (foreman.recipe(UNCHECKED), registry.url());
    let first =
        foreman.worker("first", &[("RECIPE", &unchecked), ("NPM_REGISTRY", &url), ("NPM_TOKEN", "token-of-it")]);
    let result = foreman.build("@acme/core").await;
    assert_eq!(result.outcome, Outcome::Published, "a command of one's own is not checked: {result:?}");
    drop(first);

    foreman.package("@acme/core", hollow("1.1.0"), &[]);
    let checked = foreman.recipe(CHECKED);
    let settings = [("RECIPE", checked.as_str()), ("NPM_REGISTRY", &url), ("npm_config_registry", &url)];
    let _worker = foreman.worker("second", &settings);
    let result = foreman.build("@acme/core").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert!(registry.view("@acme/core").await.unwrap().unwrap().versions.contains_key("1.1.0"));
    foreman.log_until(&result.build_id, &format!("publish| {MISSING}, as in the version that is published")).await;

    // What it does not lack is demanded all the same.
    let mut third = hollow("1.2.0");
    third.as_object_mut().unwrap().insert("bin".into(), "cli.js".into());
    foreman.package("@acme/core", third, &[("cli.js", "#!/usr/bin/env node\n")]);
    let result = foreman.build("@acme/core").await;
    assert_eq!((result.outcome, result.retry), (Outcome::Failed, false), "{result:?}");
    let error = result.error.unwrap();
    assert!(error.contains("bin names cli.js, which has no code") && !error.contains("dist/index.js"), "{error}");
}

#[tokio::test]
async fn where_the_registry_does_not_answer_the_check_stands() {
    let mut foreman = Foreman::new(Duration::from_secs(60)).await;
    foreman.package("@acme/core", hollow("1.0.0"), &[]);
    let dead = format!("http://127.0.0.1:{}", packline_testkit::port::free_port().unwrap());
    let recipe = foreman.recipe(CHECKED);
    let _worker =
        foreman.worker("one", &[("RECIPE", &recipe), ("NPM_REGISTRY", &dead), ("npm_config_registry", &dead)]);
    let result = foreman.build("@acme/core").await;
    assert_eq!((result.outcome, result.retry), (Outcome::Failed, false), "{result:?}");
    assert!(result.error.unwrap().contains(MISSING));
}

#[tokio::test]
async fn a_package_whose_code_is_there_is_published_and_nothing_is_asked() {
    let (mut foreman, registry) = place().await;
    let build = "node -e \"fs.mkdirSync('dist'); fs.writeFileSync('dist/index.js', 'require(\\'./a\\')'); fs.writeFileSync('dist/a.js', '1')\"";
    let mut manifest = hollow("1.0.0");
    manifest.as_object_mut().unwrap().insert("scripts".into(), json!({ "build": build }));
    manifest.as_object_mut().unwrap().insert("files".into(), json!(["dist"]));
    foreman.package("@acme/core", manifest, &[]);
    let users = StandIn::start().await;
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &registry.url()), ("npm_config_registry", &users.url())]);
    let result = foreman.build("@acme/core").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert!(registry.view("@acme/core").await.unwrap().unwrap().versions.contains_key("1.0.0"));
    assert_eq!(users.requests().len(), 0);
}
