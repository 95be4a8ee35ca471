//! Where members are.

use serde_json::{Value, json};

use super::{
    Case, Outcome, Released,
    case::{package, published},
    install::lock,
    released::compile,
};

/// Compiles by a tool of the root.
fn compiled(name: &str) -> Value {
    package(name, "1.0.0", json!({"scripts": {"build": "tiny-compile"}}))
}

fn tools() -> Value {
    json!({"devDependencies": {"tiny-compile": "1.0.0"}})
}

pub(super) fn cases() -> Vec<Case> {
    let built = || published(&["dist/index.js"]);
    vec![
        Case::new("folder-name", "the folder is not named as the package")
            .with([compile()])
            .root(tools())
            .member("packages/gateway", compiled("@acme/server-gateway"), built())
            .file("packages/gateway/src/index.js", "module.exports = 'gateway';\n"),
        Case::new("nested", "members are nested, under several roots, and one folder is no member")
            .with([compile()])
            .root(tools())
            .root(json!({"workspaces": ["packages/**", "core-js", "!packages/**/fixtures/**"]}))
            .member("packages/agents/builder", compiled("@acme/builder"), built())
            .file("packages/agents/builder/src/index.js", "module.exports = 'builder';\n")
            .member("core-js", compiled("@acme/core"), built())
            .file("core-js/src/index.js", "module.exports = 'core';\n")
            .file("packages/agents/fixtures/bad/package.json", r#"{"name": "@acme/bad", "version": "1.0.0"}"#),
        Case::new("object", "`workspaces` is an object")
            .with([compile()])
            .root(tools())
            .root(json!({"workspaces": {"packages": ["packages/*"]}}))
            .member("packages/a", compiled("@acme/a"), built())
            .file("packages/a/src/index.js", "module.exports = 'a';\n"),
        Case::new("hidden-member", "a member is hidden, and one is a link")
            .with([compile()])
            .root(tools())
            .root(json!({"workspaces": ["packages/*", ".github"]}))
            .member(
                ".github",
                json!({"name": "@acme/workflows", "version": "1.0.0", "private": true}),
                Outcome::Private,
            )
            .member("packages/linked", compiled("@acme/linked"), built())
            .file("elsewhere/linked/src/index.js", "module.exports = 'linked';\n")
            .link("packages/linked", "../elsewhere/linked"),
        Case::new("nameless", "a member has no version, and is needed in the sources all the same")
            .member("packages/assets", json!({"name": "@acme/assets", "private": true}), Outcome::Left)
            .file("packages/assets/logo.txt", "logo\n")
            .member(
                "packages/site",
                package(
                    "@acme/site",
                    "1.0.0",
                    json!({
                        "devDependencies": {"@acme/assets": "*"},
                        "scripts": {"build": "mkdir -p dist && cp ../../node_modules/@acme/assets/logo.txt dist/"},
                    }),
                ),
                published(&["dist/logo.txt"]),
            ),
        Case::new("single", "there is no workspace: the root is the package")
            .with([compile()])
            .root(json!({"workspaces": null}))
            .member(
                ".",
                package(
                    "@acme/single",
                    "1.0.0",
                    json!({"devDependencies": {"tiny-compile": "1.0.0"}, "scripts": {"prepack": "tiny-compile"}}),
                ),
                built(),
            )
            .file("src/index.js", "module.exports = 'single';\n"),
        lerna(),
        lerna_sibling(),
    ]
}

/// Members install by lock files of their own; a sibling comes from the registry, in the version of the lock file.
fn lerna() -> Case {
    let core = Released::new("@acme/core", "1.0.0");
    let app = package(
        "@acme/app",
        "1.0.0",
        json!({
            "dependencies": {"@acme/core": "^1.0.0"},
            "scripts": {"tsc": "tiny-compile && node -p \"require('@acme/core')\" > dist/core.txt",
                "test": "echo \"Error: run tests from root\" && exit 1"},
        }),
    );
    let later = json!({"scripts": {"tsc": "tiny-compile", "test": "echo \"Error: run tests from root\" && exit 1"}});
    Case::new("lerna", "only lerna.json names the members")
        .with([compile(), core.clone()])
        .root(json!({
            "workspaces": null, "devDependencies": {"tiny-compile": "1.0.0"},
            "scripts": {"build": "for each in packages/*; do (cd $each && npm run tsc) || exit 1; done"},
        }))
        .built_by("build")
        .file("lerna.json", r#"{"packages": ["packages/*"], "version": "independent"}"#)
        .file("packages/app/package-lock.json", &lock(&app, &[], &[&core]))
        .member("packages/core", package("@acme/core", "1.1.0", later), published(&["dist/index.js"]))
        .file("packages/core/src/index.js", "module.exports = '1.1.0';\n")
        .member("packages/app", app, super::case::holding(&[("dist/index.js", "app\n"), ("dist/core.txt", "1.0.0\n")]))
        .file("packages/app/src/index.js", "app\n")
}

/// A lock file names the version that stands in the workspace, with the hash of what its author downloaded.
fn lerna_sibling() -> Case {
    let elsewhere = Released::new("@acme/core", "1.0.0").file("other.js", "built elsewhere\n");
    let app = package(
        "@acme/app",
        "1.0.0",
        json!({
            "dependencies": {"@acme/core": "^1.0.0"},
            "scripts": {"tsc": "tiny-compile && node -p \"require('@acme/core')\" > dist/core.txt"},
        }),
    );
    Case::new("lerna-sibling", "a member's lock file names a sibling's version, which nobody has published yet")
        .with([compile()])
        .root(json!({
            "workspaces": null, "devDependencies": {"tiny-compile": "1.0.0"},
            "scripts": {"build": "for each in packages/core packages/app; do (cd $each && npm run tsc) || exit 1; done"},
        }))
        .built_by("build")
        .beyond_npm()
        .file("lerna.json", r#"{"packages": ["packages/*"], "version": "independent"}"#)
        .file("packages/app/package-lock.json", &lock(&app, &[], &[&elsewhere]))
        .member(
            "packages/core",
            package("@acme/core", "1.0.0", json!({"scripts": {"tsc": "tiny-compile"}})),
            published(&["dist/index.js"]),
        )
        .file("packages/core/src/index.js", "module.exports = 'core';\n")
        .member("packages/app", app, super::case::holding(&[("dist/index.js", "app\n"), ("dist/core.txt", "core\n")]))
        .file("packages/app/src/index.js", "app\n")
}
