//! Which packages of a workspace wait for which.

use std::time::{Duration, Instant};

use packline_packages_api::scan::scan;
use serde_json::{Value, json};

use crate::scan::{built_after, dependencies, found, names, workspace, write};

#[test]
fn what_a_package_runs_with_it_depends_on_and_what_it_is_developed_with_only_comes_first() {
    let found = found(
        json!(["packages/*"]),
        &[
            (
                "packages/app",
                json!({
                    "name": "@acme/app", "dependencies": {"@acme/a": "^1.0.0", "left-pad": "*"}, "peerDependencies": {"@acme/b": "*", "@acme/e": "*"},
                    "optionalDependencies": {"@acme/c": "*"}, "devDependencies": {"@acme/d": "*", "typescript": "*"},
                    "peerDependenciesMeta": {"@acme/e": {"optional": true}},
                    "packline": {"priority": 7, "category": "apps"},
                }),
            ),
            ("packages/a", json!({"name": "@acme/a"})),
            ("packages/b", json!({"name": "@acme/b"})),
            ("packages/c", json!({"name": "@acme/c"})),
            ("packages/d", json!({"name": "@acme/d", "private": true})),
            ("packages/e", json!({"name": "@acme/e"})),
        ],
    );
    assert_eq!(names(&found), ["@acme/a", "@acme/app", "@acme/b", "@acme/c", "@acme/d", "@acme/e"]);
    assert_eq!(dependencies(&found, "@acme/app"), ["@acme/a", "@acme/b"]);
    assert_eq!(built_after(&found, "@acme/app"), ["@acme/c", "@acme/d", "@acme/e"]);
    let described = |name: &str| {
        let package = found.packages.iter().find(|package| package.name.as_str() == name).unwrap();
        (package.priority, package.category.as_str())
    };
    assert_eq!((described("@acme/app"), described("@acme/a")), ((7, "apps"), (0, "unknown")));
    assert!(found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn what_is_optional_comes_first_where_it_closes_no_cycle() {
    let meta = json!({"core": {"optional": true}});
    let found = found(
        json!(["packages/*"]),
        &[
            ("packages/core", json!({"name": "core", "dependencies": {"plugin": "^1.0.0"}})),
            (
                "packages/plugin",
                json!({"name": "plugin", "peerDependencies": {"core": "^1.0.0"}, "peerDependenciesMeta": meta}),
            ),
            ("packages/tool", json!({"name": "tool", "optionalDependencies": {"tool-darwin": "1.0.0"}})),
            ("packages/tool-darwin", json!({"name": "tool-darwin", "os": ["darwin"]})),
        ],
    );
    assert_eq!(dependencies(&found, "core"), ["plugin"]);
    for name in ["plugin", "tool", "tool-darwin"] {
        assert!(dependencies(&found, name).is_empty(), "{name}");
    }
    assert_eq!((built_after(&found, "tool"), built_after(&found, "plugin")), (vec!["tool-darwin"], vec![]));
    let cut = "plugin needs core as an optional peer, which closes a cycle: plugin does not wait for it";
    assert_eq!(found.notes, [cut]);
}

#[test]
fn what_a_build_takes_from_the_registry_it_depends_on_for_its_development_too() {
    let found = found(
        json!(["packages/*"]),
        &[
            ("packages/core", json!({"name": "core"})),
            ("packages/alias", json!({"name": "alias", "devDependencies": {"old-core": "npm:core@^1.0.0"}})),
            ("packages/link", json!({"name": "link", "devDependencies": {"core": "^1.0.0"}})),
        ],
    );
    assert_eq!((dependencies(&found, "alias"), built_after(&found, "alias")), (vec!["core"], vec![]));
    assert_eq!((dependencies(&found, "link"), built_after(&found, "link")), (vec![], vec!["core"]));
}

#[test]
fn what_installed_tools_lead_to_comes_first() {
    let manifest = |name: &str, tools: Value| json!({"name": name, "devDependencies": tools});
    let root = workspace(
        &json!(["packages/*"]),
        &[
            ("packages/app", manifest("app", json!({"bundler": "1"}))),
            ("packages/config", manifest("config", json!({}))),
            ("packages/plugin", manifest("plugin", json!({}))),
            ("packages/schema", manifest("schema", json!({}))),
        ],
    );
    let link = |name: &str| json!({"resolved": format!("packages/{name}"), "link": true});
    let lock = json!({"lockfileVersion": 3, "packages": {
        "": {"devDependencies": {"linter": "1"}},
        "node_modules/linter": {"version": "1.0.0", "dependencies": {"parser": "1"}},
        "node_modules/parser": {"version": "1.0.0", "dependencies": {"config": "1", "schema": "1"}},
        "node_modules/bundler": {"version": "1.0.0", "peerDependencies": {"plugin": "1"}},
        "node_modules/config": link("config"), "node_modules/plugin": link("plugin"), "node_modules/schema": link("schema"),
    }});
    let own = json!({"private": true, "workspaces": ["packages/*"], "devDependencies": {"linter": "1"}});
    std::fs::write(root.path().join("package.json"), own.to_string()).unwrap();
    std::fs::write(root.path().join("package-lock.json"), lock.to_string()).unwrap();
    let found = scan(root.path()).unwrap();
    assert_eq!(built_after(&found, "app"), ["config", "plugin", "schema"]);
    assert_eq!(built_after(&found, "plugin"), ["config", "schema"]);
    // Each of the two would come before the other one.
    assert_eq!((built_after(&found, "config"), built_after(&found, "schema")), (vec![], vec!["config"]));
    assert!(found.packages.iter().all(|package| package.dependencies.is_empty()), "it never blocks");
    assert!(found.notes.is_empty(), "no package names them: {:?}", found.notes);
    std::fs::write(root.path().join("package-lock.json"), "{\"packages\": 7}").unwrap();
    assert!(built_after(&scan(root.path()).unwrap(), "app").is_empty());
}

#[test]
fn only_what_comes_from_the_workspace_is_waited_for() {
    let found = found(
        json!(["packages/*"]),
        &[
            ("packages/core", json!({"name": "core", "version": "2.1.0"})),
            ("packages/next", json!({"name": "next", "version": "3.0.0-rc.1"})),
            ("packages/fits", json!({"name": "fits", "dependencies": {"core": "^2.0.0", "next": "^3.0.0-rc.0"}})),
            ("packages/older", json!({"name": "older", "dependencies": {"core": "^1.0.0", "next": "^3.0.0"}})),
            ("packages/tagged", json!({"name": "tagged", "dependencies": {"core": "latest"}})),
            ("packages/other", json!({"name": "other", "dependencies": {"core": "npm:left-pad@^2.0.0"}})),
            ("packages/git", json!({"name": "git", "dependencies": {"core": "github:acme/core"}})),
            ("packages/alias", json!({"name": "alias", "dependencies": {"core-v2": "npm:core@^2.0.0"}})),
            ("packages/folder", json!({"name": "folder", "dependencies": {"core": "file:../core"}})),
            ("packages/elsewhere", json!({"name": "elsewhere", "dependencies": {"core": "file:../../core"}})),
        ],
    );
    assert_eq!(dependencies(&found, "fits"), ["core", "next"]);
    for name in ["alias", "folder"] {
        assert_eq!(dependencies(&found, name), ["core"], "{name}");
    }
    for name in ["older", "tagged", "other", "git", "elsewhere"] {
        assert!(dependencies(&found, name).is_empty(), "{name}: {:?}", dependencies(&found, name));
    }
}

#[test]
fn in_a_cycle_development_edges_give_way_before_peers_and_peers_before_the_others() {
    let found = found(
        json!(["packages/*"]),
        &[
            ("packages/core", json!({"name": "core", "devDependencies": {"tester": "*", "core": "*"}})),
            ("packages/tester", json!({"name": "tester", "dependencies": {"core": "*"}})),
            ("packages/ping", json!({"name": "ping", "dependencies": {"pong": "*"}})),
            (
                "packages/pong",
                json!({"name": "pong", "peerDependencies": {"ping": "*"}, "devDependencies": {"ping": "*"}}),
            ),
            ("packages/x", json!({"name": "x", "peerDependencies": {"y": "*"}})),
            ("packages/y", json!({"name": "y", "devDependencies": {"z": "*"}})),
            ("packages/z", json!({"name": "z", "dependencies": {"x": "*"}})),
        ],
    );
    let needs = |name| dependencies(&found, name);
    assert_eq!((needs("core"), needs("tester")), (vec![], vec!["core"]));
    assert_eq!((needs("ping"), needs("pong")), (vec!["pong"], vec![]));
    assert_eq!((needs("x"), needs("y"), needs("z")), (vec!["y"], vec![], vec!["x"]));
    assert!(["core", "pong", "y"].iter().all(|name| built_after(&found, name).is_empty()));
    assert_eq!(
        found.notes,
        [
            "pong needs ping as a peer, which closes a cycle: pong does not wait for it",
            "core needs tester for its development only, which closes a cycle: core does not wait for it",
            "y needs z for its development only, which closes a cycle: y does not wait for it",
        ]
    );
}

#[test]
fn a_cycle_of_runtime_edges_is_cut_where_few_have_to_go() {
    let needs = |name: &str, of: &[&str]| {
        let of: Value =
            of.iter().map(|name| ((*name).to_owned(), json!("*"))).collect::<serde_json::Map<_, _>>().into();
        json!({"name": name, "dependencies": of})
    };
    let members = [
        // all of these need core, which needs one of them
        ("packages/core", needs("core", &["c"])),
        ("packages/a", needs("a", &["core"])),
        ("packages/b", needs("b", &["core", "a"])),
        ("packages/c", needs("c", &["core", "b"])),
        // one ring
        ("packages/r1", needs("r1", &["r2"])),
        ("packages/r2", needs("r2", &["r3"])),
        ("packages/r3", needs("r3", &["r1", "c"])),
        ("packages/user", needs("user", &["r1", "core"])),
    ];
    let found = found(json!(["packages/*"]), &members);
    let cut: Vec<_> = found.notes.iter().map(|note| note.split(',').next().unwrap()).collect();
    assert_eq!(cut, ["core needs c", "r1 needs r2"]);
    assert!(found.notes.iter().all(|note| note.contains("which closes a cycle")), "{:?}", found.notes);
    assert_eq!(dependencies(&found, "r3"), ["c", "r1"]);
    assert_eq!(dependencies(&found, "user"), ["core", "r1"]);
}

#[test]
fn a_member_without_a_name_or_a_version_is_not_built_and_what_it_needs_comes_first() {
    let found = found(
        json!(["packages/*", "examples/*"]),
        &[
            ("packages/app", json!({"name": "app", "devDependencies": {"config": "*", "nameless": "*"}})),
            (
                "packages/config",
                json!({"name": "config", "version": null, "private": true, "dependencies": {"rules": "*"},
                    "optionalDependencies": {"extra": "*"}, "devDependencies": {"app": "*"}}),
            ),
            ("packages/nameless", json!({"dependencies": {"rules": "*", "config": "*"}})),
            ("packages/rules", json!({"name": "rules"})),
            ("packages/extra", json!({"name": "extra"})),
            ("examples/one", json!({"version": ""})),
        ],
    );
    assert_eq!(names(&found), ["app", "extra", "rules"]);
    assert_eq!((dependencies(&found, "app"), built_after(&found, "app")), (vec![], vec!["extra", "rules"]));
    assert_eq!(
        found.notes,
        ["without a name or a version, so not built: examples/one, packages/config, packages/nameless"]
    );
    assert!(found.left_out.is_empty(), "nobody could publish them");
}

#[test]
fn a_workspace_of_two_thousand_packages_is_scanned_without_a_wait() {
    let root = workspace(&json!(["packages/*"]), &[]);
    for number in 0..2000 {
        let below: serde_json::Map<_, _> = (1..=10)
            .filter(|step| *step <= number)
            .map(|step| (format!("p{:04}", number - step), json!("^1.0.0")))
            .collect();
        let back = json!({format!("p{:04}", (number + 1) % 2000): "*"});
        let manifest = json!({"name": format!("p{number:04}"), "dependencies": below, "devDependencies": back,
            "scripts": {"build": "tsc"}, "description": "one of many ".repeat(20)});
        write(&root.path().join(format!("packages/p{number:04}")), &manifest);
    }
    let start = Instant::now();
    let found = scan(root.path()).unwrap();
    let took = start.elapsed();
    assert_eq!((found.packages.len(), found.notes.len()), (2000, 1999));
    assert!(took < Duration::from_secs(5), "{took:?}, where an unoptimized build takes 0.3 s");
}
