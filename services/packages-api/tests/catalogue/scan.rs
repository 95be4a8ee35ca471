//! Filling the catalogue from an npm workspace, with the real program.
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use packline_domain::{Package, PackagePath};
use packline_packages_api::{
    scan::{Found, scan},
    store::{Status, Store},
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) fn workspace(workspaces: &Value, members: &[(&str, Value)]) -> TempDir {
    let root = TempDir::new().unwrap();
    write(root.path(), &json!({"private": true, "workspaces": workspaces}));
    for (folder, manifest) in members {
        write(&root.path().join(folder), manifest);
    }
    root
}

/// Writes a package.json, with a version where it says nothing of one.
pub(crate) fn write(folder: &Path, manifest: &Value) {
    fs::create_dir_all(folder).unwrap();
    let mut manifest = manifest.clone();
    if let Some(fields) = manifest.as_object_mut() {
        fields.entry("version").or_insert(json!("1.0.0"));
    }
    fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
}

pub(crate) fn found(workspaces: Value, members: &[(&str, Value)]) -> Found {
    scan(workspace(&workspaces, members).path()).unwrap()
}

pub(crate) fn names(found: &Found) -> Vec<&str> {
    found.packages.iter().map(|package| package.name.as_str()).collect()
}

pub(crate) fn dependencies<'a>(found: &'a Found, name: &str) -> Vec<&'a str> {
    let package = found.packages.iter().find(|package| package.name.as_str() == name).unwrap();
    package.dependencies.iter().map(packline_domain::PackageName::as_str).collect()
}

pub(crate) fn built_after<'a>(found: &'a Found, name: &str) -> Vec<&'a str> {
    let package = found.packages.iter().find(|package| package.name.as_str() == name).unwrap();
    package.build_after.iter().map(packline_domain::PackageName::as_str).collect()
}

fn run_scan(root: &Path, database: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packages-api"));
    command.arg("scan").arg(root).arg("--database").arg(database).output().unwrap()
}

#[test]
fn of_many_members_that_are_not_built_a_few_are_named() {
    let members: Vec<_> = (10..25).map(|number| (format!("examples/{number}"), json!({"private": true}))).collect();
    let members: Vec<_> = members.iter().map(|(folder, manifest)| (folder.as_str(), manifest.clone())).collect();
    let found = found(json!(["examples/*"]), &members);
    assert_eq!(found.notes.len(), 1);
    assert!(found.notes[0].contains("examples/10, examples/11, "), "{:?}", found.notes);
    assert!(found.notes[0].ends_with("examples/19 and 5 more"), "{:?}", found.notes);
}

