//! What members need of each other.

use serde_json::{Value, json};

use super::{
    Case, Outcome, Released,
    case::{holding, package, published},
};

/// Writes what `require` of a package gives into a file of `dist`.
fn notes(package: &str) -> String {
    format!("mkdir -p dist && node -p \"require('{package}')\" > dist/found.txt")
}

/// A package without a build, whose `index.js` is its main file.
fn plain(name: &str, version: &str, more: Value) -> Value {
    package(name, version, json!({"main": "index.js", "files": ["index.js"]})).merged(more)
}

trait Merged {
    fn merged(self, more: Value) -> Value;
}

impl Merged for Value {
    fn merged(mut self, more: Value) -> Value {
        if let (Some(into), Value::Object(more)) = (self.as_object_mut(), more) {
            into.extend(more);
        }
        self
    }
}

pub(super) fn cases() -> Vec<Case> {
    [of_siblings(), of_versions(), of_cycles(), of_tools()].concat()
}

fn of_siblings() -> Vec<Case> {
    let needs = |name: &str| json!({"devDependencies": {name: "*"}, "scripts": {"build": notes(name)}});
    vec![
        Case::new("private-sibling", "a sibling is private, and nothing publishes it")
            .member("packages/settings", plain("@acme/settings", "1.0.0", json!({"private": true})), Outcome::Private)
            .file("packages/settings/index.js", "module.exports = 'settings';\n")
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", needs("@acme/settings")),
                holding(&[("dist/found.txt", "settings\n")]),
            ),
        Case::new("private-built", "a private sibling must be built first")
            .member(
                "packages/shared",
                package(
                    "@acme/shared",
                    "1.0.0",
                    json!({"private": true, "scripts": {"build": "mkdir -p dist && cp source.js dist/index.js"}}),
                ),
                Outcome::Private,
            )
            .file("packages/shared/source.js", "module.exports = 'shared';\n")
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", needs("@acme/shared")),
                holding(&[("dist/found.txt", "shared\n")]),
            ),
        Case::new("optional-fails", "an optional dependency is a sibling whose build fails")
            .member(
                "packages/fast",
                plain("@acme/fast", "1.0.0", json!({"scripts": {"build": "echo no compiler here && exit 1"}})),
                Outcome::Fails("build", "no compiler here"),
            )
            .file("packages/fast/index.js", "module.exports = 'fast';\n")
            .member(
                "packages/a",
                plain("@acme/a", "1.0.0", json!({"optionalDependencies": {"@acme/fast": "^1.0.0"}})),
                published(&["index.js"]),
            )
            .file("packages/a/index.js", "module.exports = 'a';\n"),
        Case::new("alias", "the key of a dependency is a member's name and names something else")
            .with([Released::new("tiny-dep", "1.0.0")])
            .member(
                "packages/a",
                package(
                    "@acme/a",
                    "1.0.0",
                    json!({"dependencies": {"@acme/b": "npm:tiny-dep@1.0.0"}, "scripts": {"build": notes("@acme/b")}}),
                ),
                holding(&[("dist/found.txt", "1.0.0\n")]),
            )
            .member(
                "packages/b",
                plain("@acme/b", "2.0.0", json!({"dependencies": {"@acme/a": "1.0.0"}})),
                published(&["index.js"]),
            )
            .file("packages/b/index.js", "module.exports = 'b';\n"),
    ]
}

fn of_versions() -> Vec<Case> {
    let ms = |version| plain("@acme/ms", version, json!({}));
    let needs = |range| json!({"dependencies": {"@acme/ms": range}, "scripts": {"build": notes("@acme/ms")}});
    vec![
        Case::new("older-sibling", "a range takes an older version of a member, which the registry has")
            .with([Released::new("@acme/ms", "2.1.0")])
            .member("packages/ms", ms("3.0.0"), published(&["index.js"]))
            .file("packages/ms/index.js", "module.exports = '3.0.0';\n")
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", needs("^2.0.0")),
                holding(&[("dist/found.txt", "2.1.0\n")]),
            ),
        Case::new("same-version", "the registry has the version that the workspace holds, with other files")
            .with([Released::new("@acme/ms", "3.0.0").file("index.js", "module.exports = 'of the registry';\n")])
            .member("packages/ms", ms("3.0.0"), published(&["index.js"]))
            .file("packages/ms/index.js", "module.exports = 'of the workspace';\n")
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", needs("^3.0.0")),
                holding(&[("dist/found.txt", "of the workspace\n")]),
            ),
        Case::new("unfit-sibling", "a range takes a version that nobody has")
            .beyond_npm()
            .member("packages/ms", ms("3.0.0"), Outcome::Fails("install", UNFIT))
            .file("packages/ms/index.js", "module.exports = '3.0.0';\n")
            .member("packages/a", package("@acme/a", "1.0.0", needs("^2.0.0")), Outcome::Fails("install", UNFIT)),
    ]
}

/// One install is for all.
const UNFIT: &str = "@acme/a wants @acme/ms ^2.0.0, and the workspace has 3.0.0";

