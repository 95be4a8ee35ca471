//! Workspaces beside what pnpm and Yarn make of them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use packline_testkit::tools::{PNPM10, PNPM12_NATIVE, YARN1, YARN4};
use packline_workspace::{Manager, parse_yaml};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{folders, member, members::forest, read, tree, write};

/// A command of a manager, alone with `root` and a home of its own.
fn run(program: &[&Path], arguments: &[&str], root: &Path) -> String {
    let home = TempDir::new().unwrap();
    let [first, rest @ ..] = program else { panic!("no program") };
    let mut command = Command::new(first);
    command.args(rest).args(arguments).current_dir(root).env("HOME", home.path());
    command.env_remove("XDG_CACHE_HOME").env_remove("XDG_DATA_HOME").env("YARN_ENABLE_TELEMETRY", "0");
    let output = command.output().unwrap();
    let says_json = arguments.contains(&"--json");
    let all = if says_json { output.stdout } else { [output.stdout, output.stderr].concat() };
    String::from_utf8(all).unwrap()
}

/// The folders of the members that a pnpm lists, but for the root.
fn of_pnpm(program: &[&Path], root: &Path) -> BTreeSet<PathBuf> {
    let said = run(program, &["-r", "ls", "--json", "--depth", "-1"], root);
    let all: Vec<Value> = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let paths = all.iter().map(|one| Path::new(one["path"].as_str().unwrap()).strip_prefix(root).unwrap().to_owned());
    paths.filter(|path| !path.as_os_str().is_empty()).collect()
}

/// The folders of the members that Yarn lists, but for the root; `None` where it refuses.
fn of_yarn(program: &[&Path], root: &Path) -> Option<BTreeSet<PathBuf>> {
    let said = run(program, &["workspaces", "list", "--json"], root);
    let all: Option<Vec<Value>> = said.lines().map(|line| serde_json::from_str(line).ok()).collect();
    let paths: Option<BTreeSet<PathBuf>> = all?.iter().map(|one| Some(one.get("location")?.as_str()?.into())).collect();
    paths.map(|paths| paths.into_iter().filter(|path| path != Path::new(".")).collect())
}

/// The same of the older Yarn.
fn of_yarn1(program: &[&Path], root: &Path) -> Option<BTreeSet<PathBuf>> {
    let said = run(program, &["--silent", "workspaces", "info", "--json"], root);
    let all: Value = serde_json::from_str(&said).ok()?;
    Some(all.as_object()?.values().map(|one| one["location"].as_str().unwrap().into()).collect())
}

fn found(root: &TempDir) -> (BTreeSet<PathBuf>, usize) {
    let workspace = read(root);
    (folders(&workspace).into_iter().map(PathBuf::from).collect(), workspace.left_out().len())
}

/// Lists of patterns, with something of its own in each.
fn lists() -> Vec<Value> {
    vec![
        json!(["packages/**", "!**/nested/**", "tools/*/"]),
        json!(["!packages/a", "packages/*", "packages/a"]),
        json!(["packages/{a,b}", "packages/a?", "packages/[ab]*", "./solo", "nowhere", "."]),
        json!(["packages/*", "!**/a1", "!packages/a2/", "packages/.hidden", ".github", "tools/.*"]),
        json!(["examples/**/app", "linked/*", "packages/@scope/*", "packages/b/**"]),
        json!([]),
    ]
}

