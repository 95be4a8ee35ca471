//! Package managers, and what each of them does in its own way. A case pins the version that it means.

use serde_json::{Value, json};

use super::{
    Case, Outcome, Released,
    case::{holding, package, published},
    released::{compile, dependency},
};
use crate::tools::{NODE22, NPM10, NPM12, PNPM10, PNPM12, PNPM12_NATIVE, Pinned, YARN1, YARN4};

/// A member that is compiled by a tool of the root alone.
fn core(more: Value) -> Value {
    let scripts = json!({"scripts": {"build": "tiny-compile"}});
    let mut manifest = package("@acme/core", "1.2.3", scripts);
    if let (Some(fields), Value::Object(more)) = (manifest.as_object_mut(), more) {
        fields.extend(more);
    }
    manifest
}

/// A member that loads the other one as it is published, and says which versions run it.
fn app(range: &str, run: &str) -> Value {
    let says = "fs.writeFileSync('dist/index.js', JSON.stringify([core, dep]))";
    let build = format!(
        "mkdir -p dist && {run} -e \"const fs = require('fs'), core = require('@acme/core'), dep = require('tiny-dep'); {says}\""
    );
    package(
        "@acme/app",
        "1.0.0",
        json!({
            "dependencies": {"@acme/core": range, "tiny-dep": "^1.0.0"}, "scripts": {"build": build},
        }),
    )
}

/// Two members, of which the first names its tool itself: Yarn 4 runs those of the root in the root alone.
fn with_own_tool(case: Case) -> Case {
    case.member_has("packages/core", json!({"devDependencies": {"tiny-compile": "1.0.0"}}))
}

