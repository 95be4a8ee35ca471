//! Filling the catalogue from workspaces of pnpm and Yarn.

use std::fs;

use packline_packages_api::scan::{Found, scan};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::scan::{built_after, dependencies, names, write};

/// Scans a workspace in which an app asks for members by `specs`: for itself, for its development, for a tool of the root,
/// and for one that there is not.
fn scanned(root: Value, specs: [&str; 3], files: &[(&str, &str)]) -> Found {
    let [of_itself, of_development, unknown] = specs;
    let folder = TempDir::new().unwrap();
    write(folder.path(), &root);
    let app = json!({
        "name": "app", "dependencies": {"core": of_itself, "gone": unknown},
        "devDependencies": {"test-kit": of_development},
    });
    for (member, manifest) in [
        ("packages/app", app),
        ("packages/core", json!({"name": "core"})),
        ("packages/kit", json!({"name": "test-kit", "private": true})),
        ("packages/schema", json!({"name": "schema"})),
    ] {
        write(&folder.path().join(member), &manifest);
    }
    for (file, text) in files {
        fs::write(folder.path().join(file), text).unwrap();
    }
    scan(folder.path()).unwrap()
}

#[test]
fn workspaces_of_pnpm_and_yarn_have_their_edges_and_notes() {
    let root = |pin: &str| {
        json!({
            "name": "own", "private": true, "workspaces": ["packages/*"], "packageManager": pin,
            "devDependencies": {"linter": "^1.0.0"},
        })
    };
    let pnpm_lock = "lockfileVersion: '9.0'\nimporters:\n  .:\n    devDependencies:\n      linter:\n        specifier: ^1.0.0\n        version: 1.0.0\nsnapshots:\n  linter@1.0.0:\n    dependencies:\n      schema: link:packages/schema\n";
    let yarn_lock = "__metadata:\n  version: 8\n\"linter@npm:^1.0.0\":\n  version: 1.0.0\n  resolution: \"linter@npm:1.0.0\"\n  dependencies:\n    schema: \"npm:^1.0.0\"\n\"schema@npm:^1.0.0, schema@workspace:packages/schema\":\n  version: 0.0.0-use.local\n  resolution: \"schema@workspace:packages/schema\"\n\"own@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"own@workspace:.\"\n  dependencies:\n    linter: \"npm:^1.0.0\"\n";
    let yarn1_lock =
        "# yarn lockfile v1\n\n\nlinter@^1.0.0:\n  version \"1.0.0\"\n  dependencies:\n    schema \"^1.0.0\"\n";
    for (pin, specs, files, unknown) in [
        (
            "pnpm@10.34.9",
            ["workspace:^", "catalog:", "workspace:*"],
            vec![
                ("pnpm-workspace.yaml", "packages: ['packages/*']\ncatalog: {test-kit: 'link:../kit'}\n"),
                ("pnpm-lock.yaml", pnpm_lock),
            ],
            Some("packages/app names gone as \"workspace:*\", and no member has that name"),
        ),
        (
            "yarn@4.18.1",
            ["^1.0.0", "workspace:packages/kit", "catalog:old"],
            vec![(".yarnrc.yml", "nodeLinker: node-modules\n"), ("yarn.lock", yarn_lock)],
            Some("packages/app names gone as \"catalog:old\", which no catalog has"),
        ),
        ("yarn@1.22.22", ["^1.0.0", "*", "^1.0.0"], vec![("yarn.lock", yarn1_lock), ("package-lock.json", "{}")], None),
    ] {
        let found = scanned(root(pin), specs, &files);
        assert_eq!(names(&found), ["app", "core", "schema", "test-kit"], "{pin}");
        assert_eq!(dependencies(&found, "app"), ["core"], "{pin}");
        assert_eq!(built_after(&found, "app"), ["schema", "test-kit"], "{pin}");
        assert_eq!(built_after(&found, "core"), ["schema"], "{pin}");
        let named = found.notes.iter().find(|note| note.starts_with("packages/app names "));
        assert_eq!(named.map(String::as_str), unknown, "{pin}");
        let is_said = |note: &&String| note.starts_with("package-lock.json is not read: yarn installs this workspace");
        assert_eq!(found.notes.iter().any(|note| is_said(&note)), pin == "yarn@1.22.22", "{:?}", found.notes);
        assert!(found.left_out.is_empty(), "{pin}");
    }
}