#[test]
fn a_package_without_a_workspace_is_the_root_itself() {
    let root = TempDir::new().unwrap();
    write(root.path(), &json!({"name": "@acme/single", "version": "1.2.0"}));
    write(&root.path().join("packages/not-a-member"), &json!({"name": "other"}));
    let found = scan(root.path()).unwrap();
    assert_eq!(names(&found), ["@acme/single"]);
    assert_eq!(found.packages[0].path.as_ref().map(PackagePath::as_str), Some("."));
    assert_eq!(found.packages[0].extra.get("version"), Some(&json!("1.2.0")));
    assert!(found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn lerna_json_names_the_members_where_npm_has_none() {
    let root = TempDir::new().unwrap();
    write(root.path(), &json!({"name": "root"}));
    write(&root.path().join("packages/core"), &json!({"name": "@acme/core"}));
    write(&root.path().join("modules/app"), &json!({"name": "@acme/app", "dependencies": {"@acme/core": "^1.0.0"}}));
    fs::write(root.path().join("lerna.json"), r#"{"packages": ["packages/*", "modules/*"]}"#).unwrap();
    let found = scan(root.path()).unwrap();
    assert_eq!(names(&found), ["@acme/app", "@acme/core"]);
    assert_eq!(dependencies(&found, "@acme/app"), ["@acme/core"]);
}

#[test]
fn hidden_and_linked_folders_are_members_where_npm_has_them() {
    let root = workspace(
        &json!(["packages/*", ".github"]),
        &[("vendor/linked", json!({"name": "linked"})), (".github", json!({"name": "workflows"}))],
    );
    fs::create_dir(root.path().join("packages")).unwrap();
    symlink("../vendor/linked", root.path().join("packages/linked")).unwrap();
    let found = scan(root.path()).unwrap();
    let paths: Vec<_> = found.packages.iter().map(|package| package.folder().as_str().to_owned()).collect();
    assert_eq!(paths, ["packages/linked", ".github"]);
}

#[test]
fn workspaces_are_patterns_of_folders() {
    let members = [
        ("packages/a", json!({"name": "a"})),
        ("packages/deep/b", json!({"name": "b"})),
        ("tools/c", json!({"name": "c"})),
        ("tools/old", json!({"name": "old"})),
        ("packages/a/node_modules/x", json!({"name": "x"})),
    ];
    assert_eq!(names(&found(json!(["packages/*"]), &members)), ["a"]);
    assert_eq!(names(&found(json!(["./packages/**/", "tools/c"]), &members)), ["a", "b", "c"]);
    assert_eq!(names(&found(json!({"packages": ["{packages,tools}/*", "!tools/old"]}), &members)), ["a", "c"]);
}

#[test]
fn the_folder_of_a_member_is_its_path_where_its_name_does_not_say_it() {
    let members = [
        ("packages/a", json!({"name": "@acme/a"})),
        ("packages/deep/b", json!({"name": "@acme/b"})),
        ("packages/gateway", json!({"name": "@acme/server-gateway"})),
        ("src/everything", json!({"name": "@acme/server-everything"})),
        ("mein büro/c", json!({"name": "c"})),
    ];
    let found = found(json!(["**"]), &members);
    let paths: Vec<_> = found.packages.iter().map(|package| package.path.as_ref().map(PackagePath::as_str)).collect();
    assert_eq!(
        paths,
        [None, Some("packages/deep/b"), Some("src/everything"), Some("packages/gateway"), Some("mein büro/c")]
    );
    assert!(found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn a_folder_whose_name_is_no_path_is_said_in_one_line() {
    let found = found(json!(["src/*"]), &[("src/a\nb", json!({"name": "a"}))]);
    assert_eq!(found.packages[0].path, None);
    assert_eq!(
        found.notes,
        ["a is in \"src/a\\nb\", which is no path of a package; workers look for it in packages/a"]
    );
}

#[test]
fn a_package_that_failed_in_the_folder_of_its_name_is_to_be_built_where_a_later_scan_finds_it() {
    let root = workspace(
        &json!(["src/*"]),
        &[("src/a", json!({"name": "a"})), ("src/b", json!({"name": "b"})), ("src/c", json!({"name": "c"}))],
    );
    let store = Store::open(&root.path().join("packages.db")).unwrap();
    let found = scan(root.path()).unwrap().packages;
    // As the last release has stored them.
    let before: Vec<_> = found.iter().map(|package| Package { path: None, ..package.clone() }).collect();
    store.merge(&before).unwrap();
    store.update("a", Status::Failed, None).unwrap();
    store.update("b", Status::Published, None).unwrap();
    let merged = store.merge(&found).unwrap();
    assert_eq!((merged.new, merged.changed, merged.same), (0, 3, 0));
    let now = |name: &str| store.get(name).unwrap();
    assert_eq!([now("a").status, now("b").status, now("c").status], [Status::Ready, Status::Published, Status::Ready]);
    assert_eq!(now("a").package.folder().as_str(), "src/a");
    store.update("a", Status::Failed, None).unwrap();
    assert_eq!(store.merge(&found).unwrap().same, 3);
    assert_eq!(now("a").status, Status::Failed, "the same folder is no news");
    store.merge(&before).unwrap();
    assert_eq!(now("a").package.path, None, "it moved to packages/a");
}

#[test]
fn a_member_that_is_not_understood_is_left_out_and_named() {
    let root = workspace(
        &json!(["packages/*"]),
        &[
            ("packages/a", json!({"name": "a"})),
            ("packages/again", json!({"name": "a"})),
            ("packages/hostile", json!({"name": "../x"})),
            ("packages/wrong", json!({"name": "wrong", "packline": {"priority": "high"}})),
            ("packages/list", json!(["a"])),
            ("packages/number", json!({"name": 5})),
            ("packages/site", json!({"name": "My Site", "private": "true"})),
        ],
    );
    fs::create_dir(root.path().join("packages/broken")).unwrap();
    fs::write(root.path().join("packages/broken/package.json"), "{").unwrap();
    let found = scan(root.path()).unwrap();
    assert_eq!(names(&found), ["a"]);
    assert_eq!(found.notes.len(), 7, "{:?}", found.notes);
    assert!(found.notes.iter().all(|note| note.contains("is left out: ") && !note.contains('\n')), "{:?}", found.notes);
    let missed =
        ["again", "broken", "list", "hostile", "number", "wrong"].map(|folder| Path::new("packages").join(folder));
    assert_eq!(found.left_out, missed, "what is private is missed by nobody");
}

#[test]
fn a_second_scan_changes_no_status() {
    let root = workspace(
        &json!(["packages/*"]),
        &[("packages/a", json!({"name": "a", "dependencies": {"b": "*"}})), ("packages/b", json!({"name": "b"}))],
    );
    let database = root.path().join("packages.db");
    let first = run_scan(root.path(), &database);
    assert!(first.status.success() && String::from_utf8_lossy(&first.stderr).contains("2 new, 0 changed, 0 as before"));
    Store::open(&database).unwrap().update("b", Status::Published, None).unwrap();

    let second = run_scan(root.path(), &database);
    assert!(String::from_utf8_lossy(&second.stderr).contains("0 new, 0 changed, 2 as before"), "{second:?}");
    write(&root.path().join("packages/b"), &json!({"name": "b", "packline": {"priority": 3}}));
    write(&root.path().join("packages/c"), &json!({"name": "c"}));
    let third = run_scan(root.path(), &database);
    assert!(String::from_utf8_lossy(&third.stderr).contains("1 new, 1 changed, 1 as before"), "{third:?}");
    assert!(third.stdout.is_empty(), "stdout belongs to the protocol");

    let store = Store::open(&database).unwrap();
    let b = store.get("b").unwrap();
    assert_eq!((b.status, b.package.priority), (Status::Published, 3));
    assert_eq!((store.get("a").unwrap().status, store.get("c").unwrap().status), (Status::Ready, Status::Ready));
}

#[test]
fn a_folder_that_is_no_workspace_gets_one_line_and_exit_status_2() {
    let empty = TempDir::new().unwrap();
    let plain = TempDir::new().unwrap();
    write(plain.path(), &json!({"name": "plain", "version": null}));
    let pnpm = TempDir::new().unwrap();
    write(pnpm.path(), &json!({"name": "plain"}));
    fs::write(pnpm.path().join("pnpm-workspace.yaml"), "packages: packages/*").unwrap();
    for (root, line) in [
        (&empty, "failed to read"),
        (&plain, "has no `workspaces`, an array of folders"),
        (&pnpm, "has `packages` that are not an array of folders"),
    ] {
        let output = run_scan(root.path(), &root.path().join("packages.db"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(line) && stderr.trim_end().lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_database_that_is_none_gets_one_line_and_exit_status_2() {
    let root = workspace(&json!(["packages/*"]), &[]);
    let database = root.path().join("packages.db");
    fs::write(&database, "this is no database, and long enough to be seen as none ".repeat(50)).unwrap();
    let output = run_scan(root.path(), &database);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("failed to open the database"), "{output:?}");
}