fn of_cycles() -> Vec<Case> {
    vec![
        Case::new("dev-cycle", "a test needs a package that needs the tested one")
            .member(
                "packages/util",
                plain(
                    "@acme/util",
                    "1.0.0",
                    json!({"devDependencies": {"@acme/core": "1.0.0"}, "scripts": {"test": "node -e \"require('@acme/core')\""}}),
                ),
                published(&["index.js"]),
            )
            .file("packages/util/index.js", "module.exports = 'util';\n")
            .member(
                "packages/core",
                plain("@acme/core", "1.0.0", json!({"dependencies": {"@acme/util": "1.0.0"}, "scripts": {"test": "node ."}})),
                published(&["index.js"]),
            )
            .file("packages/core/index.js", "module.exports = require('@acme/util');\n"),
        Case::new("peer-cycle", "a package needs one that has it for a peer")
            .member(
                "packages/api",
                plain("@acme/api", "1.0.0", json!({"peerDependencies": {"@acme/ui": "^1.0.0"}})),
                published(&["index.js"]),
            )
            .file("packages/api/index.js", "module.exports = 'api';\n")
            .member(
                "packages/ui",
                plain("@acme/ui", "1.0.0", json!({"dependencies": {"@acme/api": "^1.0.0"}, "scripts": {"test": "node ."}})),
                published(&["index.js"]),
            )
            .file("packages/ui/index.js", "module.exports = require('@acme/api');\n"),
    ]
}

/// A tool of the root that needs a member.
fn lint() -> Released {
    Released::new("tiny-lint", "1.0.0")
        .field("dependencies", json!({"@acme/rules": "^1.0.0"}))
        .program("console.log(require('@acme/rules'));\n")
}

fn of_tools() -> Vec<Case> {
    let root = json!({"devDependencies": {"tiny-lint": "1.0.0"}});
    let copies = "mkdir -p dist && cp source.js dist/index.js";
    vec![
        Case::new("hidden-edge", "a tool of the root needs a member, which must be built before those that use the tool")
            .with([lint(), Released::new("@acme/rules", "1.0.0")])
            .root(root.clone())
            .member(
                "packages/rules",
                package("@acme/rules", "1.0.1", json!({"scripts": {"build": copies}})),
                published(&["dist/index.js"]),
            )
            .file("packages/rules/source.js", "module.exports = 'rules';\n")
            .member(
                "packages/app",
                package("@acme/app", "1.0.0", json!({"scripts": {"build": "mkdir -p dist && tiny-lint > dist/found.txt"}})),
                holding(&[("dist/found.txt", "rules\n")]),
            ),
        Case::new("file-sibling", "the root names a member as a folder, and gives it to a tool")
            .with([lint(), Released::new("@acme/rules", "1.0.0")])
            .root(json!({
                "devDependencies": {"tiny-lint": "1.0.0", "@acme/rules": "file:packages/rules"},
                "overrides": {"tiny-lint": {"@acme/rules": "file:packages/rules"}},
            }))
            .member(
                "packages/rules",
                package("@acme/rules", "2.0.0", json!({"scripts": {"build": copies}})),
                published(&["dist/index.js"]),
            )
            .file("packages/rules/source.js", "module.exports = 'rules 2';\n")
            .member(
                "packages/app",
                package("@acme/app", "1.0.0", json!({"scripts": {"build": "mkdir -p dist && tiny-lint > dist/found.txt"}})),
                holding(&[("dist/found.txt", "rules 2\n")]),
            ),
        Case::new("builds-itself", "a package is built by a tool that needs it")
            .beyond_npm()
            .with([lint(), Released::new("@acme/rules", "1.0.0")
                .field("main", "dist/index.js".into())
                .file("dist/index.js", "module.exports = 'last version';\n")])
            .root(root)
            .member(
                "packages/rules",
                package("@acme/rules", "1.0.1", json!({"scripts": {"build": "tiny-lint && mkdir -p dist && cp source.js dist/index.js"}})),
                holding(&[("dist/index.js", "module.exports = 'rules';\n")]),
            )
            .file("packages/rules/source.js", "module.exports = 'rules';\n"),
        Case::new("sibling-program", "a script calls the program of a sibling that is not built when all is installed")
            .beyond_npm()
            .member(
                "packages/cli",
                package(
                    "@acme/cli",
                    "1.0.0",
                    json!({"bin": {"acme": "dist/cli.js"}, "scripts": {"build": "mkdir -p dist && cp source.js dist/cli.js"}}),
                ),
                holding(&[("dist/cli.js", "#!/usr/bin/env node\nconsole.log('cli');\n")]),
            )
            .file("packages/cli/source.js", "#!/usr/bin/env node\nconsole.log('cli');\n")
            .member(
                "packages/app",
                package(
                    "@acme/app",
                    "1.0.0",
                    json!({"devDependencies": {"@acme/cli": "1.0.0"}, "scripts": {"build": "mkdir -p dist && acme > dist/found.txt"}}),
                ),
                holding(&[("dist/found.txt", "cli\n")]),
            ),
    ]
}
