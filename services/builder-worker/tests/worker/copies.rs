//! Workspace mode where no overlay works: builds see a copy of what an overlay would show.

use std::{fs, path::PathBuf, time::Duration};

use packline_domain::{
    BuildResult,
    Outcome::{Cancelled, Infrastructure, Published},
};
use packline_testkit::{
    process::Process,
    workspaces::{self, Case, Made},
};
use serde_json::{Value, json};

use crate::{
    foreman::{Foreman, until},
    seat::{SMALL, without_overlays},
    workspaces::{Bench, build},
};

/// What a package finds in the folders beside it. The build of `c` ends by a stop alone.
const LIST: &str = r#"
[[phase]]
name = "list"
run = ["sh", "-c", 'echo "found $(cd ..; echo */*)"; test $PACKAGE_NAME != c || sleep 1000']
"#;

/// A worker that can mount nothing, and says so.
async fn start(case: &Case) -> Bench {
    let bench = Bench::without_overlays(case).await;
    until("what came of the probe", || async { bench.worker.printed().contains("overlay=").then_some(()) }).await;
    assert!(bench.worker.printed().contains("overlay=false"), "{}", bench.worker.printed());
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_packages_find_in_a_copy_what_they_find_in_an_overlay() {
    build(&["references", "git", "own-script", "nested", "writes-beside"], start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_and_tools_that_need_them_are_found_in_a_copy() {
    build(&["private-built", "hidden-edge", "builds-itself", "lerna-sibling"], start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_the_root_run_in_a_copy_of_their_own() {
    build(&["root-build", "root-types", "root-prepare"], start).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_scripts_of_an_install_change_is_not_changed_for_other_builds() {
    let case = workspaces::case("root-prepare");
    let mut bench = start(&case).await;
    let [member] = case.members.as_slice() else { panic!("one member") };
    assert_eq!(bench.problem(member).await, None);
    let unchanged = |bench: &Bench| {
        let list = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = list(bench.foreman.folder().join("cache/installed"))
            .map(|layer| layer.join("node_modules/tiny-dep/index.js"))
            .filter(|file| file.exists());
        let texts: Vec<String> = files.map(|file| fs::read_to_string(file).unwrap()).collect();
        assert!(!texts.is_empty() && texts.iter().all(|text| !text.contains("patched")), "{texts:?}");
    };
    unchanged(&bench);
    // The same by a script of the member.
    let root = bench.foreman.workspace();
    let change = |file: PathBuf, change: &dyn Fn(&mut Value)| {
        let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut manifest);
        fs::write(file, manifest.to_string()).unwrap();
    };
    change(root.join("package.json"), &|manifest| manifest["scripts"] = json!({}));
    change(root.join("packages/a/package.json"), &|manifest| {
        manifest["version"] = "1.0.1".into();
        manifest["scripts"]["postinstall"] = "cd ../.. && node patch.js".into();
    });
    let mut order = bench.foreman.grant(0, member.name()).await;
    order.package_path = member.path.parse().unwrap();
    bench.foreman.send(&order).await;
    let result = bench.foreman.outcome(&order).await;
    assert_eq!(result.outcome, Published, "{result:?}");
    let tarball = bench.registry.tarball(member.name(), "1.0.1").unwrap();
    let Made::Packed(files) = Made::packed(&tarball).unwrap() else { panic!("a tarball") };
    assert_eq!(files.get("dist/found.txt").map(String::as_str), Some("patched\n"));
    unchanged(&bench);
}

/// A workspace and a worker that has no npm.
struct Plain {
    foreman: Foreman,
    _worker: Process,
}

impl Plain {
    /// The packages `a`, which needs `b`, and `c`; `is_small` where SCRATCH has room for 2 MB.
    async fn start(is_small: bool) -> Self {
        let foreman = Foreman::new(Duration::from_secs(60)).await;
        let recipe = foreman.recipe(LIST);
        let plain = |name: &str| json!({"name": name, "version": "1.0.0"});
        let needs = json!({"name": "a", "version": "1.0.0", "dependencies": {"b": "^1.0.0"}});
        foreman.package("a", needs, &[("index.js", "")]);
        ["b", "c"].iter().for_each(|name| foreman.package(name, plain(name), &[("index.js", "")]));
        fs::write(foreman.workspace().join("package.json"), r#"{"workspaces": ["packages/*"]}"#).unwrap();
        fs::create_dir(foreman.scratch()).unwrap();
        let mut worker = without_overlays();
        if is_small {
            worker.env(SMALL, foreman.scratch());
        }
        let worker =
            foreman.worker_by(worker, "worker", &[("RECIPE", &recipe), ("NPM_REGISTRY", "http://127.0.0.1:9")]);
        Self { foreman, _worker: worker }
    }

    fn file(&self, path: &str, bytes: usize) {
        fs::write(self.foreman.workspace().join(path), vec![b'x'; bytes]).unwrap();
    }

    /// Builds a package; answers what it found, too.
    async fn build(&mut self, name: &str) -> (BuildResult, String) {
        let order = self.foreman.order(0, name).await;
        let result = self.foreman.outcome(&order).await;
        let log = match result.outcome {
            Published => self.foreman.log_until(&order.build_id, "list| found").await,
            _ => String::new(),
        };
        let found = log.lines().find_map(|line| line.strip_prefix("list| found ")).unwrap_or_default();
        (result, found.to_owned())
    }

    /// Waits until no build has a folder.
    async fn until_cleared(&self) {
        until("the end of all folders of builds", || async { self.copies().is_empty().then_some(()) }).await;
    }

    /// The folders of builds that have a copy.
    fn copies(&self) -> Vec<PathBuf> {
        let list = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let builds = list(self.foreman.scratch()).flat_map(|worker| list(worker.join("builds")));
        builds.filter(|build| build.join("workspace").exists()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_large_workspace_members_that_are_not_needed_are_not_copied_and_a_copy_is_broken_off_by_a_stop() {
    let mut plain = Plain::start(false).await;
    let all = "a/index.js a/package.json b/index.js b/package.json c/index.js c/package.json";
    assert_eq!(plain.build("a").await.1, all);
    fs::create_dir(plain.foreman.workspace().join("packages/c/data")).unwrap();
    (0..2_000).for_each(|n| plain.file(&format!("packages/c/data/{n}"), 1));
    let (result, found) = plain.build("a").await;
    assert_eq!(found, "a/index.js a/package.json b/index.js b/package.json c/package.json", "{result:?}");
    plain.until_cleared().await;
    let order = plain.foreman.order(0, "c").await;
    until("a copy", || async { (!plain.copies().is_empty()).then_some(()) }).await;
    plain.foreman.withdraw(0).await;
    let result = plain.foreman.outcome(&order).await;
    assert_eq!(result.outcome, Cancelled, "{result:?}");
    plain.until_cleared().await;
    assert_eq!(plain.build("a").await.0.outcome, Published, "the worker goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_has_no_room_is_a_failure_of_the_machine_and_is_removed() {
    let mut plain = Plain::start(true).await;
    plain.file("packages/a/large", 3_000_000);
    let (result, _) = plain.build("a").await;
    let error = result.error.unwrap_or_default();
    assert_eq!((result.outcome, result.retry), (Infrastructure, true), "{error}");
    assert!(error.contains("failed to copy the workspace: No space left on device"), "{error}");
    plain.file("packages/a/large", 1_500_000);
    for _ in 0..2 {
        let (result, found) = plain.build("a").await;
        assert_eq!(result.outcome, Published, "{result:?}");
        assert!(found.starts_with("a/index.js a/large a/package.json b/index.js"), "{found}");
    }
}
