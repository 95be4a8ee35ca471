//! What builds print, read at a terminal while they run and afterwards.
use std::time::{Duration, Instant};

use packline_tests::{Fixture, Gate, Operator, PATIENCE, Said, Scene, until_shown};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::test]
async fn a_build_is_followed_to_its_end_and_read_again_and_watched() {
    let gate = Gate::closed().unwrap();
    let build = format!("printf '\\033[32mgreen\\033[0m\\n' && {}", gate.command());
    let core = Fixture::new("core").script("build", &build).script("test", "echo all is well");
    let broken = Fixture::new("broken").needs("core").script("test", "echo not ok 1 && exit 3");
    let mut scene = Scene::start(&[core, broken], &[("MAX_ATTEMPTS", "1")]).await.unwrap();
    let operator = Operator::at(&scene.plant.broker.url()).await.unwrap();
    // Before anything runs: nobody knows the package yet.
    let follow = operator.command(&["logs", "-f", "acme/core"]);
    let follow = Said::until_waiting(follow, "waiting for a build of @acme/core").await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_reached(&gate, 1).await.unwrap();

    // On a terminal, until Ctrl-C.
    let watch = operator.terminal(&["watch"]).unwrap();
    let is_shown = |text: &str| ["@acme/core", "build", "EVENTS"].iter().all(|part| text.contains(part));
    let text = until_shown(&watch, 0, is_shown).await.unwrap();
    assert!(text.starts_with("\u{1b}[?1049h"), "{text:?}");
    let once = operator.run(&["watch"]).await.unwrap();
    assert!(once.status == 0 && once.stdout.contains("@acme/core") && !once.stdout.contains('\u{1b}'), "{once:?}");

    let mut objects = operator.command(&["watch", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(objects.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(first["counts"]["building"], 1, "{first}");

    let mut running = operator.run(&["logs", "acme/core"]).await.unwrap();
    for _ in 0..50 {
        if running.stdout.contains("\ngreen\n") {
            break;
        }
        running = operator.run(&["logs", "acme/core"]).await.unwrap();
    }
    assert!(running.stdout.contains("▶ build\n") && running.stdout.contains("\ngreen\n"), "{running:?}");
    // Whichever of the two packages comes first installs for both.
    let is_installed = |text: &str| {
        let mut lines = text.lines();
        let is_set_up = lines.next().is_some_and(|line| line.starts_with("✓ setup ") && line.ends_with(", 2 lines"));
        let installs = ["✓ install ", "- install skipped (cached)"];
        is_set_up && lines.next().is_some_and(|line| installs.iter().any(|install| line.starts_with(install)))
    };
    assert!(is_installed(&running.stdout), "{running:?}");
    gate.open().unwrap();
    let followed = follow.await.unwrap().unwrap();
    assert_eq!(followed.status, 0, "{followed:?}");
    let later = async {
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if serde_json::from_str::<Value>(&line).unwrap()["commit"] != first["commit"] {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, later).await.unwrap();
    objects.kill().await.unwrap();
    assert!(followed.stdout.contains("all is well\n") && followed.stdout.ends_with("✓ published\n"), "{followed:?}");
    assert!(followed.stdout.contains("- lint skipped (package.json has no script lint)\n"), "{followed:?}");

    scene.until_state("@acme/broken", "failed").await.unwrap();
    let broken = operator.run(&["logs", "-f", "acme/broken"]).await.unwrap();
    assert_eq!(broken.status, 1, "{broken:?}");
    let (folded, open) = broken.stdout.split_once("▶ test\n").unwrap();
    assert!(is_installed(folded) && folded.lines().count() == 6, "{folded}");
    assert!(open.contains("\nnot ok 1\n") && open.contains("\n✗ test failed, exit status 3, "), "{open}");
    scene.until_out().await.unwrap();
    let events = operator.run(&["events", "--package", "acme/broken", "--kind", "failed"]).await.unwrap();
    assert!(events.status == 0 && events.stdout.contains("@acme/broken"), "{events:?}");
    println!("{}\n{}\n{}", once.stdout, followed.stdout, broken.stdout);

    // A SIGTERM to `script` hangs up its terminal.
    let began = Instant::now();
    watch.stop(Duration::from_secs(10)).await;
    assert!(began.elapsed() < Duration::from_secs(10));
}
