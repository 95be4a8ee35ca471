//! What scripts need around them, and who runs them.

use serde_json::json;

use super::{
    Case, Outcome, Released,
    case::{holding, package, published},
    released::compile,
};

/// As a compiler with project references does: builds this folder after those that tsconfig.json refers to, but leaves
/// alone what its tsbuildinfo calls up to date.
const REFERENCES: &str = r"
const [fs, path, { createHash }] = ['fs', 'path', 'crypto'].map((name) => require(name));
function build(folder) {
  const config = path.join(folder, 'tsconfig.json');
  if (!fs.existsSync(config)) {
    console.error(`error TS6053: File '${config}' not found.`);
    process.exit(2);
  }
  for (const each of JSON.parse(fs.readFileSync(config)).references ?? []) build(path.join(folder, each.path));
  const [source, info] = [path.join(folder, 'src/index.js'), path.join(folder, 'tsconfig.tsbuildinfo')];
  const hash = createHash('sha256').update(fs.readFileSync(source)).digest('hex');
  if (fs.existsSync(info) && fs.readFileSync(info, 'utf8') === hash) return;
  fs.cpSync(path.join(folder, 'src'), path.join(folder, 'dist'), { recursive: true });
  fs.writeFileSync(info, hash);
}
build('.');
";

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("root-tool", "the root alone names the compiler")
            .with([compile()])
            .root(json!({"devDependencies": {"tiny-compile": "1.0.0"}}))
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", json!({"scripts": {"build": "tiny-compile", "test": "node ."}})),
                published(&["dist/index.js"]),
            )
            .file("packages/a/src/index.js", "module.exports = 'a';\n"),
        Case::new("root-config", "a configuration file of the root imports a package of the root")
            .with([Released::new("tiny-preset", "1.0.0")])
            .root(json!({"devDependencies": {"tiny-preset": "1.0.0"}}))
            .file(
                "shared.config.mjs",
                "import preset from 'tiny-preset';\nimport fs from 'fs';\nfs.mkdirSync('dist', { recursive: true });\n\
                 fs.writeFileSync('dist/preset.txt', preset);\n",
            )
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", json!({"scripts": {"build": "node ../../shared.config.mjs"}})),
                holding(&[("dist/preset.txt", "1.0.0")]),
            ),
        Case::new("dot-folder", "a script reads a hidden folder of the root")
            .file(".shared/banner.txt", "banner\n")
            .member(
                "packages/a",
                package(
                    "@acme/a",
                    "1.0.0",
                    json!({"scripts": {"build": "mkdir -p dist && cp ../../.shared/banner.txt dist/"}}),
                ),
                holding(&[("dist/banner.txt", "banner\n")]),
            ),
        references(),
        root_build("root-build", "build"),
        root_build("root-build-named", "compile").root(json!({
            "scripts": {"build": "exit 1", "compile": ROOT_BUILD, "release": "npm run compile && changeset publish"},
        })),
        Case::new("root-types", "the root builds only the types; the entry file stands in the sources")
            .root(json!({"scripts": {"build": "for each in packages/*; do echo > $each/index.d.ts; done"}}))
            .built_by("build")
            .member(
                "packages/a",
                json!({"name": "@acme/a", "version": "1.0.0", "files": ["index.js", "index.d.ts"]}),
                published(&["index.js", "index.d.ts"]),
            )
            .file("packages/a/index.js", "module.exports = 'a';\n"),
        Case::new("writes-beside", "a script writes into a sibling's folder, another reads there")
            .member(
                "packages/a",
                package(
                    "@acme/a",
                    "1.0.0",
                    json!({"scripts": {"build": "mkdir -p dist && cp ../b/part.js dist/index.js && cp part.js ../b/test/"}}),
                ),
                holding(&[("dist/index.js", "b\n")]),
            )
            .file("packages/a/part.js", "a\n")
            .member("packages/b", json!({"name": "@acme/b", "version": "1.0.0", "files": ["part.js"]}), published(&["part.js"]))
            .file("packages/b/part.js", "b\n")
            .file("packages/b/test/.keep", ""),
        Case::new("git", "a script asks git")
            .git()
            .member(
                "packages/a",
                package(
                    "@acme/a",
                    "1.0.0",
                    json!({"scripts": {"build": "mkdir -p dist && git rev-parse HEAD && git describe > dist/version.txt"}}),
                ),
                holding(&[("dist/version.txt", "v1.0.0\n")]),
            ),
        Case::new("old-output", "the checkout has files that git ignores, and one that git does not know yet")
            .git()
            .beyond_npm()
            .file(".gitignore", "dist\n.env\n")
            .member(
                "packages/a",
                package(
                    "@acme/a",
                    "1.0.0",
                    json!({"scripts": {"build": "mkdir -p dist && cp new.js dist/index.js && test ! -e ../../.env"}}),
                ),
                holding(&[("dist/index.js", "new\n")]),
            )
            .later("packages/a/new.js", "new\n")
            .later("packages/a/dist/old.js", "old\n")
            .later(".env", "TOKEN=secret\n"),
        Case::new("inner-link", "a folder of the sources is a link to another one")
            .file("shared/src/index.js", "shared\n")
            .link("packages/a/src", "../../shared/src")
            .member(
                "packages/a",
                package("@acme/a", "1.0.0", json!({"scripts": {"build": "mkdir -p dist && cp src/index.js dist/"}})),
                holding(&[("dist/index.js", "shared\n")]),
            ),
        fixture_modules("fixture-modules"),
        fixture_modules("fixture-modules-git").git(),
        Case::new("secrets", "the root has a credential in its settings, and an .env")
            .beyond_npm()
            .file(".npmrc", "//registry.example/:_authToken=secret\nsave-exact=true\n")
            .file(".env", "TOKEN=secret\n")
            .member(
                "packages/a",
                package(
                    "@acme/a",
                    "1.0.0",
                    json!({"scripts": {
                        "build": "test ! -e ../../.env && ! grep secret ../../.npmrc && mkdir -p dist && cp ../../.npmrc dist/settings",
                    }}),
                ),
                holding(&[("dist/settings", "save-exact=true\n")]),
            ),
        Case::new("stub-test", "`test` only prints and fails")
            .member(
                "packages/a",
                json!({"name": "@acme/a", "version": "1.0.0",
                    "scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}),
                published(&["index.js"]),
            )
            .file("packages/a/index.js", "module.exports = 'a';\n"),
        Case::new("root-test", "tests are at the root alone, and fail")
            .root(json!({"scripts": {"test": "exit 1"}}))
            .member("packages/a", json!({"name": "@acme/a", "version": "1.0.0"}), published(&["index.js"]))
            .file("packages/a/index.js", "module.exports = 'a';\n"),
        Case::new("failing-lint", "`lint` fails, and its owner publishes all the same")
            .member(
                "packages/a",
                json!({"name": "@acme/a", "version": "1.0.0", "scripts": {"lint": "echo 70 problems && exit 1"}}),
                published(&["index.js"]),
            )
            .file("packages/a/index.js", "module.exports = 'a';\n"),
        Case::new("failing-test", "a test fails")
            .member(
                "packages/a",
                json!({"name": "@acme/a", "version": "1.0.0", "scripts": {"test": "node -e \"throw 'expected 1 to be 2'\""}}),
                Outcome::Fails("test", "expected 1 to be 2"),
            )
            .file("packages/a/index.js", "module.exports = 'a';\n"),
    ]
}

