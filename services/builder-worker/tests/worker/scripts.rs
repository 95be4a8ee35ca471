use std::{fs, time::Duration};

use packline_domain::Outcome;
use packline_testkit::{process::command, registry::Registry};
use serde_json::{Value, json};

use crate::{
    foreman::Foreman,
    recorder::{Call, Recorder},
};

const TOKEN: &str = "s3cret-token-of-the-worker";

/// Notes its own name and what it sees of a token; the first writes what the package exports.
const NOTE: &str = r#"
const fs = require('fs');
const name = process.env.npm_lifecycle_event;
if (name === 'prepublishOnly') fs.writeFileSync('main.js', 'module.exports = 42');
// In two parts: the copy of this file is no place of a token.
const token = 's3cret' + '-token';
const seen = Object.values(process.env).some((value) => value.includes(token));
const found = require('child_process').spawnSync('grep', ['-rs', token, process.env.SCRATCH_OF_TEST]).stdout.length > 0;
fs.appendFileSync(process.env.NOTES, `${name}${seen || found ? ' sees a token' : ''}\n`);
if (name === process.env.FAILS) process.exit(1);
"#;

const SCRIPTS: [&str; 6] = ["prepublishOnly", "prepack", "prepare", "postpack", "publish", "postpublish"];

async fn place() -> (Foreman, Registry) {
    let foreman = Foreman::new(Duration::from_secs(60)).await;
    let registry = Registry::start(&foreman.folder().join("registry")).await.unwrap();
    (foreman, registry)
}

/// A package that notes which of its scripts run; one of them may fail.
fn package(foreman: &Foreman, fails: &str) {
    let shown = |path: &str| foreman.folder().join(path).display().to_string();
    let (notes, scratch) = (shown("notes"), shown("scratch"));
    let note = format!("NOTES={notes} SCRATCH_OF_TEST={scratch} FAILS={fails} node note.js");
    let scripts: serde_json::Map<String, Value> =
        SCRIPTS.iter().map(|name| ((*name).to_owned(), note.clone().into())).collect();
    let manifest = json!({"name": "@acme/core", "version": "1.0.0", "main": "main.js", "scripts": scripts});
    foreman.package("@acme/core", manifest, &[("note.js", NOTE)]);
}

/// The scripts that ran when the package was published, in order.
fn notes(foreman: &Foreman) -> Vec<String> {
    let notes = fs::read_to_string(foreman.folder().join("notes")).unwrap();
    let all = notes.lines().map(str::to_owned);
    // `prepare` is one of `npm install`, too.
    all.skip_while(|note| note != "prepublishOnly").collect()
}

#[tokio::test]
async fn publishing_runs_each_script_of_npm_publish_once_in_its_order_and_none_sees_a_token() {
    let (mut foreman, registry) = place().await;
    package(&foreman, "none");
    let npm = Recorder::before_npm(&foreman);
    let settings = [("NPM_REGISTRY", registry.url()), ("NPM_TOKEN", TOKEN.to_owned()), ("PATH", npm.path.clone())];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _worker = foreman.worker("one", &settings);
    let result = foreman.build("@acme/core").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert_eq!(notes(&foreman), SCRIPTS);
    let calls = npm.calls();
    let in_publish: Vec<_> = calls.iter().filter(|call| call.phase() == "publish").map(Call::command).collect();
    assert_eq!(in_publish, ["publish"], "npm is started once, to pack");
    let tarball = foreman.folder().join("registry/storage/@acme/core/core-1.0.0.tgz");
    let main = command("tar").arg("-xzOf").arg(tarball).arg("package/main.js").output().unwrap();
    assert_eq!(String::from_utf8(main.stdout).unwrap(), "module.exports = 42", "what `prepublishOnly` built is in it");
}

#[tokio::test]
async fn in_a_workspace_prepare_is_a_phase_of_its_own_and_each_script_runs_once_all_the_same() {
    let (mut foreman, registry) = place().await;
    package(&foreman, "none");
    let root = json!({"name": "own", "private": true, "workspaces": ["packages/*"]});
    fs::write(foreman.workspace().join("package.json"), root.to_string()).unwrap();
    let of_npm = ["prepare", "prepublishOnly", "prepack", "postpack", "publish", "postpublish"];
    let publish = foreman.recipe("[[phase]]\nname = \"publish\"\nbuiltin = \"publish\"\n");
    // A recipe without the phase leaves the script to the publish.
    for (version, recipe, expected) in [("1.0.0", "npm", of_npm), ("1.0.1", &publish, SCRIPTS)] {
        let manifest = foreman.workspace().join("packages/core/package.json");
        let text = fs::read_to_string(&manifest).unwrap().replace("1.0.0", version);
        fs::write(manifest, text).unwrap();
        let registry = registry.url();
        let worker = foreman.worker(version, &[("NPM_REGISTRY", &registry), ("NPM_TOKEN", TOKEN), ("RECIPE", recipe)]);
        let result = foreman.build("@acme/core").await;
        assert_eq!(result.outcome, Outcome::Published, "{result:?}");
        let notes = foreman.folder().join("notes");
        let ran = fs::read_to_string(&notes).unwrap();
        assert_eq!(ran.lines().collect::<Vec<_>>(), expected, "{recipe}");
        fs::remove_file(notes).unwrap();
        drop(worker);
    }
}

#[tokio::test]
async fn a_script_after_the_publish_that_fails_is_a_warning_and_one_before_it_a_failure() {
    let (mut foreman, registry) = place().await;
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &registry.url()), ("NPM_TOKEN", TOKEN)]);
    package(&foreman, "prepublishOnly");
    let result = foreman.build("@acme/core").await;
    assert_eq!((result.outcome, result.failed_phase.as_deref()), (Outcome::Failed, Some("publish")), "{result:?}");
    assert!(result.error.unwrap().starts_with("publish: prepublishOnly: ended with status 1"));
    assert_eq!(notes(&foreman), ["prepublishOnly"]);
    assert!(registry.view("@acme/core").await.unwrap().is_none());

    fs::remove_file(foreman.folder().join("notes")).unwrap();
    package(&foreman, "publish");
    let result = foreman.build("@acme/core").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert_eq!(notes(&foreman), &SCRIPTS[..5], "npm runs no `postpublish` either");
    assert_eq!(result.warnings.len(), 1, "{:?}", result.warnings);
    assert!(result.warnings[0].starts_with("publish: ended with status 1"), "{:?}", result.warnings);
    let log = foreman.log_until(&result.build_id, "warning: ").await;
    assert!(log.contains("publish| warning: publish: ended with status 1"), "{log}");
}

#[tokio::test]
async fn each_script_before_the_publish_ends_it_with_its_name_where_it_fails() {
    let mut publisher = crate::publisher::Publisher::start("", &[]).await;
    for (failing, name) in SCRIPTS[..4].iter().enumerate() {
        package(&publisher.foreman, name);
        let result = publisher.build("@acme/core", |_| ()).await;
        let ended = (result.outcome, result.retry, result.failed_phase.as_deref());
        assert_eq!(ended, (Outcome::Failed, true, Some("publish")), "{name}: {result:?}");
        let error = result.error.unwrap();
        assert!(error.starts_with(&format!("publish: {name}: ended with status 1")), "{error}");
        assert_eq!(notes(&publisher.foreman), &SCRIPTS[..=failing]);
        fs::remove_file(publisher.foreman.folder().join("notes")).unwrap();
    }
    assert!(publisher.registry.requests().is_empty());
}
