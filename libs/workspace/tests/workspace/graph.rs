//! Which members get which from the workspace.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use packline_workspace::{EdgeKind, Kind, Workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{folder, folders, member, npm, read, tree, write};

/// What `folder` needs: where, how, and whether it is linked.
fn edges(workspace: &Workspace, of: &str) -> Vec<(String, EdgeKind, bool)> {
    let edges = workspace.edges(member(workspace, of).id());
    edges.iter().map(|edge| (folder(workspace, edge.to()), edge.kind(), edge.is_link())).collect()
}

fn needs(workspace: &Workspace, of: &str) -> Vec<(String, EdgeKind)> {
    edges(workspace, of).into_iter().map(|(to, kind, _)| (to, kind)).collect()
}

/// Members `a` 1.2.3, `b` 2.0.0-rc.1, `none` without a version, one without a name, and one for each of `asking`.
fn workspace(asking: &[(&str, Value)]) -> TempDir {
    let root = tree(&[
        ("", json!({"name": "root", "workspaces": ["packages/*"]})),
        ("packages/a", json!({"name": "@x/a", "version": "1.2.3"})),
        ("packages/b", json!({"name": "b", "version": "2.0.0-rc.1"})),
        ("packages/none", json!({"name": "none"})),
        ("packages/nameless", json!({"version": "1.0.0"})),
        ("other", json!({"name": "@x/a", "version": "1.2.3"})),
    ]);
    for (name, manifest) in asking {
        let mut manifest = manifest.clone();
        manifest["name"] = json!(name);
        manifest["version"] = json!("1.0.0");
        write(&root.path().join("packages").join(name), &manifest);
    }
    root
}

/// Puts a link to each member where npm puts it.
fn install(root: &TempDir, workspace: &Workspace) {
    for member in workspace.members() {
        let link = root.path().join("node_modules").join(member.link_name().unwrap());
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(root.path().join(member.folder()), link).unwrap();
    }
}

