//! `packline up` on workspaces whose packages are in other folders than their names say.

use std::{fs, os::unix::fs::symlink};

use packline_packages_api::store::Store;
use packline_testkit::process::Process;
use serde_json::{Value, json};

use crate::place::{PATIENCE, Place};

async fn code(up: &Process) -> Option<i32> {
    let ended = tokio::time::timeout(PATIENCE, up.exited()).await;
    ended.unwrap_or_else(|_| panic!("it goes on and on:\n{}", up.printed())).code()
}

/// A build that needs what is around the package, and says where it is.
fn build() -> Value {
    let script = "node -e \"const fs = require('fs'); JSON.parse(fs.readFileSync('../../tsconfig.json')); \
                  fs.writeFileSync('built.txt', process.env.PACKAGE_PATH)\"";
    json!({"scripts": {"build": script}, "files": ["built.txt"]})
}

/// The text of a file in a tarball of the registry.
fn packed(place: &Place, name: &str, file: &str) -> String {
    let tarball = fs::File::open(place.tarball(name, "1.0.0")).unwrap();
    let mut tarball = tar::Archive::new(flate2::read::GzDecoder::new(tarball));
    let mut entries = tarball.entries().unwrap().map(Result::unwrap);
    let entry = entries.find(|entry| entry.path().unwrap().ends_with(file)).unwrap();
    std::io::read_to_string(entry).unwrap()
}

#[tokio::test]
async fn packages_are_published_from_the_folders_that_they_are_in() {
    let place = Place::new();
    place.workspaces(&["src/*", "libs/**"]);
    fs::write(place.workspace().join("tsconfig.json"), "{}").unwrap();
    place.package_in("src/everything", "server-everything", "1.0.0", &build());
    let mut needs = build();
    needs["dependencies"] = json!({"@own/server-everything": "^1.0.0"});
    place.package_in("src/memory", "server-memory", "1.0.0", &needs);
    place.package_in("libs/agents/builder", "builder", "1.0.0", &json!({}));
    let up = place.up("up", &["--once", "--workers", "1"]);
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
    let said = up.printed();
    assert!(said.contains("All 3 packages are published."), "{said}");
    assert!(!said.contains("workers look for it"), "{said}");
    assert_eq!(packed(&place, "server-everything", "built.txt"), "src/everything");
    assert_eq!(packed(&place, "server-memory", "built.txt"), "src/memory");
    assert!(packed(&place, "builder", "package.json").contains("@own/builder"));
}

#[tokio::test]
async fn a_package_whose_manifest_has_half_a_character_and_a_key_twice_is_published() {
    let place = Place::new();
    place.package("cut", "1.0.0", &json!({}));
    place.package("whole", "1.0.0", &json!({}));
    let manifest = r#"{"name": "x", "name": "@own/cut", "version": "1.0.0", "description": "cut \ud83d"}"#;
    fs::write(place.workspace().join("packages/cut/package.json"), format!("\u{FEFF}{manifest}")).unwrap();
    let up = place.up("up", &["--once", "--workers", "1"]);
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
    assert!(up.printed().contains("All 2 packages are published."), "{}", up.printed());
    assert!(packed(&place, "cut", "package.json").contains("@own/cut"));
}

#[tokio::test]
async fn members_of_lerna_and_links_to_folders_are_published_and_those_without_a_version_are_named() {
    let place = Place::new();
    place.root(&json!({"name": "own"}));
    fs::write(place.workspace().join("lerna.json"), r#"{"packages": ["packages/*", ".hidden"]}"#).unwrap();
    fs::write(place.workspace().join("tsconfig.json"), "{}").unwrap();
    place.package_in("vendor/core", "core", "1.0.0", &json!({}));
    fs::create_dir(place.workspace().join("packages")).unwrap();
    symlink("../vendor/core", place.workspace().join("packages/core")).unwrap();
    place.package_in(".hidden", "hidden", "1.0.0", &json!({}));
    let mut needs = build();
    needs["dependencies"] = json!({"@own/core": "^1.0.0"});
    place.package("app", "1.0.0", &needs);
    place.package("draft", "", &json!({"private": true}));
    let up = place.up("up", &["--once", "--workers", "1"]);
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
    let said = up.printed();
    assert!(said.contains("without a name or a version, so not built: packages/draft\n"), "{said}");
    assert!(said.contains("All 3 packages are published."), "{said}");
    assert!(packed(&place, "core", "package.json").contains("@own/core"));
    assert_eq!(packed(&place, "app", "built.txt"), "packages/app");
}

#[tokio::test]
async fn a_package_without_a_workspace_is_published_from_the_root() {
    let place = Place::new();
    let script = "node -e \"require('fs').writeFileSync('built.txt', process.env.PACKAGE_PATH)\"";
    let root = json!({"name": "@own/single", "version": "1.0.0", "scripts": {"build": script}, "files": ["built.txt"]});
    place.root(&root);
    let up = place.up("up", &["--once", "--workers", "1"]);
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
    assert!(up.printed().contains("The package is published."), "{}", up.printed());
    assert_eq!(packed(&place, "single", "built.txt"), ".");
}

/// The catalogue and the queue of the last release hold no paths, and its builds failed for good.
#[tokio::test]
async fn what_failed_before_paths_were_known_is_published_after_an_update() {
    let place = Place::new();
    place.package("server-a", "1.0.0", &json!({"scripts": {"test": "node -e 'process.exit(78)'"}}));
    let first = place.up("first", &["--once", "--workers", "1"]);
    assert_eq!(code(&first).await, Some(1), "{}", first.printed());
    let stored =
        || Store::open(&place.workspace().join(".packline/catalogue.db")).unwrap().get("@own/server-a").unwrap();
    assert_eq!(stored().package.path, None);
    fs::create_dir(place.workspace().join("src")).unwrap();
    fs::rename(place.workspace().join("packages/server-a"), place.workspace().join("src/a")).unwrap();
    place.workspaces(&["src/*"]);
    place.package_in("src/a", "server-a", "1.0.0", &json!({}));
    let second = place.up("second", &["--once", "--workers", "1"]);
    assert_eq!(code(&second).await, Some(0), "{}", second.printed());
    assert_eq!(stored().package.folder().as_str(), "src/a");
    assert!(place.tarball("server-a", "1.0.0").is_file());
}