/// Two members, of which the second needs the first, and a root that pins its manager.
fn pair(name: &'static str, cause: &'static str, pin: &str, range: &str, run: &str) -> Case {
    Case::new(name, cause)
        .with(dependency())
        .with([compile()])
        .root(json!({"packageManager": pin, "devDependencies": {"tiny-compile": "1.0.0"}}))
        .file("packages/core/src/index.js", "module.exports = 'core';\n")
        .member("packages/core", core(json!({})), holding(&[("dist/index.js", "module.exports = 'core';\n")]))
        .member("packages/app", app(range, run), holding(&[("dist/index.js", r#"["core","1.1.0"]"#)]))
}

fn pnpm(name: &'static str, cause: &'static str) -> Case {
    pair(name, cause, "pnpm@10.34.9", "workspace:^", "node")
        .root(json!({"workspaces": null}))
        .runs_by([PNPM10])
        .file("pnpm-workspace.yaml", "packages:\n  - packages/*\n  - '!packages/old'\n")
        // No member: its name is taken.
        .file("packages/old/package.json", r#"{"name": "@acme/core", "version": "0.1.0"}"#)
}

fn pnpm12(name: &'static str, cause: &'static str) -> Case {
    pair(name, cause, "pnpm@12.21.0", "workspace:^", "node")
        .root(json!({"workspaces": null}))
        .runs_by([PNPM12, PNPM12_NATIVE])
        .file("pnpm-workspace.yaml", "packages:\n  - packages/*\n")
}

const YARN4_PIN: &str = "yarn@4.18.1";

fn yarn(name: &'static str, cause: &'static str, settings: &str, run: &str) -> Case {
    with_own_tool(pair(name, cause, YARN4_PIN, "workspace:^", run)).runs_by([YARN4]).file(".yarnrc.yml", settings)
}

const MODULES: &str = "nodeLinker: node-modules\n";

/// One for each manager.
fn managers() -> Vec<Case> {
    let npm =
        |name, cause, pin: &str, releases: Vec<Pinned>| pair(name, cause, pin, "^1.0.0", "node").runs_by(releases);
    vec![
        npm("npm-10", "it pins an older npm", "npm@10.9.9", vec![NPM10]),
        npm("npm-12", "it pins npm 12, and asks for a newer Node", "npm@12.2.2", vec![NPM12, NODE22])
            .root(json!({"engines": {"node": "^22.22.2"}})),
        pnpm("pnpm-10", "it is a workspace of pnpm 10"),
        pnpm12("pnpm-12", "it is a workspace of pnpm 12"),
        pair("yarn-1", "it is a workspace of the older Yarn", "yarn@1.22.22", "^1.0.0", "node").runs_by([YARN1]),
        yarn("yarn-4", "it is a workspace of Yarn 4", MODULES, "node"),
        yarn("yarn-4-pnp", "Yarn 4 loads packages from archives", "nodeLinker: pnp\n", "yarn node"),
    ]
}

/// A lock file as an older Yarn writes it, but for checksums.
const YARN_LOCK: &str = r#"__metadata:
  version: 8

"@acme/app@workspace:packages/app":
  version: 0.0.0-use.local
  resolution: "@acme/app@workspace:packages/app"
  dependencies:
    "@acme/core": "npm:^1.0.0"
    tiny-dep: "npm:^1.0.0"
  languageName: unknown
  linkType: soft

"@acme/core@npm:^1.0.0":
  version: 1.2.3
  resolution: "@acme/core@npm:1.2.3"
  languageName: node
  linkType: hard

"@acme/core@workspace:packages/core":
  version: 0.0.0-use.local
  resolution: "@acme/core@workspace:packages/core"
  dependencies:
    tiny-compile: "npm:1.0.0"
  languageName: unknown
  linkType: soft

"own@workspace:.":
  version: 0.0.0-use.local
  resolution: "own@workspace:."
  dependencies:
    tiny-compile: "npm:1.0.0"
  languageName: unknown
  linkType: soft

"tiny-compile@npm:1.0.0":
  version: 1.0.0
  resolution: "tiny-compile@npm:1.0.0"
  bin:
    tiny-compile: cli.js
  languageName: node
  linkType: hard

"tiny-dep@npm:^1.0.0":
  version: 1.1.0
  resolution: "tiny-dep@npm:1.1.0"
  languageName: node
  linkType: hard
"#;

/// As far as pnpm needs it: the rest it adds.
const PNPM_LOCK: &str = "lockfileVersion: '9.0'

importers:
  packages/app:
    dependencies:
      '@acme/core':
        specifier: ^1.0.0
        version: 1.2.3

packages:
  '@acme/core@1.2.3':
    resolution: {integrity: sha512-AAAA}

snapshots:
  '@acme/core@1.2.3': {}
";

/// One for each way of its own.
fn ways() -> Vec<Case> {
    let patched = "diff --git a/index.js b/index.js\n--- a/index.js\n+++ b/index.js\n@@ -1 +1 @@\n-module.exports = '1.1.0';\n+module.exports = 'patched';\n";
    let found = holding(&[("dist/index.js", "patched\n")]);
    let asks = |range: &str| {
        package(
            "@acme/a",
            "1.0.0",
            json!({
                "dependencies": {"tiny-dep": range},
                "scripts": {"build": "mkdir -p dist && node -p \"require('tiny-dep')\" > dist/index.js"},
            }),
        )
    };
    let [_, new] = dependency();
    let of_pnpm = |name, cause, settings: &str| {
        Case::new(name, cause)
            .with([new.clone()])
            .root(json!({"workspaces": null, "packageManager": "pnpm@10.34.9"}))
            .runs_by([PNPM10])
            .file("pnpm-workspace.yaml", &format!("packages: [packages/*]\n{settings}"))
    };
    let of_yarn = |name, cause| {
        Case::new(name, cause)
            .with([new.clone()])
            .root(json!({"packageManager": YARN4_PIN}))
            .runs_by([YARN4])
            .file(".yarnrc.yml", MODULES)
    };
    vec![
        of_pnpm("pnpm-patch", "pnpm patches a dependency", "patchedDependencies:\n  tiny-dep@1.1.0: fixes/tiny-dep.patch\n")
            .file("fixes/tiny-dep.patch", patched)
            .member("packages/a", asks("^1.0.0"), found.clone()),
        of_pnpm("pnpm-hooks", "hooks of pnpm choose a version", "")
            .with([Released::new("tiny-dep", "1.0.5")])
            .file(
                ".pnpmfile.cjs",
                "module.exports = { hooks: { readPackage(pkg) { if (pkg.dependencies?.['tiny-dep']) pkg.dependencies['tiny-dep'] = '1.0.5'; return pkg; } } };\n",
            )
            .member("packages/a", asks("^1.0.0"), holding(&[("dist/index.js", "1.0.5\n")])),
        of_pnpm("pnpm-catalog", "a catalog says which version", "catalog:\n  tiny-dep: 1.1.0\n")
            .member("packages/a", asks("catalog:"), holding(&[("dist/index.js", "1.1.0\n")])),
        of_pnpm("pnpm-publish-config", "publishConfig says what is published", "")
            .file("packages/a/src.js", "module.exports = 'source';\n")
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", json!({
                    "main": "src.js", "publishConfig": {"main": "dist/index.js", "types": "dist/index.d.ts"},
                    "scripts": {"prepack": "mkdir -p dist && touch dist/index.d.ts && echo run >> dist/index.js", "postpack": "true"},
                })),
                holding(&[("dist/index.js", "run\n"), ("dist/index.d.ts", "")]),
            ),
        of_pnpm("pnpm-directory", "publishConfig names the folder that is published", "")
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", json!({
                    "files": null, "main": null, "publishConfig": {"directory": "out"},
                    "scripts": {"build": "mkdir -p out && cp package.json out/ && echo built > out/index.js"},
                })),
                holding(&[("index.js", "built\n")]),
            ),
        of_pnpm("pnpm-nested-run", "a script calls pnpm, whose view of what is installed is older", "")
            .file("packages/core/src/index.js", "module.exports = 'core';\n")
            .with([compile()])
            .root(json!({"devDependencies": {"tiny-compile": "1.0.0"}}))
            .member(
                "packages/core",
                core(json!({"publishConfig": {"types": "dist/index.js"}})),
                holding(&[("dist/index.js", "module.exports = 'core';\n")]),
            )
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", json!({
                    "dependencies": {"@acme/core": "workspace:*"},
                    "scripts": {"build": "pnpm run inner", "inner": "mkdir -p dist && node -p \"require('@acme/core')\" > dist/index.js"},
                })),
                holding(&[("dist/index.js", "core\n")]),
            ),
        of_pnpm("pnpm-own-ways", "pnpm would look after what is installed, and after Node and itself, before each script", "verifyDepsBeforeRun: error\nmanagePackageManagerVersions: true\nuseNodeVersion: 20.0.0 || ^20\n")
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", json!({"scripts": {"build": "mkdir -p dist && echo built > dist/index.js"}})),
                holding(&[("dist/index.js", "built\n")]),
            ),
        of_pnpm("pnpm-scripts", "pnpm runs the install scripts that the workspace allows", "onlyBuiltDependencies: [tiny-built]\n")
            .with(["tiny-built", "tiny-plain"].map(|name| {
                Released::new(name, "1.0.0").field("scripts", json!({"install": "echo \"module.exports = 'built'\" > index.js"}))
            }))
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", json!({
                    "dependencies": {"tiny-built": "1.0.0", "tiny-plain": "1.0.0"},
                    "scripts": {"build": "mkdir -p dist && node -p \"require('tiny-built') + ' ' + require('tiny-plain')\" > dist/index.js"},
                })),
                holding(&[("dist/index.js", "built 1.0.0\n")]),
            ),
        of_yarn("yarn-patch", "Yarn patches a dependency")
            .file(".yarn/patches/tiny-dep.patch", patched)
            .member("packages/a", asks("patch:tiny-dep@npm%3A1.1.0#~/.yarn/patches/tiny-dep.patch"), found),
        with_own_tool(pair("yarn-locked-member", "the lock file takes a version from a registry that the workspace holds", YARN4_PIN, "^1.0.0", "node"))
            .runs_by([YARN4])
            .file(".yarnrc.yml", "nodeLinker: node-modules\nenableTransparentWorkspaces: false\n")
            .file("yarn.lock", YARN_LOCK),
        of_pnpm("pnpm-locked-member", "the lock file takes a version from a registry that the workspace holds", "")
            .with([compile()])
            .root(json!({"devDependencies": {"tiny-compile": "1.0.0"}}))
            .file("pnpm-lock.yaml", PNPM_LOCK)
            .file("packages/core/src/index.js", "module.exports = 'core';\n")
            .member("packages/core", core(json!({})), holding(&[("dist/index.js", "module.exports = 'core';\n")]))
            .member("packages/app", app("^1.0.0", "node"), holding(&[("dist/index.js", r#"["core","1.1.0"]"#)])),
        of_yarn("yarn-portal", "Yarn links a folder that is no member")
            .file("vendor/tool/package.json", r#"{"name": "tool", "version": "0.0.0", "main": "tool.js"}"#)
            .file("vendor/tool/tool.js", "module.exports = 'vendored';\n")
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", json!({
                    "devDependencies": {"tool": "portal:../../vendor/tool"},
                    "scripts": {"build": "mkdir -p dist && node -p \"require('tool')\" > dist/index.js"},
                })),
                holding(&[("dist/index.js", "vendored\n")]),
            ),
    ]
}

