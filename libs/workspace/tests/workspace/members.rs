//! Which folders are members.

use std::{fs, os::unix::fs::symlink, path::Path};

use packline_workspace::{Kind, Manager, Workspace, shown};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{folders, member, npm, read, tree, write};

/// Packages in many places, each with a name of its own.
pub(crate) fn forest() -> TempDir {
    let root = TempDir::new().unwrap();
    for folder in [
        "packages/a",
        "packages/b",
        "packages/b/nested",
        "packages/b/nested/deep",
        "packages/@scope/c",
        "packages/.hidden",
        "packages/a/node_modules/x",
        "packages/node_modules",
        "packages/{odd}",
        "packages/two words",
        "packages/a1",
        "packages/a2",
        "packages/(group)",
        "node_modules/y",
        "tools/t",
        "tools/.config",
        "examples/one/app",
        "examples/two/app",
        "examples/.three/app",
        ".github",
        ".github/actions/z",
        "solo",
        "away/from/here",
        "away/from/here/below",
    ] {
        // As Yarn takes them, too.
        let name: String = folder.replace('/', "--").replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "");
        write(&root.path().join(folder), &json!({"name": name, "version": "1.0.0"}));
    }
    write(&root.path().join(""), &json!({"name": "root", "version": "1.0.0"}));
    fs::create_dir_all(root.path().join("packages/empty")).unwrap();
    fs::write(root.path().join("packages/file"), "").unwrap();
    for (link, to) in [
        ("packages/linked", "../away/from/here"),
        ("linked", "away/from"),
        ("packages/dangling", "../nowhere"),
        ("packages/to-file", "file"),
        ("packages/b/up", ".."),
    ] {
        symlink(to, root.path().join(link)).unwrap();
    }
    root
}

/// Values of `workspaces`, with something of its own in each.
fn values() -> Vec<Value> {
    vec![
        json!(["packages/*"]),
        json!(["packages/**"]),
        json!(["./packages/*"]),
        json!(["././packages/*"]),
        json!([".//packages/*"]),
        json!(["packages/./*"]),
        json!(["/packages/*"]),
        json!(["packages/*/"]),
        json!(["packages/a/"]),
        json!(["packages//a", "packages/./b"]),
        json!(["**"]),
        json!(["**/*"]),
        json!(["*"]),
        json!(["*/*"]),
        json!(["**/app"]),
        json!(["examples/**/app"]),
        json!(["**/nested/**"]),
        json!(["packages/**/nested/*"]),
        json!([".github", ".github/actions/*"]),
        json!([".*"]),
        json!(["tools/.config", "tools/*"]),
        json!(["packages/.*"]),
        json!(["packages/?", "tools/[a-z]"]),
        json!(["packages/[!a]", "packages/a[0-1]"]),
        json!(["packages/@scope/*"]),
        json!(["packages/@*/*"]),
        json!(["{packages,tools}/*"]),
        json!(["packages/{a,b/nested}"]),
        json!(["packages/a{1..2}"]),
        json!(["packages/{odd}"]),
        json!(["packages/two words", "packages/(group)"]),
        json!(["solo"]),
        json!(["."]),
        json!(["./"]),
        json!(["./**"]),
        json!(["linked/*", "linked"]),
        json!(["linked/**"]),
        json!(["packages/linked", "packages/linked/*"]),
        json!(["packages/linked/**"]),
        json!(["packages/**/below"]),
        json!(["**/below"]),
        json!(["packages/dangling", "packages/to-file", "packages/file", "packages/empty", "nowhere"]),
        json!(["packages/b/up/a1"]),
        json!(["packages/*/../a"]),
        json!(["packages/b/../a"]),
        json!(["packages/node_modules", "node_modules/y", "packages/a/node_modules/*"]),
        json!(["packages\\a"]),
        json!(["packages/*", "!packages/b"]),
        json!(["!packages/b", "packages/*"]),
        json!(["packages/**", "!packages/b/**"]),
        json!(["packages/**", "!packages/b/**", "packages/b/nested"]),
        json!(["packages/**", "!packages/b"]),
        json!(["packages/**", "!packages/b/"]),
        json!(["packages/**", "!./packages/b/nested"]),
        json!(["packages/**", "!**/nested"]),
        json!(["packages/**", "!**/nested/**"]),
        json!(["packages/**", "!packages/{a,b}"]),
        json!(["packages/**", "!packages/a*", "packages/a1"]),
        json!(["packages/*", "!packages/*", "packages/a"]),
        json!(["packages/*", "!packages/**"]),
        json!(["packages/*", "!!packages/b", "!!!packages/a"]),
        json!(["!packages/a", "!packages/b", "packages/a", "packages/b"]),
        json!(["!packages/a", "!packages/a*", "packages/a", "packages/*"]),
        json!(["**", "!.github", "!**/.hidden", "!examples"]),
        json!(["packages/.hidden", "!packages/*"]),
        json!([".github", "!*"]),
        json!(["packages/a", "packages/a", "packages/*"]),
        json!([]),
        json!(["!packages/a"]),
        json!({"packages": ["packages/a", "tools/*"], "nohoist": ["**"]}),
    ]
}

