//! `packline up` on a workspace that `packline up` of 766d1c3 has worked on: tests/fixtures/766d1c3.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use packline_testkit::process::Process;
use serde_json::Value;

use crate::place::{PATIENCE, Place};

struct Recorded(Place);

impl Recorded {
    fn kept(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.workspace().join(".packline").join(path)
    }

    async fn once(&self) -> Process {
        // The worker of 766d1c3 counts as lost after this and 5 s.
        let settings = [("CLAIM", "6s"), ("RETRY_BASE", "100ms")];
        let up = self.0.up_with("up", &["--once", "--workers", "1"], &settings);
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
    let recorded = Recorded(Place::recorded("up-finished"));
    let before = recorded.published();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["base@1.0.0", "top@1.0.0"]);
    let up = recorded.once().await;
    assert!(up.printed().contains("All 2 packages are published."), "{}", up.printed());
    assert_eq!(recorded.builds(), [""; 0]);
    assert!(recorded.published() == before, "the same versions with the same tarballs");
}

#[tokio::test]
async fn what_up_of_766d1c3_was_killed_in_the_middle_of_is_finished() {
    let recorded = Recorded(Place::recorded("up-interrupted"));
    let before = recorded.published();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["base@1.0.0"]);
    let up = recorded.once().await;
    assert!(up.printed().contains("All 3 packages are published."), "{}", up.printed());
    assert_eq!(recorded.builds(), ["@own/middle", "@own/top"], "what was published is not built again");
    let after = recorded.published();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["base@1.0.0", "middle@1.0.0", "top@1.0.0"]);
    assert!(after.get("base@1.0.0") == before.get("base@1.0.0"));
}
