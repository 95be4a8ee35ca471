//! Packages in any folder of the workspace: what the copy of each has, and that no sibling is looked at.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, time::Duration};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use packline_domain::{Outcome, record::PROTOCOL};
use packline_testkit::registry::Registry;
use serde_json::json;

use crate::{
    foreman::{Foreman, until},
    isolated::{Place, files},
};

const CLAIM: Duration = Duration::from_secs(60);

/// Replaces the root's manifest.
fn workspaces(place: &Place, workspaces: &str) {
    place.write("package.json", &format!(r#"{{"name": "root", "private": true, "workspaces": {workspaces}}}"#));
}

#[test]
fn a_package_has_the_same_around_it_wherever_it_is() {
    for (patterns, path, sibling) in [
        (r#"["src/*"]"#, "src/everything", "src/other"),
        (r#"["packages/**"]"#, "packages/agents/builder", "packages/other"),
        (r#"["*"]"#, "everything", "other"),
        (r#"["libs/web/*"]"#, "libs/web/app", "libs/web/other"),
        ("[]", "libs/web/app", "libs/web/other"),
        ("[]", "a/b/c/d/app", "a/b/c/d/other"),
        ("[]", "everything", "other"),
    ] {
        let place = Place::new();
        workspaces(&place, patterns);
        for file in ["tsconfig.base.json", "scripts/build.js", "plans/core.md", "plans/other.md", ".env", ".npmrc"] {
            place.write(file, "{}");
        }
        for member in [path, sibling] {
            place.write(&format!("{member}/package.json"), "{}");
            place.write(&format!("{member}/src/index.js"), "");
        }
        let copy = place.prepare_at(path).unwrap();
        let mut expected: Vec<String> =
            ["package.json", "plans/core.md", "scripts/build.js", "tsconfig.base.json"].map(str::to_owned).into();
        expected.extend([format!("{path}/package.json"), format!("{path}/src/index.js")]);
        expected.sort();
        assert_eq!(files(&copy.root), expected, "{path} of {patterns}");
        assert_eq!(copy.package, copy.root.join(path));
        let root = fs::read_to_string(copy.root.join("package.json")).unwrap();
        assert!(!root.contains("workspaces"), "npm would link siblings: {root}");
        assert!(copy.left_out.is_empty(), "{:?}", copy.left_out);
    }
}

#[test]
fn what_is_beside_the_folders_above_a_package_is_shared() {
    let place = Place::new();
    for file in ["libs/tsconfig.json", "libs/web/app/index.js", "libs/web/other/index.js", "libs/tools/lint/run.js"] {
        place.write(file, "{}");
    }
    symlink("../web/other/index.js", place.root().join("libs/tools/other.js")).unwrap();
    let copy = place.prepare_at("libs/web/app").unwrap();
    assert_eq!(
        files(&copy.root),
        ["libs/tools/lint/run.js", "libs/tsconfig.json", "libs/web/app/index.js", "package.json"]
    );
    assert_eq!(copy.left_out, ["libs/tools/other.js is a link to what is not copied"]);
}

#[tokio::test]
async fn a_worker_builds_in_the_folder_of_the_order_and_says_that_it_understands_it() {
    let mut foreman = Foreman::new(CLAIM).await;
    for (folder, mark) in [("src/here", "in src"), (".", "in the root")] {
        let folder = foreman.workspace().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mark"), mark).unwrap();
    }
    let recipe =
        "[[phase]]\nname = \"show\"\nrun = [\"sh\", \"-c\", 'echo \"$PACKAGE_PATH: $(cat mark), $PLAN_PATH\"']\n";
    let _worker = foreman.worker("one", &[("RECIPE", &foreman.recipe(recipe)), ("NPM_REGISTRY", "http://127.0.0.1:9")]);
    for (path, said) in [("src/here", "in src, plans/core.md"), (".", "in the root, plans/core.md")] {
        let mut order = foreman.grant(0, "@acme/core").await;
        order.package_path = path.parse().unwrap();
        foreman.send(&order).await;
        let result = foreman.outcome(&order).await;
        assert_eq!(result.outcome, Outcome::Published, "{result:?}");
        foreman.log_until(&order.build_id, &format!("show| {path}: {said}")).await;
    }
    let mut order = foreman.grant(0, "@acme/core").await;
    order.package_path = "src/none".parse().unwrap();
    foreman.send(&order).await;
    let result = foreman.outcome(&order).await;
    assert_eq!((result.outcome, result.retry), (Outcome::Failed, false), "{result:?}");
    assert_eq!(result.error.as_deref(), Some("the workspace has no folder src/none"));
    until("a heartbeat with the protocol", || async {
        foreman.workers().await.values().find(|worker| worker.protocol == PROTOCOL).map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn a_root_is_published_with_its_members_from_the_registry() {
    let mut foreman = Foreman::new(CLAIM).await;
    let registry = Registry::start(&foreman.folder().join("registry")).await.unwrap();
    let write = |file: &str, text: &str| {
        let file = foreman.workspace().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    write("src/core/package.json", r#"{"name": "@acme/core", "version": "1.0.0"}"#);
    write("src/core/index.js", "module.exports = require.resolve('./package.json')");
    let test = "node -e \"if (!require('@acme/core').includes('node_modules/@acme/core')) process.exit(3)\"";
    let root = json!({"name": "@acme/all", "version": "2.0.0", "workspaces": ["src/*"], "scripts": {"test": test},
        "dependencies": {"@acme/core": "^1.0.0"}});
    write("package.json", &root.to_string());
    write("index.js", "");
    let lock = json!({"name": "@acme/all", "version": "2.0.0", "lockfileVersion": 3, "requires": true, "packages": {
        "": root, "node_modules/@acme/core": {"resolved": "src/core", "link": true}, "src/core": {"name": "@acme/core", "version": "1.0.0"}}});
    write("package-lock.json", &lock.to_string());
    let _worker = foreman.worker("one", &[("NPM_REGISTRY", &registry.url()), ("NPM_TOKEN", "x")]);
    for (name, path) in [("@acme/core", "src/core"), ("@acme/all", ".")] {
        let mut order = foreman.grant(0, name).await;
        order.package_path = path.parse().unwrap();
        foreman.send(&order).await;
        let result = foreman.outcome(&order).await;
        assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    }
    assert!(registry.view("@acme/all").await.unwrap().unwrap().versions.contains_key("2.0.0"));
}

#[test]
fn the_root_itself_is_a_package_without_its_members_and_secrets() {
    let place = Place::new();
    let own = [".github/ci.yml", "docs/node_modules/x.js", "src/index.js", "tools/lint.js", "plans/core.md"];
    let not = [
        "apps/site/package.json",
        "tools/cli/package.json",
        "node_modules/x/index.js",
        ".git/config",
        ".packline/catalogue.db",
        ".npmrc",
        ".env",
        ".env.local",
        ".yarnrc.yml",
        "package-lock.json",
    ];
    for file in own.iter().chain(&not) {
        place.write(file, "{}");
    }
    symlink("packages/core/src/index.js", place.root().join("core.js")).unwrap();
    symlink("src/index.js", place.root().join("main.js")).unwrap();
    let copy = place.prepare_at(".").unwrap();
    let mut expected: Vec<&str> = own.into_iter().chain(["main.js", "package.json"]).collect();
    expected.sort_unstable();
    assert_eq!(files(&copy.package), expected);
    assert_eq!(copy.package, copy.root);
    let manifest = |folder: &std::path::Path| fs::read(folder.join("package.json")).unwrap();
    assert_eq!(manifest(&copy.package), manifest(&place.root()), "it is the package's own");
    assert_eq!(copy.left_out, ["core.js is a link that leads out of the package"]);
}

#[test]
fn a_root_without_members_keeps_its_lock_file_and_a_folder_called_packages() {
    let place = Place::new();
    place.write("package.json", r#"{"name": "@acme/core"}"#);
    place.write("package-lock.json", "{}");
    let copy = place.prepare_at(".").unwrap();
    let all = ["package-lock.json", "package.json", "packages/core/package.json", "packages/core/src/index.js"];
    assert_eq!(files(&copy.package), all);
}

#[test]
fn a_path_that_is_missing_or_leads_out_is_refused() {
    let place = Place::new();
    place.write("src/file", "");
    place.write(".packline/catalogue.db", "");
    place.write("src/here/package.json", "{}");
    for (link, to) in [("src/out", "/etc"), ("out", "../.."), ("src/round", "round"), ("src/back", "here")] {
        symlink(to, place.root().join(link)).unwrap();
    }
    let long = format!("src/{}", "x".repeat(300));
    let too_long = format!("{long} has a part that is longer than a file name may be");
    for (path, why) in [
        ("src/none", "the workspace has no folder src/none"),
        ("src/out", "src/out leads out of the workspace"),
        ("src/out/ssl", "src/out/ssl leads out of the workspace"),
        ("out", "out leads out of the workspace"),
        ("src/file", "src/file is no folder"),
        ("src/file/x", "src/file/x is no folder"),
        ("src/round", "src/round is no folder"),
        (&*long, &*too_long),
        (".packline", "no package is built in .packline: .packline is never copied"),
        ("a/node_modules/b", "no package is built in a/node_modules/b: node_modules is never copied"),
    ] {
        assert_eq!(place.refusal_at(path), why);
    }
    assert_eq!(files(&place.prepare_at("src/back").unwrap().package), ["package.json"], "another place in it is fine");
}

#[test]
fn links_on_the_way_to_a_package_are_folders_in_the_copy() {
    let place = Place::new();
    place.write("real/deep/group/app/index.js", "");
    place.write("real/shared.js", "");
    symlink("real", place.root().join("link")).unwrap();
    symlink("deep", place.root().join("real/short")).unwrap();
    for path in ["link/deep/group/app", "real/short/group/app", "link/short/group/app"] {
        let copy = place.prepare_at(path).unwrap();
        assert_eq!(files(&copy.package), ["index.js"], "{path}");
        assert!(copy.package.canonicalize().unwrap().starts_with(copy.root.canonicalize().unwrap()));
        copy.remove();
    }
}

/// Time would show the load of the machine; that nothing is done for a sibling is exact.
#[test]
fn in_a_workspace_of_2000_packages_no_sibling_is_looked_at() {
    for (patterns, folder, path, siblings) in [
        (r#"["src/*"]"#, "src", "src/core", 1999),
        (r#"["packages/*"]"#, "packages", "packages/core", 200),
        ("[]", "libs/web", "libs/web/core", 200),
        (r#"["packages/*", "libs/*"]"#, "libs", ".", 200),
        (r#"["*"]"#, ".", "core", 200),
    ] {
        let place = Place::new();
        place.write(&format!("{path}/package.json"), "{}");
        workspaces(&place, patterns);
        let looks = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        let watched: BTreeSet<_> = (0..siblings)
            .map(|n| {
                let sibling = format!("{folder}/p{n}");
                place.write(&format!("{sibling}/package.json"), "{}");
                let kinds = AddWatchFlags::IN_OPEN | AddWatchFlags::IN_ACCESS;
                looks.add_watch(&place.root().join(sibling), kinds).unwrap()
            })
            .map(|watch| format!("{watch:?}"))
            .collect();
        let own = looks.add_watch(&place.root().join(path), AddWatchFlags::IN_OPEN).unwrap();
        let copy = place.prepare_at(path).unwrap();
        assert!(!files(&copy.root).iter().any(|file| file.contains("/p1")), "{path}");
        let mut seen = Vec::new();
        while let Ok(more) = looks.read_events() {
            seen.extend(more);
        }
        assert!(seen.iter().any(|event| event.wd == own), "the package itself is looked at");
        let others: Vec<_> = seen.iter().filter(|event| watched.contains(&format!("{:?}", event.wd))).collect();
        assert!(others.is_empty(), "{path} of {patterns}: {} looks at siblings: {:?}", others.len(), others.first());
        assert!(copy.left_out.is_empty(), "{:?}", copy.left_out);
    }
}