#[test]
fn members_are_those_that_pnpm_finds() {
    let (pnpm10, pnpm12) = (PNPM10.unpacked().unwrap(), PNPM12_NATIVE.unpacked().unwrap());
    let (pnpm10, pnpm12) = (pnpm10.join("bin/pnpm.cjs"), pnpm12.join("pnpm"));
    let root = forest();
    write(&root.path().join("packages/bower_components/q"), &json!({"name": "q", "version": "1.0.0"}));
    write(root.path(), &json!({"name": "root", "version": "1.0.0", "private": true}));
    let path = root.path().canonicalize().unwrap();
    let mut wrong = Vec::new();
    let skipped = json!(["packages/bower_components/*", "packages/node_modules", "packages/a/node_modules/*"]);
    for list in lists().into_iter().chain([skipped]) {
        fs::write(path.join("pnpm-workspace.yaml"), json!({ "packages": list }).to_string()).unwrap();
        let ours = found(&root);
        let by_12 = of_pnpm(&[&pnpm12], &path);
        // The older one runs in circles behind a link that leads back.
        let by_10: BTreeSet<PathBuf> = of_pnpm(&[Path::new("node"), &pnpm10], &path)
            .into_iter()
            .filter(|folder| !folder.starts_with("packages/b/up"))
            .collect();
        if (&ours.0, ours.1) != (&by_12, 0) || by_10 != by_12 {
            wrong.push(format!("{list}: ours {ours:?}\n  pnpm 12 {by_12:?}\n  pnpm 10 {by_10:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn members_are_those_that_either_yarn_finds() {
    let (yarn1, yarn4) = (YARN1.unpacked().unwrap(), YARN4.unpacked().unwrap());
    let (yarn1, yarn4) = (yarn1.join("bin/yarn.js"), yarn4.join("bin/yarn.js"));
    let root = forest();
    fs::remove_file(root.path().join("packages/b/up")).unwrap();
    // The older one takes it for a member.
    fs::remove_dir_all(root.path().join("packages/node_modules")).unwrap();
    let path = root.path().canonicalize().unwrap();
    let node = Path::new("node");
    let mut wrong = Vec::new();
    for list in lists() {
        for (pin, manager) in [("yarn@1.22.22", Manager::YarnClassic), ("yarn@4.18.1", Manager::YarnBerry)] {
            let root_manifest = |pin: Option<&str>| json!({"name": "root", "version": "1.0.0", "private": true, "workspaces": list, "packageManager": pin});
            // They install themselves where they are pinned.
            write(root.path(), &root_manifest(None));
            fs::write(path.join("yarn.lock"), "").unwrap();
            let theirs = match manager {
                Manager::YarnClassic => of_yarn1(&[node, &yarn1], &path),
                _ => of_yarn(&[node, &yarn4], &path),
            };
            write(root.path(), &root_manifest(Some(pin)));
            let ours = found(&root);
            if theirs.as_ref().is_none_or(|theirs| (&ours.0, ours.1) != (theirs, 0)) {
                wrong.push(format!("{pin} {list}: ours {ours:?}\n  theirs {theirs:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What becomes of a dependency.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Got {
    /// The member `packages/a`.
    Member,
    /// What a registry has.
    Registry,
    /// Nothing: the install is refused.
    Nothing,
}
use Got::{Member, Nothing, Registry};

/// A workspace in which `packages/asks` asks for `name` as `spec`. The settings are those of the manager's own file, and
/// `more` goes into the package.json of the root.
fn asking(name: &str, spec: &str, file: &str, settings: &str, more: Value) -> TempDir {
    let mut root = json!({"name": "root", "version": "1.0.0", "private": true, "workspaces": ["packages/*"]});
    root.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let root = tree(&[
        ("", root),
        ("packages/a", json!({"name": "@x/a", "version": "1.2.3"})),
        ("packages/b", json!({"name": "b", "version": "2.0.0-rc.1"})),
        ("packages/asks", json!({"name": "asks", "version": "1.0.0", "dependencies": {name: spec}})),
    ]);
    fs::write(root.path().join(file), settings).unwrap();
    root
}

/// What it becomes by our reading.
fn ours(root: &TempDir) -> Got {
    let workspace = read(root);
    let asks = member(&workspace, "packages/asks").id();
    let is_linked = workspace.edges(asks).iter().any(packline_workspace::Edge::is_link);
    let is_unknown = !workspace.unknown(asks).is_empty();
    assert_eq!(is_unknown, workspace.notes().iter().any(|note| note.starts_with("packages/asks names ")));
    match (is_linked, is_unknown) {
        (true, false) => Member,
        (false, false) => Registry,
        (false, true) => Nothing,
        (true, true) => panic!("linked and unknown"),
    }
}

/// A registry that nobody is at.
const NOWHERE: &str = "http://127.0.0.1:9/";

#[test]
fn members_are_linked_where_pnpm_links_them() {
    let pnpm = PNPM12_NATIVE.unpacked().unwrap().join("pnpm");
    let links = "linkWorkspacePackages: true\n";
    let mut wrong = Vec::new();
    for (name, spec, settings, expected) in [
        ("@x/a", "workspace:*", "", Member),
        ("@x/a", "workspace:^", "", Member),
        ("@x/a", "workspace:~1.2.0", "", Member),
        ("@x/a", "workspace:1.2.3", "", Member),
        ("@x/a", "workspace:^9", "", Nothing),
        ("gone", "workspace:*", "", Nothing),
        ("b", "workspace:^2.0.0", "", Nothing),
        ("b", "workspace:^2.0.0-rc.0", "", Member),
        ("other", "workspace:@x/a@*", "", Member),
        ("@x/a", "workspace:../a", "", Member),
        ("@x/a", "link:../a", "", Member),
        ("@x/a", "file:../a", "", Member),
        ("@x/a", "^1.0.0", "", Registry),
        ("@x/a", "^1.0.0", links, Member),
        ("@x/a", "^1.0.0", "linkWorkspacePackages: deep\n", Member),
        ("@x/a", "^9", links, Registry),
        ("@x/a", "catalog:", "linkWorkspacePackages: true\ncatalog: {'@x/a': ^1.0.0}\n", Member),
        ("@x/a", "catalog:old", "catalogs: {old: {'@x/a': ^0.9.0}}\n", Registry),
        ("@x/a", "catalog:gone", "catalogs: {old: {'@x/a': ^0.9.0}}\n", Nothing),
        ("@x/a", "catalog:", "catalog: {b: '1'}\n", Nothing),
        ("@x/a", "^9", "overrides: {'@x/a': 'workspace:*'}\n", Member),
        ("@x/a", "^9", "overrides: {'@x/a': 'link:./packages/a'}\n", Member),
        ("@x/a", "latest", "overrides: {'@x/a': 'workspace:*'}\n", Member),
    ] {
        let root = asking(
            name,
            spec,
            "pnpm-workspace.yaml",
            &format!("packages: ['packages/*']\nfetchRetries: 0\n{settings}"),
            json!({}),
        );
        let by_us = ours(&root);
        let registry = format!("--registry={NOWHERE}");
        let said = run(&[&pnpm], &["install", "--lockfile-only", &registry], root.path());
        let lock = fs::read_to_string(root.path().join("pnpm-lock.yaml")).ok();
        let lock = lock.map(|lock| parse_yaml(&lock).unwrap());
        let version =
            lock.as_ref().map(|lock| lock["importers"]["packages/asks"]["dependencies"][name]["version"].clone());
        let by_pnpm = match version.as_ref().and_then(Value::as_str) {
            Some(version) if version.starts_with("link:") || version.starts_with("file:") => Member,
            Some(_) => panic!("{spec}: {version:?}"),
            None if said.contains("127.0.0.1") => Registry,
            None => Nothing,
        };
        // With its lock file it is the same.
        let again = ours(&root);
        if [by_us, by_pnpm, again] != [expected; 3] {
            wrong.push(format!("{name} {spec} {settings:?}: ours {by_us:?} {again:?}, pnpm {by_pnpm:?}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn members_are_linked_where_yarn_links_them() {
    let yarn = YARN4.unpacked().unwrap().join("bin/yarn.js");
    let none = json!({});
    let instead = |value: &str| json!({"resolutions": {"@x/a": value}});
    let mut wrong = Vec::new();
    for (name, spec, settings, more, expected) in [
        ("@x/a", "workspace:*", "", none.clone(), Member),
        ("@x/a", "workspace:^1.0.0", "", none.clone(), Member),
        ("@x/a", "workspace:packages/a", "", none.clone(), Member),
        ("@x/a", "workspace:^9", "", none.clone(), Nothing),
        ("gone", "workspace:^", "", none.clone(), Nothing),
        ("b", "workspace:^2.0.0-rc.0", "", none.clone(), Member),
        ("@x/a", "link:../a", "", none.clone(), Member),
        ("@x/a", "portal:../a", "", none.clone(), Member),
        ("@x/a", "^1.0.0", "", none.clone(), Member),
        ("@x/a", "npm:^1.0.0", "", none.clone(), Member),
        ("@x/a", "^9", "", none.clone(), Registry),
        ("@x/a", "^1.0.0", "enableTransparentWorkspaces: false\n", none.clone(), Registry),
        ("@x/a", "catalog:", "catalog: {'@x/a': ^1.0.0}\n", none.clone(), Member),
        ("@x/a", "catalog:old", "catalogs: {old: {'@x/a': ^0.9.0}}\n", none.clone(), Registry),
        ("@x/a", "catalog:gone", "catalog: {'@x/a': ^1.0.0}\n", none.clone(), Nothing),
        ("@x/a", "^9", "", instead("workspace:packages/a"), Member),
        ("@x/a", "^9", "", instead("workspace:*"), Member),
        ("@x/a", "^9", "", instead("^1.0.0"), Member),
    ] {
        let settings =
            format!("npmRegistryServer: {NOWHERE}\nunsafeHttpWhitelist: [127.0.0.1]\nhttpRetry: 0\n{settings}");
        let root = asking(name, spec, ".yarnrc.yml", &settings, more);
        let by_us = ours(&root);
        fs::write(root.path().join("yarn.lock"), "").unwrap();
        let install = ["install", "--mode=update-lockfile", "--no-immutable"];
        let said = run(&[Path::new("node"), &yarn], &install, root.path());
        let by_yarn = if said.contains("Failed with errors") {
            if said.contains("127.0.0.1") { Registry } else { Nothing }
        } else {
            Member
        };
        if [by_us, by_yarn] != [expected; 2] {
            wrong.push(format!("{name} {spec} {settings:?}: ours {by_us:?}, yarn {by_yarn:?}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tools_of_the_older_yarn_lead_to_the_members_that_they_need() {
    let root = tree(&[
        (
            "",
            json!({
                "name": "root", "private": true, "workspaces": ["packages/*"], "devDependencies": {"linter": "^1.0.0"},
            }),
        ),
        ("packages/schema", json!({"name": "@x/schema", "version": "1.2.0"})),
        ("packages/old", json!({"name": "old", "version": "1.0.0"})),
        ("packages/app", json!({"name": "app", "version": "1.0.0"})),
    ]);
    let lock = "# yarn lockfile v1\n\n\n\"@x/config@^1.0.0\":\n  version \"1.0.0\"\n  dependencies:\n    \"@x/schema\" \"^1.1.0\"\n    old \"^0.9.0\"\n\nlinter@^1.0.0:\n  version \"1.1.0\"\n  optionalDependencies:\n    \"@x/config\" \"^1.0.0\"\n\nold@^0.9.0:\n  version \"0.9.1\"\n";
    fs::write(root.path().join("yarn.lock"), lock).unwrap();
    let workspace = read(&root);
    let needed = workspace.needed_by_tools();
    let schema = member(&workspace, "packages/schema").id();
    assert_eq!(needed[&member(&workspace, "packages/app").id()], [schema].into());
    assert!(needed[&schema].is_empty());
}