#[test]
fn members_are_linked_where_npm_links_them() {
    let specs = [
        "1.2.3",
        "^1.0.0",
        "~1.2",
        "^1.2.4",
        "^2",
        "*",
        "",
        " ",
        "x",
        "latest",
        "next",
        ">=1 <2",
        "1 - 2",
        "=1.2.3",
        "v1",
        "file:../a",
        "file:../a/",
        "file:./../../packages/a",
        "../a",
        "file:../../other",
        "./nowhere",
        "file:../a/a.tgz",
        "file:../nowhere",
        "npm:@x/a@^1",
        "npm:@x/a",
        "npm:@x/a@^3",
        "git+https://example.test/x/a.git",
        "github:x/a",
        "x/a",
        "https://example.test/a.tgz",
        "https://example.test/a",
        "git@example.test:x/a.git",
    ];
    let fields = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];
    let mut asking = Vec::new();
    for (number, spec) in specs.iter().enumerate() {
        for (field, short) in fields.iter().zip(["dep", "dev", "opt", "peer"]) {
            asking.push((format!("p{number}{short}"), json!({*field: {"@x/a": spec}})));
        }
    }
    for (number, spec) in ["^2.0.0-rc.0", "^2.0.0", "2", "*", "^1 || ^2.0.0-rc.1", "x"].iter().enumerate() {
        asking.push((format!("pre{number}"), json!({"dependencies": {"b": spec}})));
        asking.push((format!("none{number}"), json!({"dependencies": {"none": spec, "nameless": spec}})));
    }
    for (name, manifest) in [
        ("both", json!({"dependencies": {"@x/a": "^1"}, "devDependencies": {"@x/a": "^2"}})),
        ("both-other", json!({"dependencies": {"@x/a": "^2"}, "devDependencies": {"@x/a": "^1"}})),
        ("optional", json!({"dependencies": {"@x/a": "^1"}, "optionalDependencies": {"@x/a": "^2"}})),
        ("peer", json!({"peerDependencies": {"@x/a": "^2"}, "devDependencies": {"@x/a": "*"}})),
        (
            "peer-only",
            json!({"peerDependencies": {"@x/a": "^1"}, "peerDependenciesMeta": {"@x/a": {"optional": true}}}),
        ),
        ("self", json!({"devDependencies": {"self": "*"}})),
        ("under-another-key", json!({"dependencies": {"alias": "npm:@x/a@^1"}})),
    ] {
        asking.push((name.to_owned(), manifest));
    }
    let asking: Vec<(&str, Value)> = asking.iter().map(|(name, manifest)| (name.as_str(), manifest.clone())).collect();
    let root = workspace(&asking);
    let workspace = read(&root);
    install(&root, &workspace);
    let npm: BTreeMap<String, Vec<String>> =
        serde_json::from_value(npm(&json!({"ask": "links", "root": root.path()}))).unwrap();
    let mut wrong = Vec::new();
    for (name, manifest) in &asking {
        let at = format!("packages/{name}");
        let linked = workspace.linked(member(&workspace, &at).id());
        let ours: Vec<String> = linked.into_iter().map(|id| folder(&workspace, id)).collect();
        let npm: Vec<String> = npm[&at].iter().filter(|to| **to != at).cloned().collect();
        if ours != npm {
            wrong.push(format!("{manifest}: npm {npm:?}, ours {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_edge_has_the_strongest_kind_in_which_it_is_needed() {
    let all = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];
    for (fields, kind) in [
        (&all[..1], EdgeKind::Runtime),
        (&all[1..2], EdgeKind::Development),
        (&all[2..3], EdgeKind::Optional),
        (&all[3..], EdgeKind::Peer),
        (&all[..2], EdgeKind::Runtime),
        (&["dependencies", "optionalDependencies"], EdgeKind::Optional),
        (&["devDependencies", "optionalDependencies"], EdgeKind::Development),
        (&["devDependencies", "peerDependencies"], EdgeKind::Peer),
        (&["optionalDependencies", "peerDependencies"], EdgeKind::Peer),
    ] {
        let manifest: serde_json::Map<_, _> =
            fields.iter().map(|field| ((*field).into(), json!({"@x/a": "^1"}))).collect();
        let workspace = read(&workspace(&[("p", Value::Object(manifest))]));
        assert_eq!(edges(&workspace, "packages/p"), [("packages/a".to_owned(), kind, true)], "{fields:?}");
    }
    let soft =
        json!({"peerDependencies": {"@x/a": "^1", "b": "*"}, "peerDependenciesMeta": {"@x/a": {"optional": true}}});
    let workspace = read(&workspace(&[("p", soft)]));
    let kinds = [("packages/a".to_owned(), EdgeKind::OptionalPeer), ("packages/b".to_owned(), EdgeKind::Peer)];
    assert_eq!(needs(&workspace, "packages/p"), kinds);
}

#[test]
fn what_only_the_own_build_gets_is_a_development_edge() {
    let manifest = json!({"peerDependencies": {"@x/a": "^3"}, "devDependencies": {"@x/a": "*"}});
    let workspace = read(&workspace(&[("p", manifest)]));
    assert_eq!(needs(&workspace, "packages/p"), [("packages/a".to_owned(), EdgeKind::Development)]);
}

#[test]
fn a_name_means_what_its_value_names() {
    for (name, value, needed) in [
        ("core", "npm:@x/a@^1", Some(("packages/a", false))),
        ("core", "npm:@x/a", Some(("packages/a", false))),
        ("core", "npm:@x/a@^2", None),
        ("core", "npm:b@2.0.0-rc.1", Some(("packages/b", false))),
        ("@x/a", "npm:left-pad@^1", None),
        ("@x/a", "npm:b@^2.0.0-rc.0", Some(("packages/b", false))),
        ("@x/a", "npm:@x/ab@1", None),
        ("@x/a", "file:../b", Some(("packages/b", true))),
        ("core", "file:../a", Some(("packages/a", true))),
        ("core", "link:../a", Some(("packages/a", true))),
        ("@x/a", "workspace:*", Some(("packages/a", true))),
        ("@x/a", "workspace:^9", Some(("packages/a", true))),
        ("@x/a", "file:/", None),
    ] {
        let workspace = read(&workspace(&[("p", json!({"dependencies": {name: value}}))]));
        let found = edges(&workspace, "packages/p");
        let found: Vec<_> = found.iter().map(|(to, _, is_link)| (to.as_str(), *is_link)).collect();
        assert_eq!(found, needed.into_iter().collect::<Vec<_>>(), "{name}: {value}");
        assert_eq!(
            workspace.linked(member(&workspace, "packages/p").id()).len(),
            found.iter().filter(|(_, link)| *link).count()
        );
    }
}

#[test]
fn a_folder_is_the_same_by_every_link_to_it() {
    let root = tree(&[
        ("", json!({"workspaces": ["packages/*"]})),
        ("vendor/a", json!({"name": "a", "version": "1.0.0"})),
        ("packages/p", json!({"name": "p", "version": "1.0.0", "dependencies": {"x": "file:../../vendor/a"}})),
        ("packages/q", json!({"name": "q", "version": "1.0.0", "dependencies": {"a": "file:../linked"}})),
    ]);
    symlink("../vendor/a", root.path().join("packages/linked")).unwrap();
    let workspace = read(&root);
    assert_eq!(folders(&workspace), ["packages/linked", "packages/p", "packages/q"]);
    for member in ["packages/p", "packages/q"] {
        assert_eq!(needs(&workspace, member), [("packages/linked".to_owned(), EdgeKind::Runtime)], "{member}");
    }
}

#[test]
fn the_root_is_linked_to_what_it_names() {
    let root = workspace(&[]);
    let names = json!({"@x/a": "^1.0.0", "b": "^1.0.0", "none": "*"});
    write(root.path(), &json!({"name": "root", "workspaces": ["packages/*"], "devDependencies": names}));
    let workspace = read(&root);
    let linked: Vec<_> = workspace.linked_by_root().iter().map(|id| folder(&workspace, *id)).collect();
    assert_eq!(linked, ["packages/a", "packages/none"]);
}

#[test]
fn members_of_lerna_get_only_folders_as_links() {
    let root = workspace(&[("p", json!({"dependencies": {"@x/a": "^1", "b": "file:../b"}}))]);
    write(root.path(), &json!({"name": "root"}));
    fs::write(root.path().join("lerna.json"), "{}").unwrap();
    let workspace = read(&root);
    assert_eq!(workspace.kind(), Kind::Lerna);
    let expected = [("packages/a", false), ("packages/b", true)];
    let found = edges(&workspace, "packages/p");
    assert_eq!(found, expected.map(|(to, is_link)| (to.to_owned(), EdgeKind::Runtime, is_link)));
    let linked = workspace.linked(member(&workspace, "packages/p").id());
    assert_eq!(linked.into_iter().map(|id| folder(&workspace, id)).collect::<Vec<_>>(), ["packages/b"]);
    assert!(workspace.linked_by_root().is_empty());
    assert_eq!(workspace.member_named("b").map(|member| member.folder()), Some(Path::new("packages/b")));
}

#[test]
fn a_version_that_does_not_fit_is_told() {
    let names = json!({"@x/a": "^1", "b": "^2.0.0", "none": "^1", "left-pad": "^9", "core": "npm:@x/a@^3"});
    let workspace = read(&workspace(&[("p", json!({"dependencies": names, "devDependencies": {"nameless": "next"}}))]));
    let misfits = workspace.misfits(member(&workspace, "packages/p").id());
    let misfits: Vec<_> = misfits.iter().map(|misfit| (folder(&workspace, misfit.to), misfit.range.as_str())).collect();
    let expected = [("packages/b", "^2.0.0"), ("packages/a", "^3"), ("packages/none", "^1")];
    assert_eq!(misfits, expected.map(|(to, range)| (to.to_owned(), range)));
    assert_eq!(needs(&workspace, "packages/p"), [("packages/a".to_owned(), EdgeKind::Runtime)]);
}
