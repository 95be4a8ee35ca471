//! What the worker publishes is what `npm publish` publishes of the same folder: the tarball, the document of the
//! registry, and the scripts that run before and after it. The packages are made by `like_npm/packages.mjs`.

mod compare;

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use packline_domain::{BuildResult, Outcome};
use packline_testkit::{
    campaign,
    process::command,
    stand_in::{Request, StandIn},
    tools,
};
use serde::Deserialize;

use crate::foreman::Foreman;
use compare::{Documented, Side, compare};

const CLAIM: Duration = Duration::from_secs(60);

/// The script `beacon.cjs` looks for it.
const TOKEN: &str = "token-of-nobody";

/// So many packages at a time, on each side.
const AT_A_TIME: usize = 2;

/// What differs, and is meant to: `docs/reference/publishing.md` says so.
const DOCUMENTED: [Documented; 2] = [
    Documented { package: "prepack-restored", place: "description", reason: RESTORED },
    Documented { package: "prepack-restored", place: "scripts.prepack", reason: RESTORED },
];
const RESTORED: &str = "npm reads package.json once more after postpack; here the registry is told what was packed";

/// What the short form publishes by npm 12, so that both take at most 30 s: what npm may pack or normalize in another way.
const FEW: &str = "@acme/scoped,files-list,npmignore,directories,links,unicode,modes,prerelease,@acme/bin-object,v-version,\
                   build-metadata,people-text,odd-manifest,implied-scripts,bundled,prepack-restored,each-script";

/// Which of the packages.
enum Choice {
    All,
    Short,
    /// Names with commas between.
    Only(String),
}

impl Choice {
    /// Those that LIKE_NPM names, where it is set.
    fn or(short: Self) -> Self {
        std::env::var("LIKE_NPM").map_or_else(|_| campaign::size(short, Self::All), Self::Only)
    }
}

/// What npm runs of all that `each-script` has.
const RUN: [&str; 7] = ["prepublishOnly", "prepack", "prepare", "postpack", "the put", "publish", "postpublish"];

/// One package, as the script says.
#[derive(Clone, Debug, Deserialize)]
struct Kind {
    name: String,
    /// What `--tag` must say, where npm demands one.
    tag: Option<String>,
}

