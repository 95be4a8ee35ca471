//! Published, and the worker killed before anybody heard of it.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use packline_broker::StreamName;
use packline_domain::{FailureClass, Outcome};
use packline_testkit::proxy::Proxy;
use packline_tests::{Fixture, Gate, PATIENCE, Scene};

/// The folder of an npm that stops at the gate before it publishes.
fn npm_with(gate: &Gate) -> anyhow::Result<(tempfile::TempDir, String)> {
    let folder = tempfile::Builder::new().prefix("packline-npm-").tempdir()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let real = std::env::split_paths(&path).map(|folder| folder.join("npm")).find(|npm| npm.is_file());
    let npm: PathBuf = folder.path().join("npm");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = publish ] && {}\nexec '{}' \"$@\"\n",
        gate.command(),
        real.unwrap_or_default().display()
    );
    fs::write(&npm, script)?;
    fs::set_permissions(&npm, fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", folder.path().display(), path.to_string_lossy());
    Ok((folder, path))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_its_worker_was_killed_ends_as_published_also_when_its_tarball_differs() {
    let changes = "node -e \"require('fs').writeFileSync('built.js', process.env.BUILD_ID)\"";
    let packages = [Fixture::new("same"), Fixture::new("differs").script("build", changes)];
    // Its heartbeats are lost as well: until its fuse blows it has to publish and to see that it has.
    let mut scene = Scene::start(&packages, &[("CLAIM", "40s")]).await.unwrap();
    scene.plant.add_orchestrator().unwrap();
    scene.plant.add_poller().unwrap();
    let gate = Gate::closed().unwrap();
    let (_npm, path) = npm_with(&gate).unwrap();
    let proxy = Proxy::start(scene.plant.broker.port()).await.unwrap();
    let settings = [("NATS_URL", proxy.url()), ("PATH", path), ("SLOTS", "2".to_owned())];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let first = scene.plant.line().worker("doomed", &settings).unwrap();
    scene.plant.workers.push(first);
    let first = &scene.plant.workers[0];

    scene.until_reached(&gate, 2).await.unwrap();
    let mut noted = Vec::new();
    for n in 0..2 {
        let noting = |permit: Option<&serde_json::Value>| permit.is_some_and(|permit| permit["integrity"].is_string());
        let permit = scene.until(&format!("permits.{n}"), noting).await.unwrap().unwrap();
        let text = |field: &str| permit[field].as_str().unwrap().to_owned();
        noted.push((text("packageName"), text("integrity")));
    }
    proxy.swallow_requests();
    gate.open().unwrap();
    for (package, _) in &noted {
        let said = format!("published {package} 1.0.0");
        scene.until_seen(&said, PATIENCE, || first.printed().contains(&said)).await.unwrap();
    }
    proxy.lost(1).await;
    first.kill().await;
    assert!(scene.messages(StreamName::Results).await.unwrap().is_empty(), "nobody heard of it");

    scene.plant.add_worker(2).unwrap();
    for (package, integrity) in &noted {
        scene.until_state(package, "published").await.unwrap();
        let retries = scene.retries(package).await.unwrap();
        let classes: Vec<_> = retries.attempts.iter().map(|attempt| attempt.class).collect();
        assert_eq!(classes, [Some(FailureClass::WorkerLost), None], "{package}");
        let result = scene.results(package).await.unwrap().remove(0);
        assert_eq!((result.outcome, result.integrity.as_ref()), (Outcome::Published, Some(integrity)), "{package}");
        let published = scene.plant.registry.view(package).await.unwrap().unwrap();
        assert_eq!(published.versions["1.0.0"].dist.integrity, *integrity, "{package} is what it was");
    }
    assert!(scene.permits().await.unwrap().is_empty());
}
