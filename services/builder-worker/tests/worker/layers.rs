//! Layers that builds share: used again, failed, and made by one of two builds.

mod ended;
mod failures;
mod fixes;
mod waits;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};
use packline_domain::{
    BuildOrder, BuildResult, Outcome,
    phase::{CACHED, PhaseStatus},
};
use packline_testkit::{
    process::Process,
    stand_in::StandIn,
    workspaces::{self, Released},
};
use serde_json::{Value, json};

use crate::{
    foreman::{Foreman, until},
    seat::Seat,
    workspaces::Bench,
};

const CLAIM: Duration = Duration::from_secs(60);
const MADE: (PhaseStatus, Option<&str>) = (PhaseStatus::Passed, None);
const REUSED: (PhaseStatus, Option<&str>) = (PhaseStatus::Skipped, Some(CACHED));
const WAITS: &str = "install| waiting for another build";

/// A workspace of `@acme/a`, `@acme/b` and `@acme/c`, whose root has these dependencies, and a worker.
async fn bench(released: &[Released], dependencies: Value, slots: &str) -> Bench {
    let (foreman, registry) = (Foreman::new(CLAIM).await, StandIn::start().await);
    for one in released {
        one.put(&registry.url()).await.unwrap();
    }
    let root = json!({"name": "own", "private": true, "workspaces": ["packages/*"], "devDependencies": dependencies});
    fs::create_dir_all(foreman.workspace()).unwrap();
    fs::write(foreman.workspace().join("package.json"), root.to_string()).unwrap();
    for name in ["@acme/a", "@acme/b", "@acme/c"] {
        member(&foreman, name, "1.0.0", json!({}));
    }
    let worker = worker(&foreman, &registry, "worker", slots);
    Bench { foreman, registry, worker }
}

fn worker(foreman: &Foreman, registry: &StandIn, name: &str, slots: &str) -> Process {
    foreman.worker(name, &[("NPM_REGISTRY", &registry.url()), ("NPM_TOKEN", "t"), ("SLOTS", slots)])
}

fn member(foreman: &Foreman, name: &str, version: &str, dependencies: Value) {
    let manifest = json!({"name": name, "version": version, "files": ["index.js"], "dependencies": dependencies});
    foreman.package(name, manifest, &[("index.js", &format!("module.exports = '{version}';\n"))]);
}

/// How a phase of a build that was published went.
fn phase<'a>(result: &'a BuildResult, name: &str) -> (PhaseStatus, Option<&'a str>) {
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    let phase = result.phases.iter().find(|phase| phase.name == name).unwrap();
    (phase.status, phase.reason.as_deref())
}

/// How often anybody asked which versions of a package there are: once for each install.
fn installs(registry: &StandIn, package: &str) -> usize {
    let path = format!("/{package}");
    registry.requests().iter().filter(|request| request.method == "GET" && request.path == path).count()
}

/// The results of these orders, however they come.
async fn results<const N: usize>(foreman: &mut Foreman, orders: [&BuildOrder; N]) -> [BuildResult; N] {
    let mut came: Vec<BuildResult> = Vec::new();
    while came.len() < N {
        came.push(foreman.result().await);
    }
    orders.map(|order| came.iter().find(|result| result.build_id == order.build_id).unwrap().clone())
}

/// How much is in a folder of the cache.
fn count(foreman: &Foreman, folder: &str) -> usize {
    fs::read_dir(foreman.folder().join("cache").join(folder)).map_or(0, Iterator::count)
}

/// A pipe at which a script waits for as long as it is there.
struct Gate(PathBuf);

impl Gate {
    fn new(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        // An ordinary user's script may wait there.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        Self(path)
    }

    /// What waits there.
    fn script(&self) -> String {
        format!("test ! -p {0} || cat {0}", self.0.display())
    }

    /// A dependency whose install script waits there.
    fn dependency(&self) -> Released {
        Released::new("tiny-gated", "1.0.0").field("scripts", json!({"postinstall": self.script()}))
    }

    /// Returns once a script waits; it does so until the answer is dropped.
    async fn reached(&self) -> File {
        let open = || OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.0);
        until("a script at the gate", || async { open().ok() }).await
    }

    /// No other script waits.
    fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.0)
    }
}