const ROOT_BUILD: &str =
    "for each in packages/*; do mkdir -p $each/dist && cp $each/source.js $each/dist/index.js; done";

/// Members have no script that builds.
fn root_build(name: &'static str, script: &'static str) -> Case {
    Case::new(name, "the root's script builds all members, which have none")
        .root(json!({"scripts": {"build": ROOT_BUILD}}))
        .built_by(script)
        .member("packages/a", package("@acme/a", "1.0.0", json!({})), holding(&[("dist/index.js", "a\n")]))
        .file("packages/a/source.js", "a\n")
        .member("packages/b", package("@acme/b", "1.0.0", json!({})), holding(&[("dist/index.js", "b\n")]))
        .file("packages/b/source.js", "b\n")
}

/// A folder of a test is named as the one of installed packages.
fn fixture_modules(name: &'static str) -> Case {
    Case::new(name, "a fixture of a test has a folder node_modules")
        .member(
            "packages/a",
            json!({"name": "@acme/a", "version": "1.0.0", "files": ["index.js"],
                "scripts": {"test": "test -e test/fixtures/node_modules/x/index.js"}}),
            published(&["index.js"]),
        )
        .file("packages/a/index.js", "module.exports = 'a';\n")
        .file("packages/a/test/fixtures/node_modules/x/index.js", "module.exports = 'x';\n")
}

/// The sibling's published file has a mark that a second build of it would not make.
fn references() -> Case {
    Case::new("references", "the compiler follows references into a sibling's sources")
        .with([Released::new("tiny-tsc", "1.0.0").program(REFERENCES)])
        .root(json!({"devDependencies": {"tiny-tsc": "1.0.0"}}))
        .file("tsconfig.base.json", "{}")
        .member(
            "packages/core",
            package(
                "@acme/core",
                "1.0.0",
                json!({"scripts": {"build": "tiny-tsc && echo // built once >> dist/index.js"}}),
            ),
            holding(&[("dist/index.js", "core\n// built once\n")]),
        )
        .file("packages/core/tsconfig.json", r#"{"extends": "../../tsconfig.base.json"}"#)
        .file("packages/core/src/index.js", "core\n")
        .member(
            "packages/app",
            package(
                "@acme/app",
                "1.0.0",
                json!({
                    "dependencies": {"@acme/core": "^1.0.0"},
                    "scripts": {"build": "tiny-tsc && cp ../core/dist/index.js dist/core.js"},
                }),
            ),
            holding(&[("dist/index.js", "app\n"), ("dist/core.js", "core\n// built once\n")]),
        )
        .file("packages/app/tsconfig.json", r#"{"references": [{"path": "../core"}]}"#)
        .file("packages/app/src/index.js", "app\n")
}