impl Kind {
    fn folder(&self, root: &Path) -> PathBuf {
        root.join("packages").join(self.name.rsplit('/').next().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_what_npm_publishes() {
    let path = std::env::var_os("PATH").unwrap();
    let differences = run(path, Choice::or(Choice::Short)).await;
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_what_npm_12_publishes() {
    let npm12 = match tools::npm12().await {
        Ok(npm12) => npm12,
        Err(missing) => return eprintln!("not compared with npm 12: {missing}"),
    };
    let differences = run(npm12.path(), Choice::or(Choice::Only(FEW.into()))).await;
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Publishes by the npm on this PATH and by a worker that has it, and answers what differs.
async fn run(path: OsString, choice: Choice) -> Vec<String> {
    let mut foreman = Foreman::new(CLAIM).await;
    let checkout = foreman.folder().join("checkout");
    let kinds = packages(&choice, &[&checkout, &foreman.workspace()]);
    let (of_npm, of_worker) = (StandIn::start().await, StandIn::start().await);
    let started = Instant::now();
    let npm = tokio::spawn(by_npm(of_npm.url(), checkout, foreman.folder().join("npm"), path.clone(), kinds.clone()));
    let built = by_worker(&mut foreman, &of_worker.url(), &path, &kinds).await;
    let complaints = npm.await.unwrap();
    eprintln!("{} packages in {:.1} s", kinds.len(), started.elapsed().as_secs_f32());

    let (npm_heard, worker_heard) = (of_npm.requests(), of_worker.requests());
    let mut differences = Vec::new();
    for Kind { name, .. } in &kinds {
        if let Some(complaint) = complaints.get(name) {
            differences.push(format!("{name}: npm does not publish it: {complaint}"));
            continue;
        }
        let result = built.get(name).unwrap();
        if result.outcome != Outcome::Published {
            let (phase, error) = (result.failed_phase.as_deref(), result.error.as_deref().unwrap_or_default());
            differences.push(format!("{name}: the worker does not publish it: {phase:?}: {error}"));
            continue;
        }
        let npm = Side { url: &of_npm.url(), put: only_put(&npm_heard, name), heard: &npm_heard };
        let worker = Side { url: &of_worker.url(), put: only_put(&worker_heard, name), heard: &worker_heard };
        if name == "each-script" {
            assert_eq!(npm.order(name), RUN, "what npm runs has changed, or its scripts do not reach the registry");
        }
        differences.extend(compare(name, &npm, &worker));
    }
    Documented::apply(&DOCUMENTED, differences, matches!(choice, Choice::All))
}

fn only_put<'a>(heard: &'a [Request], name: &str) -> Option<&'a Request> {
    let mut puts = heard.iter().filter(|r| r.method == "PUT" && r.package().as_deref() == Some(name));
    puts.next().filter(|_| puts.next().is_none())
}

/// The packages, written to each of these folders.
fn packages(choice: &Choice, roots: &[&Path]) -> Vec<Kind> {
    let mut script = command("node");
    script.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker/like_npm/packages.mjs")).args(roots);
    match choice {
        Choice::All => &mut script,
        Choice::Short => script.arg("--short"),
        Choice::Only(names) => script.arg(format!("--only={names}")),
    };
    let ended = script.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// `npm publish` in each folder; what it complains of.
async fn by_npm(
    url: String,
    checkout: PathBuf,
    home: PathBuf,
    path: OsString,
    kinds: Vec<Kind>,
) -> BTreeMap<String, String> {
    fs::create_dir(&home).unwrap();
    fs::write(home.join(".npmrc"), format!("{}/:_authToken={TOKEN}\n", url.trim_start_matches("http:"))).unwrap();
    let left = Arc::new(Mutex::new(VecDeque::from(kinds)));
    let lanes = (0..AT_A_TIME).map(|lane| {
        let left = Arc::clone(&left);
        let (url, checkout, home, path) = (url.clone(), checkout.clone(), home.clone(), path.clone());
        tokio::task::spawn_blocking(move || {
            let mut complaints = BTreeMap::new();
            loop {
                let Some(kind) = left.lock().unwrap().pop_front() else { return complaints };
                let mut npm = command("npm");
                npm.args(["publish", "--no-update-notifier", "--registry", &url]);
                npm.args(kind.tag.iter().map(|tag| format!("--tag={tag}")));
                npm.arg("--cache").arg(home.join(format!("cache-{lane}"))).current_dir(kind.folder(&checkout));
                // Settings of whoever runs the tests are none of the packages'. A worker sets CI.
                npm.env_clear().env("PATH", &path).env("HOME", &home).env("CI", "true");
                let ended = npm.output().unwrap();
                if !ended.status.success() {
                    complaints.insert(kind.name, String::from_utf8_lossy(&ended.stderr).into_owned());
                }
            }
        })
    });
    let mut complaints = BTreeMap::new();
    for lane in lanes.collect::<Vec<_>>() {
        complaints.extend(lane.await.unwrap());
    }
    complaints
}

/// Builds of the phase `publish` alone.
async fn by_worker(foreman: &mut Foreman, url: &str, path: &OsString, kinds: &[Kind]) -> BTreeMap<String, BuildResult> {
    let recipe = foreman.recipe("[[phase]]\nname = \"publish\"\nbuiltin = \"npm-publish\"\n");
    let (path, slots) = (path.to_str().unwrap(), AT_A_TIME.to_string());
    let settings =
        [("RECIPE", recipe.as_str()), ("NPM_REGISTRY", url), ("NPM_TOKEN", TOKEN), ("SLOTS", &slots), ("PATH", path)];
    let _worker = foreman.worker("one", &settings);
    let mut names = BTreeMap::new();
    for (n, kind) in (0..).zip(kinds) {
        let order = foreman.order(n, &kind.name).await;
        names.insert(order.build_id, kind.name.clone());
    }
    let mut results = BTreeMap::new();
    while results.len() < kinds.len() {
        let result = foreman.result().await;
        if let Some(name) = names.get(&result.build_id) {
            results.insert(name.clone(), result);
        }
    }
    results
}
