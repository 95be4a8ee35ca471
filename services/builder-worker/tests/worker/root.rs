//! What the root of a workspace builds and tests.

use std::fs;

use packline_domain::{
    Outcome,
    message::PhaseStatus,
    phase::{CACHED, Tests},
};
use serde_json::json;

use crate::yard::{Yard, assert_files, phase};

/// Builds the code of all members.
const BUILD: &str = "for each in packages/*; do mkdir -p $each/dist && cp $each/source.js $each/dist/index.js; done";

/// A root whose build says so in the ledger, and two members that it builds.
async fn built_by(name: &str) -> Yard {
    let mut yard = Yard::new(json!({})).await;
    let ledger = yard.ledger();
    let build = format!("echo {name} >> {} && {BUILD}", ledger.display());
    yard.scripts(json!({name: build}));
    for member in ["a", "b"] {
        yard.member(member, "1.0.0", json!({}));
        yard.write(&format!("packages/{member}/source.js"), member);
    }
    yard
}

const LACKS: &str = "the tarball lacks code that package.json names; running the script build of the root";

#[tokio::test(flavor = "multi_thread")]
async fn code_that_the_own_build_of_a_package_leaves_out_is_built_by_the_root() {
    let mut yard = built_by("build").await;
    let note = |what: &str| format!("echo {what} >> {}", yard.ledger().display());
    let scripts = json!({
        "build": "mkdir -p dist && echo part > dist/part.js",
        "prepack": note("prepack"), "postpack": note("postpack"),
    });
    yard.member("a", "1.0.0", json!({"scripts": scripts}));
    yard.start("");
    let result = yard.build("a").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert_files(yard.published("a", "1.0.0"), &[("dist/index.js", "a"), ("dist/part.js", "part\n")]);
    assert_eq!(yard.done(), ["prepack", "build", "postpack"], "each once");
    let log = yard.foreman.log_until(&result.build_id, LACKS).await;
    assert!(!log.contains("build| the tarball"), "{log}");
    assert!(result.warnings.is_empty(), "{:?}", result.warnings);
    // The other one has no build, so it needs no refusal to be built by the root, which has run.
    assert_eq!(yard.build("b").await.outcome, Outcome::Published);
    assert!(yard.done().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_build_that_exceeds_a_limit_fails_no_package_that_does_without() {
    let mut yard = Yard::new(json!({"build": "sleep 300"})).await;
    yard.member("a", "1.0.0", json!({"main": "index.js", "files": ["index.js"]}));
    yard.write("packages/a/index.js", "a");
    yard.start(
        "[[phase]]\nname = \"install\"\nbuiltin = \"install\"\n\
         [[phase]]\nname = \"build\"\nrun = [\"true\"]\ntimeout = \"1s\"\n\
         [[phase]]\nname = \"publish\"\nbuiltin = \"publish\"",
    );
    let result = yard.build("a").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    yard.foreman.log_until(&result.build_id, "warning: the script build of the root ").await;
    assert_files(yard.published("a", "1.0.0"), &[("index.js", "a")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_build_that_does_not_help_changes_no_refusal() {
    let mut yard = built_by("build").await;
    let own = json!({"scripts": {"build": "true 1 || node x"}, "main": "lib/none.js"});
    yard.member("a", "1.0.0", own.clone());
    yard.start("");
    let result = yard.build("a").await;
    assert_eq!((result.outcome, result.retry), (Outcome::Failed, false));
    assert_eq!(result.failed_phase.as_deref(), Some("publish"));
    assert!(result.error.as_deref().unwrap().contains("lib/none.js"), "{result:?}");
    assert_eq!(yard.done(), ["build"]);
    yard.start("root_build = \"never\"");
    yard.member("a", "1.0.1", own);
    let result = yard.build("a").await;
    assert!(result.error.as_deref().unwrap().contains("lib/none.js"), "{result:?}");
    assert!(yard.done().is_empty(), "the recipe says never");
}

/// As a compiler with a state: what it knows to be up to date it does not write again. It fails after it has written
/// some file where `mode` says so.
const COMPILER: &str = r"
const [fs, path] = ['fs', 'path'].map((name) => require(name));
for (const each of fs.readdirSync('packages')) {
  const at = path.join('packages', each);
  const info = path.join(at, 'all.tsbuildinfo');
  const known = fs.existsSync(info) ? JSON.parse(fs.readFileSync(info)) : {};
  const is = {};
  fs.mkdirSync(path.join(at, 'dist'), { recursive: true });
  for (const file of fs.readdirSync(path.join(at, 'src'))) {
    is[file] = fs.readFileSync(path.join(at, 'src', file), 'utf8');
    if (known[file] === is[file]) continue;
    fs.appendFileSync(LEDGER, each + '/' + file + '\n');
    fs.writeFileSync(path.join(at, 'dist', file), is[file]);
  }
  fs.writeFileSync(info, JSON.stringify(is));
  if (fs.readFileSync('mode', 'utf8') === 'fail') {
    fs.writeFileSync(path.join(at, 'dist', 'junk.js'), '');
    process.exit(1);
  }
}
";

const GOES_ON: &str = "going on with the output of the last root build";

#[tokio::test(flavor = "multi_thread")]
async fn a_root_build_goes_on_with_the_output_of_the_last_one_unless_sources_were_removed() {
    let mut yard = Yard::new(json!({"build": "node compile.js"})).await;
    let ledger = json!(yard.ledger().display().to_string()).to_string();
    yard.write("compile.js", &COMPILER.replace("LEDGER", &ledger));
    yard.write("mode", "pass");
    for (file, text) in [("a/src/index.js", "1"), ("a/src/extra.js", "1"), ("b/src/index.js", "1")] {
        yard.write(&format!("packages/{file}"), text);
    }
    yard.member("b", "1.0.0", json!({}));
    yard.member("a", "1.0.0", json!({}));
    yard.start("");
    let all = ["a/extra.js", "a/index.js", "b/index.js"];
    let first = yard.build("a").await;
    assert_eq!(yard.done(), all, "{first:?}");
    let again = yard.build("b").await;
    assert_eq!(phase(&again, "build").reason.as_deref(), Some(CACHED), "nothing has changed: {again:?}");
    assert!(yard.done().is_empty());

    yard.member("a", "1.0.1", json!({}));
    yard.write("packages/a/src/index.js", "2");
    let changed = yard.build("a").await;
    yard.foreman.log_until(&changed.build_id, GOES_ON).await;
    assert_eq!(yard.done(), ["a/index.js"], "the rest is up to date");
    assert_files(yard.published("a", "1.0.1"), &[("dist/extra.js", "1"), ("dist/index.js", "2")]);

    yard.member("a", "1.0.2", json!({}));
    yard.write("mode", "fail");
    yard.write("packages/a/src/index.js", "3");
    let failed = yard.build("a").await;
    assert_eq!(failed.outcome, Outcome::Published, "{failed:?}");
    assert_eq!(yard.done(), ["a/index.js", "a/extra.js", "a/index.js"], "once more, without the old output");

    yard.member("a", "1.0.3", json!({}));
    yard.write("mode", "pass");
    yard.write("packages/a/src/index.js", "4");
    let passed = yard.build("a").await;
    yard.foreman.log_until(&passed.build_id, GOES_ON).await;
    assert_eq!(yard.done(), ["a/index.js"], "what failed is not gone on with");
    assert_files(yard.published("a", "1.0.3"), &[("dist/extra.js", "1"), ("dist/index.js", "4")]);

    yard.member("a", "1.0.4", json!({}));
    yard.remove("packages/a/src/extra.js");
    let removed = yard.build("a").await;
    assert_eq!(removed.outcome, Outcome::Published, "{removed:?}");
    assert_eq!(yard.done(), ["a/index.js", "b/index.js"], "all of it");
    assert_files(yard.published("a", "1.0.4"), &[("dist/index.js", "4")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_tests_of_the_root_are_a_gate_they_run_once_before_anything_is_published() {
    let mut yard = built_by("build").await;
    let test = format!("test -e packages/b/dist/index.js && echo test >> {}", yard.ledger().display());
    let build = format!("echo build >> {} && {BUILD}", yard.ledger().display());
    yard.scripts(json!({"build": build, "test": test}));
    yard.member("b", "1.0.0", json!({"scripts": {"test": "true; node -e 0"}}));
    yard.start("root_test = \"gate\"");
    let first = yard.build("a").await;
    assert_eq!(first.outcome, Outcome::Published, "{first:?}");
    assert_eq!((first.tests, phase(&first, "test").status), (Some(Tests::RootPassed), PhaseStatus::Passed));
    assert_eq!(yard.done(), ["build", "test"]);
    let own = yard.build("b").await;
    assert_eq!((own.tests, phase(&own, "test").status), (None, PhaseStatus::Passed), "it has tests of its own");
    let again = yard.build("a").await;
    assert_eq!(phase(&again, "test").reason.as_deref(), Some(CACHED));
    assert_eq!(again.tests, Some(Tests::RootPassed));
    assert!(yard.done().is_empty());

    yard.start("root_test = \"report\"");
    yard.write("packages/a/source.js", "new");
    yard.member("a", "1.0.1", json!({}));
    let reported = yard.build("a").await;
    assert_eq!((reported.outcome, reported.tests), (Outcome::Published, Some(Tests::RootNotRun)));
    assert_eq!(yard.done(), ["build"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_tests_of_the_root_fail_nothing_is_published_and_each_package_fails_once() {
    let mut yard = Yard::new(json!({})).await;
    let test = format!("echo test >> {} && echo expected 1 to be 2 && exit 3", yard.ledger().display());
    yard.scripts(json!({"test": test}));
    for name in ["a", "b"] {
        yard.member(name, "1.0.0", json!({"main": "index.js", "files": ["index.js"]}));
        yard.write(&format!("packages/{name}/index.js"), "");
    }
    yard.start("root_test = \"gate\"");
    for name in ["a", "b"] {
        let failed = yard.build(name).await;
        assert_eq!((failed.outcome, failed.retry), (Outcome::Failed, false), "{failed:?}");
        assert_eq!((failed.failed_phase.as_deref(), failed.tests), (Some("test"), Some(Tests::RootFailed)));
        let error = failed.error.unwrap();
        assert!(error.starts_with("test: the tests of the root failed: ended with status 3"), "{error}");
        assert!(error.contains("expected 1 to be 2"), "{error}");
    }
    assert_eq!(yard.done(), ["test"], "once for all");
    assert!(yard.published("a", "1.0.0").is_none() && yard.published("b", "1.0.0").is_none());
    // Somebody has it built again.
    assert_eq!(yard.build("a").await.failed_phase.as_deref(), Some("test"));
    assert_eq!(yard.done(), ["test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipe_says_whether_and_by_which_script_the_root_builds() {
    let mut yard = built_by("bundle").await;
    let own = json!({"scripts": {"build": "mkdir -p dist && test -e dist/index.js && cp dist/index.js dist/copy.js"}});
    yard.member("a", "1.0.0", own.clone());
    yard.start("root_build = \"always\"\nroot_build_script = \"bundle\"");
    let always = yard.build("a").await;
    assert_eq!(always.outcome, Outcome::Published, "{always:?}");
    assert_files(yard.published("a", "1.0.0"), &[("dist/copy.js", "a"), ("dist/index.js", "a")]);
    assert_eq!(yard.done(), ["bundle"]);

    yard.start("root_build_script = \"bundle\"");
    yard.write("packages/b/source.js", "2");
    let auto = yard.build("a").await;
    assert_eq!(auto.failed_phase.as_deref(), Some("build"), "it builds itself, and nobody else does: {auto:?}");
    assert!(yard.done().is_empty());
    assert_eq!(yard.build("b").await.outcome, Outcome::Published);
    assert_eq!(yard.done(), ["bundle"]);

    yard.start("root_build = \"never\"");
    yard.member("b", "1.0.1", json!({}));
    let never = yard.build("b").await;
    assert_eq!(never.failed_phase.as_deref(), Some("publish"), "{never:?}");
    assert!(yard.done().is_empty());

    yard.start("root_build_script = \"bundel\"");
    let wrong = yard.build("b").await;
    assert_eq!((wrong.failed_phase.as_deref(), wrong.retry), (Some("build"), false));
    assert_eq!(
        wrong.error.as_deref(),
        Some(
            "build: root_build_script is `bundel`, and package.json of the root has no script bundel; it has the scripts bundle"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lint_that_fails_is_a_warning_unless_the_recipe_says_otherwise() {
    let mut yard = Yard::new(json!({})).await;
    let lint = json!({"main": "index.js", "files": ["index.js"], "scripts": {"lint": "echo 70 problems && exit 1"}});
    yard.member("a", "1.0.0", lint);
    yard.write("packages/a/index.js", "");
    yard.start("");
    let warned = yard.build("a").await;
    let report = phase(&warned, "lint");
    assert_eq!((warned.outcome, warned.failed_phase.as_deref()), (Outcome::Published, None), "{warned:?}");
    assert_eq!((report.status, report.warning, report.exit_code), (PhaseStatus::Failed, true, Some(1)));
    assert_eq!(warned.warnings, ["lint: ended with status 1: 70 problems"]);
    yard.start("lint = \"fail\"");
    let failed = yard.build("a").await;
    let report = phase(&failed, "lint");
    assert_eq!((failed.outcome, failed.failed_phase.as_deref()), (Outcome::Failed, Some("lint")), "{failed:?}");
    assert_eq!((report.status, report.warning), (PhaseStatus::Failed, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_root_build_only_output_is_kept_and_of_scripts_of_an_install_what_they_patch() {
    let patch = "mkdir -p node_modules/patched node_modules/.cache/tool && echo > node_modules/patched/index.js";
    let build = "for each in . packages/a; do mkdir -p $each/node_modules/made && echo > $each/node_modules/made/index.js; \
        echo > $each/build.log; done; git init -q . && mkdir -p packages/a/dist/node_modules && \
        cp kept.log packages/a/dist/ && echo new > kept.log && echo > packages/a/dist/index.js && \
        echo > packages/a/dist/node_modules/index.js";
    let mut yard = Yard::new(json!({"postinstall": patch, "build": build})).await;
    let list = "node -e \"const { existsSync } = require('fs'); require('fs').writeFileSync('dist/list.txt', \
        ['node_modules/made', 'build.log', '.git', 'node_modules/.cache', 'node_modules/patched', 'kept.log', \
        'packages/a/node_modules/made', 'packages/a/build.log'].filter((path) => existsSync('../../' + path)).join())\"";
    yard.member("a", "1.0.0", json!({"scripts": {"build": list}}));
    yard.write("kept.log", "old");
    yard.start("root_build = \"always\"");
    let result = yard.build("a").await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    let published = yard.published("a", "1.0.0").unwrap();
    assert_eq!(published["dist/list.txt"], "node_modules/patched,kept.log");
    assert!(published.contains_key("dist/node_modules/index.js"), "{published:?}");
    assert_eq!(published["dist/kept.log"], "old");
    let scripts = fs::read_dir(yard.foreman.folder().join("cache/root")).unwrap().count();
    assert_eq!(scripts, 2, "one layer of the install scripts and one of the build");
}