/// A bench with packages that need a dependency whose install script waits at a gate.
async fn gated(slots: &str) -> (Bench, Gate) {
    let bench = bench(&[], json!({"tiny-gated": "1.0.0"}), slots).await;
    let gate = Gate::new(bench.foreman.folder(), "gate");
    gate.dependency().put(&bench.registry.url()).await.unwrap();
    (bench, gate)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_is_used_again_until_a_dependency_changes() {
    let released = [Released::new("tiny-dep", "1.0.0"), Released::new("tiny-other", "1.0.0")];
    let Bench { mut foreman, registry, worker: _worker } = bench(&released, json!({"tiny-dep": "1.0.0"}), "1").await;
    assert_eq!(phase(&foreman.build("@acme/a").await, "install"), MADE);
    assert_eq!(installs(&registry, "tiny-dep"), 1);
    assert_eq!(phase(&foreman.build("@acme/b").await, "install"), REUSED);
    member(&foreman, "@acme/a", "1.0.1", json!({}));
    assert_eq!(phase(&foreman.build("@acme/a").await, "install"), REUSED, "a version was raised and a source edited");
    assert_eq!(installs(&registry, "tiny-dep"), 1);
    assert!(registry.tarball("@acme/a", "1.0.1").is_some());
    member(&foreman, "@acme/a", "1.0.2", json!({"tiny-other": "1.0.0"}));
    assert_eq!(phase(&foreman.build("@acme/a").await, "install"), MADE, "a dependency was added");
    assert_eq!(installs(&registry, "tiny-other"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_root_builds_is_used_again_until_a_source_changes() {
    let Bench { mut foreman, registry: _registry, worker: _worker } =
        Bench::start(&workspaces::case("root-build")).await;
    assert_eq!(phase(&foreman.build("@acme/a").await, "build"), MADE);
    let reused = foreman.build("@acme/b").await;
    assert_eq!((phase(&reused, "install"), phase(&reused, "build")), (REUSED, REUSED));
    let source = foreman.workspace().join("packages/a/source.js");
    fs::write(source, "changed\n").unwrap();
    let again = foreman.build("@acme/b").await;
    assert_eq!((phase(&again, "install"), phase(&again, "build")), (REUSED, MADE));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_that_fails_by_its_own_fault_fails_each_package_once_until_one_is_asked_for_again() {
    let Bench { mut foreman, registry, worker: _worker } = bench(&[], json!({"tiny-gone": "1.0.0"}), "1").await;
    let failed = foreman.build("@acme/a").await;
    let (phase_of, error) = (failed.failed_phase.as_deref(), failed.error.as_deref().unwrap_or_default());
    assert_eq!((failed.outcome, failed.retry, phase_of), (Outcome::Failed, false, Some("install")), "{failed:?}");
    assert!(error.contains("the install of the workspace failed") && error.contains("E404"), "{error}");
    let asked = installs(&registry, "tiny-gone");
    assert_eq!(asked, 1);
    let remembers = |result: &BuildResult| {
        assert_eq!((result.outcome, result.retry), (Outcome::Failed, false), "{result:?}");
        assert_eq!(result.error, failed.error);
    };
    remembers(&foreman.build("@acme/b").await);
    let mut second = foreman.grant(0, "@acme/a").await;
    second.attempt = 2;
    foreman.send(&second).await;
    remembers(&foreman.outcome(&second).await);
    assert_eq!(installs(&registry, "tiny-gone"), asked, "npm ran for what is known");
    let again = foreman.build("@acme/b").await;
    assert_eq!((again.outcome, again.retry), (Outcome::Failed, false), "{again:?}");
    assert_eq!(installs(&registry, "tiny-gone"), asked + 1, "an order with attempt 1 comes from somebody who asked");
    Released::new("tiny-gone", "1.0.0").put(&registry.url()).await.unwrap();
    assert_eq!(foreman.build("@acme/a").await.outcome, Outcome::Failed, "it has not failed by the second try yet");
    assert_eq!(phase(&foreman.build("@acme/a").await, "install"), MADE);
    assert_eq!(phase(&foreman.build("@acme/b").await, "install"), REUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_builds_that_need_a_layer_one_makes_it_and_the_other_waits() {
    let released = [Released::new("tiny-dep", "1.0.0")];
    let Bench { mut foreman, registry, worker: _worker } = bench(&released, json!({"tiny-dep": "1.0.0"}), "2").await;
    let held = registry.hold_get_answer();
    let maker = foreman.order(0, "@acme/a").await;
    held.reached().await;
    assert_eq!(installs(&registry, "tiny-dep"), 1, "{:?}", registry.requests());
    let waiter = foreman.order(1, "@acme/b").await;
    foreman.log_until(&waiter.build_id, WAITS).await;
    held.release();
    let [maker, waiter] = results(&mut foreman, [&maker, &waiter]).await;
    assert_eq!((phase(&maker, "install"), phase(&waiter, "install")), (MADE, REUSED));
    assert_eq!(installs(&registry, "tiny-dep"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_user_builds_a_workspace_of_another() {
    let Some(seat) = Seat::ordinary() else { return };
    for name in ["root-tool", "git"] {
        let case = workspaces::case(name);
        let (foreman, registry) = (Foreman::new(CLAIM).await, StandIn::start().await);
        fs::set_permissions(foreman.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        case.write(&foreman.workspace()).unwrap();
        case.release(&registry.url()).await.unwrap();
        let (url, own) = (registry.url(), seat.own().join(name));
        seat.create(&own);
        let place = |inner: &str| own.join(inner).display().to_string();
        let (home, cache, scratch) = (place("home"), place("cache"), place("scratch"));
        seat.create(Path::new(&home));
        let settings = [
            ("NPM_REGISTRY", url.as_str()),
            ("NPM_TOKEN", "t"),
            ("HOME", &home),
            ("CACHE", &cache),
            ("SCRATCH", &scratch),
        ];
        let worker = foreman.worker_by(seat.program(), "worker", &settings);
        let mut bench = Bench { foreman, registry, worker };
        for member in &case.members {
            assert_eq!(bench.problem(member).await, None, "{name}");
        }
        let layers = fs::read_dir(own.join("cache/installed")).unwrap();
        let owners: Vec<u32> = layers.map(|layer| layer.unwrap().metadata().unwrap().uid()).collect();
        assert_eq!(owners, [seat.uid], "{name}");
    }
}