#[test]
fn members_are_those_that_npm_finds() {
    let root = forest();
    let values = values();
    let answers = npm(&json!({"ask": "members", "root": root.path().canonicalize().unwrap(), "workspaces": values}));
    let mut wrong = Vec::new();
    for (value, npm) in values.iter().zip(answers.as_array().unwrap()) {
        write(root.path(), &json!({"name": "root", "version": "1.0.0", "workspaces": value}));
        let workspace = read(&root);
        let (ours, left_out) = (json!(folders(&workspace)), workspace.left_out());
        // Where npm refuses two members of one name, one of them is left out.
        let agree = if npm.is_null() { left_out.len() == 1 } else { ours == *npm && left_out.is_empty() };
        if !agree {
            wrong.push(format!("{value}: npm {npm}, ours {ours}, left out {left_out:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_member_without_a_name_or_a_version_is_a_member() {
    let root = tree(&[
        ("", json!({"workspaces": ["packages/*", "@scope/*"]})),
        ("packages/nameless", json!({"version": "1.0.0"})),
        ("packages/draft", json!({"name": "draft", "private": true})),
        ("@scope/tool", json!({})),
    ]);
    let workspace = read(&root);
    assert_eq!(folders(&workspace), ["@scope/tool", "packages/draft", "packages/nameless"]);
    let named: Vec<_> =
        workspace.members().iter().map(|member| (member.link_name(), member.manifest().name())).collect();
    let text = |name: &str| Some(name.to_owned());
    assert_eq!(named, [(text("@scope/tool"), None), (text("draft"), Some("draft")), (text("nameless"), None)]);
    assert!(member(&workspace, "packages/draft").manifest().is_private());
    assert!(workspace.left_out().is_empty() && workspace.notes().is_empty());
}

#[test]
fn what_cannot_be_a_member_is_left_out_with_its_reason() {
    let root = tree(&[
        ("", json!({"workspaces": ["packages/*"]})),
        ("packages/a", json!({"name": "a", "version": "1.0.0"})),
        ("packages/again", json!({"name": "a", "version": "2.0.0", "private": "yes"})),
        ("packages/list", json!(["a"])),
        ("packages/broken", json!({})),
    ]);
    let elsewhere = tree(&[("", json!({"name": "elsewhere", "version": "1.0.0"}))]);
    fs::write(root.path().join("packages/broken/package.json"), "{\n  \"name\": }").unwrap();
    symlink(elsewhere.path(), root.path().join("packages/outside")).unwrap();
    let workspace = read(&root);
    assert_eq!(folders(&workspace), ["packages/a"]);
    let left_out: Vec<_> = workspace
        .left_out()
        .iter()
        .map(|left| (left.folder.to_str().unwrap(), left.problem.as_str(), left.is_private))
        .collect();
    assert_eq!(
        left_out,
        [
            ("packages/again", "a is in packages/a already", true),
            (
                "packages/broken",
                "its package.json is not JSON: expected a value, found '}' at line 2, column 11",
                false
            ),
            ("packages/list", "its package.json is an array, not an object", false),
            ("packages/outside", "it is a link to a folder outside of the workspace", false),
        ]
    );
}

#[test]
fn names_and_folders_break_no_line() {
    let root = tree(&[
        ("", json!({"workspaces": ["packages/*"]})),
        ("packages/a\nb", json!({"name": "a\u{1b}[2J"})),
        ("packages/c", json!({"name": "a\u{1b}[2J"})),
    ]);
    let workspace = read(&root);
    assert_eq!(workspace.left_out()[0].problem, "a\\u{1b}[2J is in packages/a\\nb already");
    assert_eq!([shown(""), shown("it's/é")], [".", "it's/é"]);
}

#[test]
fn manifests_are_read_as_npm_reads_them() {
    let root = tree(&[("", json!({})), ("packages/a", json!({}))]);
    fs::write(root.path().join("package.json"), b"\xEF\xBB\xBF{\"workspaces\": [], \"workspaces\": [\"packages/*\"]}")
        .unwrap();
    let text = br#"{"name": "b", "description": "cut \ud83d", "private": "true", "version": "1.0.0", "name": "a"}"#;
    fs::write(root.path().join("packages/a/package.json"), text).unwrap();
    let workspace = read(&root);
    let manifest = member(&workspace, "packages/a").manifest();
    assert_eq!((manifest.name(), manifest.is_private()), (Some("a"), true));
    assert_eq!(manifest.get("description"), Some(&json!("cut \u{FFFD}")));
}

#[test]
fn a_pattern_that_leaves_the_workspace_is_said() {
    let workspace = read(&tree(&[("", json!({"workspaces": ["../*"]}))]));
    assert!(workspace.members().is_empty());
    assert_eq!(workspace.notes(), ["the pattern \"../*\" leaves the workspace; what it names is not looked at"]);
}

#[test]
fn lerna_names_its_members_in_a_file_of_its_own() {
    let root = tree(&[
        ("", json!({"name": "root", "version": "1.0.0"})),
        ("packages/a", json!({"name": "a", "version": "1.0.0"})),
        ("packages/b", json!({"name": "b", "version": "1.0.0"})),
        ("modules/c", json!({"name": "c", "version": "1.0.0"})),
    ]);
    for (settings, found) in [
        (json!({}), &["packages/a", "packages/b"][..]),
        (json!({"packages": ["packages/*", "!packages/b", "modules/**"]}), &["modules/c", "packages/a"]),
    ] {
        fs::write(root.path().join("lerna.json"), settings.to_string()).unwrap();
        let workspace = read(&root);
        assert_eq!(
            (workspace.kind(), folders(&workspace)),
            (Kind::Lerna, found.iter().map(|f| (*f).to_owned()).collect())
        );
    }
    write(root.path(), &json!({"name": "root", "version": "1.0.0", "workspaces": ["modules/*"]}));
    let workspace = read(&root);
    assert_eq!((workspace.kind(), folders(&workspace)), (Kind::Workspaces, vec!["modules/c".to_owned()]));
}

#[test]
fn a_package_without_either_is_the_only_member() {
    let root = tree(&[
        ("", json!({"name": "single", "version": "1.0.0", "dependencies": {"single": "*"}})),
        ("packages/a", json!({"name": "a", "version": "1.0.0"})),
    ]);
    let workspace = Workspace::read(root.path()).unwrap();
    assert_eq!((workspace.kind(), folders(&workspace)), (Kind::Single, vec![String::new()]));
    let single = member(&workspace, "");
    assert_eq!(single.folder(), Path::new(""));
    assert!(workspace.edges(single.id()).is_empty());
}

/// Which manager installs a folder with these files, by its first note if there is one.
fn managed(manifest: Value, files: &[(&str, &str)]) -> (Manager, Vec<String>) {
    let root = tree(&[("", manifest)]);
    for (file, text) in files {
        fs::write(root.path().join(file), text).unwrap();
    }
    let workspace = read(&root);
    (workspace.manager(), workspace.notes().to_vec())
}

#[test]
fn the_manager_is_the_one_that_is_named_else_the_one_whose_files_are_there() {
    let named = |field: Value| {
        let mut manifest = json!({"name": "own", "version": "1.0.0"});
        manifest.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        manifest
    };
    let none = || named(json!({}));
    let berry = "__metadata:\n  version: 8\n";
    let berry_after_comment = format!("# This file is generated.\r\n\r\n{}", berry.replace('\n', "\r\n"));
    for (manifest, files, manager) in [
        (none(), &[][..], Manager::Npm),
        (none(), &[("pnpm-workspace.yaml", "")], Manager::Pnpm),
        (none(), &[("pnpm-lock.yaml", "")], Manager::Pnpm),
        (none(), &[(".yarnrc.yml", "")], Manager::YarnBerry),
        (none(), &[("yarn.lock", "# yarn lockfile v1\n")], Manager::YarnClassic),
        (none(), &[("yarn.lock", berry)], Manager::YarnBerry),
        (none(), &[("yarn.lock", berry_after_comment.as_str())], Manager::YarnBerry),
        (none(), &[("lerna.json", "{\"npmClient\": \"pnpm\"}")], Manager::Pnpm),
        (none(), &[("lerna.json", "{\"npmClient\": \"yarn\"}")], Manager::YarnClassic),
        (named(json!({"packageManager": "npm@11.0.0"})), &[], Manager::Npm),
        (named(json!({"packageManager": "pnpm@10.0.0+sha512.0"})), &[], Manager::Pnpm),
        (named(json!({"packageManager": "yarn@1.22.22"})), &[], Manager::YarnClassic),
        (named(json!({"packageManager": "yarn@10.0.0"})), &[], Manager::YarnBerry),
        (named(json!({"packageManager": "yarn@4.0.0"})), &[("yarn.lock", "# yarn lockfile v1\n")], Manager::YarnBerry),
        (named(json!({"packageManager": "yarn"})), &[("yarn.lock", "# yarn lockfile v1\n")], Manager::YarnClassic),
        (
            named(json!({"devEngines": {"packageManager": {"name": "yarn", "version": "^1.22"}}})),
            &[],
            Manager::YarnClassic,
        ),
        (
            named(json!({"devEngines": {"packageManager": {"name": "yarn", "version": ">= 4"}}})),
            &[],
            Manager::YarnBerry,
        ),
        (
            named(json!({"devEngines": {"packageManager": [{"name": "vlt"}, {"name": "pnpm", "onFail": "error"}]}})),
            &[],
            Manager::Pnpm,
        ),
    ] {
        let found = managed(manifest.clone(), files).0;
        assert_eq!(found, manager, "{manifest} {files:?}");
    }
}

#[test]
fn lock_files_of_others_and_managers_that_are_not_known_are_said() {
    let own = json!({"name": "own", "version": "1.0.0"});
    for (manifest, files, manager, notes) in [
        (
            own.clone(),
            &[("pnpm-lock.yaml", ""), ("package-lock.json", "{}"), ("yarn.lock", "")][..],
            Manager::Pnpm,
            &[
                "package-lock.json is not read: pnpm installs this workspace, by pnpm-lock.yaml",
                "yarn.lock is not read: pnpm installs this workspace, by pnpm-lock.yaml",
            ][..],
        ),
        (
            own.clone(),
            &[("package-lock.json", "{}"), ("yarn.lock", "")],
            Manager::Npm,
            &["yarn.lock is not read: npm installs this workspace, by package-lock.json"],
        ),
        (
            own.clone(),
            &[("bun.lock", "{}")],
            Manager::Npm,
            &["bun.lock is not read: npm installs this workspace, without a lock file"],
        ),
        (
            json!({"name": "own", "version": "1.0.0", "packageManager": "bun@1.3.0"}),
            &[],
            Manager::Npm,
            &["it names the package manager bun, which is not known; npm installs it"],
        ),
    ] {
        assert_eq!(managed(manifest, files), (manager, notes.iter().map(|note| (*note).to_owned()).collect()));
    }
}

#[test]
fn packages_of_pnpm_and_yarn_without_a_name_are_linked_by_nobody() {
    let root = tree(&[
        ("", json!({"name": "root", "version": "1.0.0", "private": true})),
        (
            "packages/app",
            json!({"name": "app", "version": "1.0.0", "dependencies": {"react": "*", "core": "workspace:*"}}),
        ),
        ("packages/core", json!({"name": "core", "version": "1.0.0"})),
        ("a/core", json!({"name": "core", "version": "0.0.0", "private": true})),
        ("play/react", json!({"private": true})),
        ("test/react", json!({"private": true})),
    ]);
    fs::write(root.path().join("pnpm-workspace.yaml"), "packages: ['*/*']\nlinkWorkspacePackages: true\n").unwrap();
    let workspace = read(&root);
    assert_eq!(folders(&workspace), ["packages/app", "packages/core", "play/react", "test/react"]);
    let app = member(&workspace, "packages/app");
    let linked: Vec<_> = workspace.linked(app.id()).into_iter().collect();
    assert_eq!(linked, [member(&workspace, "packages/core").id()]);
    let left = &workspace.left_out()[0];
    assert_eq!((left.problem.as_str(), left.is_private), ("core is in packages/core already", true));
    assert_eq!(workspace.left_out().len(), 1);
}

#[test]
fn the_older_yarn_leaves_out_what_has_no_version_and_the_newer_one_takes_members_of_members() {
    let packages = |pin: &str| {
        tree(&[
            ("", json!({"name": "root", "private": true, "workspaces": ["packages/*"], "packageManager": pin})),
            ("packages/a", json!({"name": "a", "version": "1.0.0", "workspaces": {"packages": ["inner/*"]}})),
            ("packages/a/inner/b", json!({"name": "b", "version": "1.0.0", "workspaces": ["../b"]})),
            ("packages/draft", json!({"name": "draft", "private": true})),
        ])
    };
    let classic = read(&packages("yarn@1.22.22"));
    assert_eq!(folders(&classic), ["packages/a"]);
    assert_eq!(classic.left_out()[0].problem, "yarn 1 takes no member without a name and a version");
    assert!(classic.left_out()[0].is_private);
    let berry = read(&packages("yarn@4.18.1"));
    assert_eq!(folders(&berry), ["packages/a", "packages/a/inner/b", "packages/draft"]);
    assert!(berry.left_out().is_empty());
}

#[test]
fn the_root_of_pnpm_and_yarn_is_a_package_where_it_is_published() {
    for (pin, is_private, found) in [
        ("pnpm@12.21.0", false, &["", "packages/a"][..]),
        ("pnpm@12.21.0", true, &["packages/a"]),
        ("yarn@4.18.1", false, &["", "packages/a"]),
        ("yarn@4.18.1", true, &["packages/a"]),
        ("npm@12.2.2", false, &["packages/a"]),
    ] {
        let root = tree(&[
            (
                "",
                json!({
                    "name": "root", "version": "1.0.0", "private": is_private, "workspaces": ["packages/*"],
                    "packageManager": pin,
                }),
            ),
            ("packages/a", json!({"name": "a", "version": "1.0.0"})),
        ]);
        if pin.starts_with("pnpm") {
            fs::write(root.path().join("pnpm-workspace.yaml"), "packages: ['packages/*']\n").unwrap();
        }
        assert_eq!(folders(&read(&root)), found, "{pin} {is_private}");
    }
    // Settings alone make no workspace.
    let single = tree(&[("", json!({"name": "single", "version": "1.0.0"})), ("packages/a", json!({"name": "a"}))]);
    fs::write(single.path().join("pnpm-workspace.yaml"), "allowBuilds: {esbuild: true}\n").unwrap();
    let single = read(&single);
    assert_eq!((single.kind(), folders(&single)), (Kind::Single, vec![String::new()]));
    assert_eq!(single.settings()["allowBuilds"]["esbuild"], true);
}
