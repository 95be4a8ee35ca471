//! What is installed, and how.

use serde_json::{Map, Value, json};

use super::{
    Case, Outcome, Released,
    case::{holding, package, published},
    released::dependency,
};

/// A package that writes down which version of `tiny-dep` it gets.
fn asks() -> Value {
    package(
        "@acme/a",
        "1.0.0",
        json!({
            "dependencies": {"tiny-dep": "^1.0.0"},
            "scripts": {"build": "mkdir -p dist && node -p \"require('tiny-dep')\" > dist/found.txt"},
        }),
    )
}

pub(super) fn cases() -> Vec<Case> {
    let [old, new] = dependency();
    let both = || [old.clone(), new.clone()];
    let locked = lock(&json!({"name": "own", "workspaces": ["packages/*"]}), &[("packages/a", asks())], &[&old]);
    let found = |version| holding(&[("dist/found.txt", version)]);
    vec![
        Case::new("locked", "the lock file names an older version")
            .with(both())
            .file("package-lock.json", &locked)
            .member("packages/a", asks(), found("1.0.0\n")),
        Case::new("overrides", "the root overrides a version")
            .with(both())
            .root(json!({"overrides": {"tiny-dep": "1.0.0"}}))
            .member("packages/a", asks(), found("1.0.0\n")),
        Case::new("ignored-scripts", "the root's settings switch scripts off")
            .file(".npmrc", "ignore-scripts=true\n")
            .member(
                "packages/a",
                package(
                    "@acme/a",
                    "1.0.0",
                    json!({"scripts": {
                        "prebuild": "mkdir -p dist && touch dist/before.js",
                        "build": "mkdir -p dist && touch dist/index.js",
                        "prepack": "touch dist/packed.js",
                    }}),
                ),
                published(&["dist/index.js"]),
            ),
        Case::new("dependency-script", "a dependency builds itself as it is installed")
            .with([Released::new("tiny-dep", "1.1.0")
                .field("scripts", json!({"install": "echo \"module.exports = 'compiled'\" > index.js"}))])
            .member("packages/a", asks(), found("compiled\n")),
        Case::new("root-prepare", "a script of the root changes what is installed")
            .with([new.clone()])
            .root(json!({"scripts": {"postinstall": "node patch.js"}}))
            .file(
                "patch.js",
                "require('fs').writeFileSync('node_modules/tiny-dep/index.js', 'module.exports = \"patched\";');\n",
            )
            .member("packages/a", asks(), found("patched\n")),
        Case::new("root-script-fails", "a script of the root fails, as in a folder that is no git checkout")
            .beyond_npm()
            .with([new.clone()])
            .root(json!({"scripts": {"prepare": "echo fatal: not a git repository && exit 1"}}))
            .member("packages/a", asks(), found("1.1.0\n")),
        Case::new("example-script-fails", "the install script of a private example fails")
            .beyond_npm()
            .with([new])
            .root(json!({"workspaces": ["packages/*", "examples/*"]}))
            .member("packages/a", asks(), found("1.1.0\n"))
            .member(
                "examples/demo",
                json!({"name": "demo", "version": "1.0.0", "private": true,
                    "scripts": {"postinstall": "echo cannot reach the database && exit 1"}}),
                Outcome::Fails("prepare", "cannot reach the database"),
            ),
        Case::new("own-script", "a member's own install script makes a file that its build needs")
            .member(
                "packages/a",
                package(
                    "@acme/a",
                    "1.0.0",
                    json!({"scripts": {"postinstall": "echo made > made.txt", "build": "mkdir -p dist && cp made.txt dist/"}}),
                ),
                holding(&[("dist/made.txt", "made\n")]),
            ),
    ]
}

/// A lock file of a root with these members, in which these versions are installed at the top.
pub(super) fn lock(root: &Value, members: &[(&str, Value)], installed: &[&Released]) -> String {
    let mut packages = Map::from_iter([(String::new(), root.clone())]);
    for (path, manifest) in members {
        let name = manifest.get("name").and_then(Value::as_str).unwrap_or_default();
        packages.insert(format!("node_modules/{name}"), json!({"resolved": path, "link": true}));
        packages.insert((*path).to_owned(), manifest.clone());
    }
    for released in installed {
        let integrity = released.integrity().unwrap_or_default();
        let entry = json!({"version": released.version(), "integrity": integrity});
        packages.insert(format!("node_modules/{}", released.name()), entry);
    }
    let name = root.get("name").cloned().unwrap_or_default();
    json!({"name": name, "lockfileVersion": 3, "requires": true, "packages": packages}).to_string()
}