/// Packages that are younger than a day, by managers that refuse such.
fn young() -> Vec<Case> {
    let own = Released::new("@acme/core", "0.9.0").young();
    let needs = |name: &str| {
        package(
            "@acme/a",
            "1.0.0",
            json!({
                "dependencies": {name: "0.9.0"},
                "scripts": {"build": format!("mkdir -p dist && node -p \"require('{name}')\" > dist/index.js")},
            }),
        )
    };
    let core = || package("@acme/core", "1.0.0", json!({"files": null, "main": null}));
    let of = |case: Case, name| {
        let mut case = case;
        case.name = name;
        case.members.clear();
        case.with([own.clone(), Released::new("tiny-young", "0.9.0").young()]).member(
            "packages/core",
            core(),
            published(&["src/index.js"]),
        )
    };
    let refuses = |case: Case, says| {
        let mut case = case.member("packages/a", needs("tiny-young"), Outcome::Fails("install", says));
        // One install is for all.
        case.members.iter_mut().for_each(|member| member.outcome = Outcome::Fails("install", says));
        case
    };
    vec![
        of(pnpm12("", "an older version of a member is younger than pnpm takes it from others"), "pnpm-own-young")
            .member("packages/a", needs("@acme/core"), holding(&[("dist/index.js", "0.9.0\n")])),
        refuses(
            of(pnpm12("", "a version of somebody else is younger than pnpm takes it"), "pnpm-young")
                .file("pnpm-workspace.yaml", "packages: [packages/*]\nminimumReleaseAgeStrict: true\n"),
            "tiny-young",
        ),
        of(
            yarn("", "an older version of a member is younger than Yarn takes it from others", MODULES, "node"),
            "yarn-own-young",
        )
        .member("packages/a", needs("@acme/core"), holding(&[("dist/index.js", "0.9.0\n")])),
        refuses(
            of(yarn("", "a version of somebody else is younger than Yarn takes it", MODULES, "node"), "yarn-young"),
            "tiny-young",
        ),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [managers(), ways(), young()].concat()
}
