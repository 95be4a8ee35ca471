//! Published, and the worker killed before anybody heard of it.

use packline_broker::StreamName;
use packline_domain::{FailureClass, Outcome};
use packline_testkit::{proxy::Proxy, stand_in::StandIn};
use packline_tests::{Fixture, PATIENCE, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_its_worker_was_killed_ends_as_published_also_when_its_tarball_differs() {
    let changes = "node -e \"require('fs').writeFileSync('built.js', process.env.BUILD_ID)\"";
    let packages = [Fixture::new("same"), Fixture::new("differs").script("build", changes)];
    // Its heartbeats are lost as well: until its fuse blows it has to publish and to see that it has.
    let mut scene = Scene::start(&packages, &[("CLAIM", "40s")]).await.unwrap();
    scene.plant.add_orchestrator().unwrap();
    scene.plant.add_poller().unwrap();
    let registry = StandIn::start().await;
    // Each worker looks there after it has noted in its permit what it publishes.
    let looks = [registry.hold_get_answer(), registry.hold_get_answer()];
    let proxy = Proxy::start(scene.plant.broker.port()).await.unwrap();
    let (through, url) = (proxy.url(), registry.url());
    let settings = [("NATS_URL", through.as_str()), ("NPM_REGISTRY", &url), ("SLOTS", "2")];
    let first = scene.plant.line().worker("doomed", &settings).unwrap();
    scene.plant.workers.push(first);
    let first = &scene.plant.workers[0];

    for look in &looks {
        look.reached().await;
    }
    let mut noted = Vec::new();
    for n in 0..2 {
        let noting = |permit: Option<&serde_json::Value>| permit.is_some_and(|permit| permit["integrity"].is_string());
        let permit = scene.until(&format!("permits.{n}"), noting).await.unwrap().unwrap();
        let text = |field: &str| permit[field].as_str().unwrap().to_owned();
        noted.push((text("packageName"), text("integrity")));
    }
    proxy.swallow_requests();
    looks.iter().for_each(|look| look.release());
    for (package, _) in &noted {
        let said = format!("published {package} 1.0.0");
        scene.until_seen(&said, PATIENCE, || first.printed().contains(&said)).await.unwrap();
    }
    proxy.lost(1).await;
    first.kill().await;
    assert!(scene.messages(StreamName::Results).await.unwrap().is_empty(), "nobody heard of it");

    let second = scene.plant.line().worker("second", &settings[1..]).unwrap();
    scene.plant.workers.push(second);
    for (package, integrity) in &noted {
        scene.until_state(package, "published").await.unwrap();
        let retries = scene.retries(package).await.unwrap();
        let classes: Vec<_> = retries.attempts.iter().map(|attempt| attempt.class).collect();
        assert_eq!(classes, [Some(FailureClass::WorkerLost), None], "{package}");
        let result = scene.results(package).await.unwrap().remove(0);
        assert_eq!((result.outcome, result.integrity.as_ref()), (Outcome::Published, Some(integrity)), "{package}");
        let published = registry.document(package).unwrap();
        assert_eq!(published["versions"]["1.0.0"]["dist"]["integrity"], **integrity, "{package} is what it was");
        assert_eq!(registry.puts(package).len(), 1, "{package}");
    }
    assert!(scene.permits().await.unwrap().is_empty());
}
