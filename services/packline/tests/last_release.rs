//! `packline up` on a workspace that `packline up` of 766d1c3 has worked on: tests/fixtures/766d1c3.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use packline_testkit::process::{Process, command};
use serde_json::Value;
use tempfile::TempDir;

/// For a whole run on a busy machine, from a build that may not be warm.
const PATIENCE: Duration = Duration::from_secs(600);

/// A copy of a recorded workspace, with a folder for temporary files beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn of(recorded: &str) -> Self {
        let place = Self { folder: tempfile::Builder::new().prefix("up-last-release-").tempdir().unwrap() };
        fs::create_dir(place.folder.path().join("tmp")).unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/766d1c3");
        let archive = fs::File::open(fixture.join(format!("{recorded}.tar.gz"))).unwrap();
        tar::Archive::new(flate2::read::GzDecoder::new(archive)).unpack(place.workspace()).unwrap();
        place
    }

    fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    fn kept(&self, path: &str) -> PathBuf {
        self.workspace().join(".packline").join(path)
    }

    async fn once(&self) -> Process {
        let mut up = command(env!("CARGO_BIN_EXE_packline"));
        up.arg("up").arg("--workspace").arg(self.workspace()).args(["--once", "--workers", "1"]);
        // The worker of 766d1c3 counts as lost after this and 5 s.
        up.env("CLAIM", "3s").env("RETRY_BASE", "100ms").env("TMPDIR", self.folder.path().join("tmp"));
        up.env_remove("LEASE").env_remove("RUST_LOG").current_dir(self.folder.path());
        let up = Process::spawn("packline", up, &self.folder.path().join("up.log")).unwrap();
        let ended = tokio::time::timeout(PATIENCE, up.exited()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it goes on and on:\n{}", up.printed()));
        let log = |name: &str| fs::read_to_string(self.kept("logs").join(name)).unwrap_or_default();
        let logs = ["orchestrator.log", "worker-1.log", "poller.log"].map(log).concat();
        assert_eq!(ended.code(), Some(0), "{}\n{logs}", up.printed());
        up
    }

    /// The packages of the builds that a worker has taken, in order. On a machine that stands still a build is taken
    /// again.
    fn builds(&self) -> Vec<String> {
        let log = fs::read_to_string(self.kept("logs/worker-1.log")).unwrap();
        let taken = log.lines().filter_map(|line| line.split(" took ").nth(1)?.split(' ').next());
        let mut taken: Vec<_> = taken.map(str::to_owned).collect();
        taken.dedup();
        taken
    }

    /// What the registry keeps: each version with the integrity of its tarball, and the tarball.
    fn published(&self) -> BTreeMap<String, (Value, Vec<u8>)> {
        let mut published = BTreeMap::new();
        for package in fs::read_dir(self.kept("registry/storage/@own")).unwrap().map(|entry| entry.unwrap().path()) {
            let Ok(manifest) = fs::read(package.join("package.json")) else { continue };
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            let name = package.file_name().unwrap().to_str().unwrap();
            for (version, of_it) in manifest.get("versions").unwrap().as_object().unwrap() {
                let tarball = fs::read(package.join(format!("{name}-{version}.tgz"))).unwrap();
                let integrity = of_it.pointer("/dist/integrity").unwrap().clone();
                published.insert(format!("{name}@{version}"), (integrity, tarball));
            }
        }
        published
    }
}

#[tokio::test]
async fn what_up_of_766d1c3_has_finished_is_finished_and_nothing_is_built_again() {
    let place = Place::of("up-finished");
    let before = place.published();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["base@1.0.0", "top@1.0.0"]);
    let up = place.once().await;
    assert!(up.printed().contains("All 2 packages are published."), "{}", up.printed());
    assert_eq!(place.builds(), [""; 0]);
    assert!(place.published() == before, "the same versions with the same tarballs");
}

#[tokio::test]
async fn what_up_of_766d1c3_was_killed_in_the_middle_of_is_finished() {
    let place = Place::of("up-interrupted");
    let before = place.published();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["base@1.0.0"]);
    let up = place.once().await;
    assert!(up.printed().contains("All 3 packages are published."), "{}", up.printed());
    assert_eq!(place.builds(), ["@own/middle", "@own/top"], "what was published is not built again");
    let after = place.published();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["base@1.0.0", "middle@1.0.0", "top@1.0.0"]);
    assert!(after.get("base@1.0.0") == before.get("base@1.0.0"));
}
