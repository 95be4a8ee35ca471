//! The real program with the real catalogue, as processes.

use std::{path::Path, time::Duration};

use packline_domain::StatusKind;
use packline_testkit::{
    catalogue::Catalogue,
    line::{Binaries, Progress},
    process::{Process, command},
};
use serde_json::json;

use crate::{Place, names, within};

/// The real program, at the broker of `place`.
pub(crate) fn start(place: &Place, name: &str, folder: &Path, settings: &[(&str, &str)]) -> Process {
    let mut poller = command(env!("CARGO_BIN_EXE_poller"));
    poller.env("NATS_URL", place.server.url()).envs(settings.iter().copied());
    Process::spawn(name, poller, &folder.join(format!("{name}.log"))).unwrap()
}

/// Asks it to stop, and waits until it has.
pub(crate) async fn stop(poller: &Process) {
    let status = poller.stop(Duration::from_secs(60)).await;
    assert_eq!(status.code(), Some(0), "{}", poller.printed());
}

/// The lines that it has printed with `text` in them.
pub(crate) fn lines(poller: &Process, text: &str) -> usize {
    poller.printed().lines().filter(|line| line.contains(text)).count()
}

async fn catalogue(folder: &Path) -> Catalogue {
    let binaries = Binaries::find(Progress::Hidden).await.unwrap();
    let catalogue = Catalogue::empty(&binaries, &folder.join("packages.db"));
    for (name, dependencies) in [("@acme/app", json!(["@acme/core"])), ("@acme/core", json!([]))] {
        catalogue.call("packages_add", json!({"name": name, "dependencies": dependencies})).await.unwrap();
    }
    catalogue
}

async fn status(catalogue: &Catalogue, name: &str) -> String {
    let package = catalogue.call("packages_get", json!({ "id": name })).await.unwrap();
    package["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_program_polls_and_reports_over_stdio_and_ends_its_catalogue_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, catalogue) = (Place::new().await, catalogue(folder.path()).await);
    let poller = start(&place, "poller", folder.path(), &[("MCP_COMMAND", &catalogue.command())]);
    let announcement = place.announcement().await;
    assert_eq!(names(&announcement), ["@acme/core", "@acme/app"]);
    assert_eq!(announcement["packages"][0]["id"], "P2");
    place.say("@acme/core", StatusKind::Published, 1).await;
    place.say("@acme/app", StatusKind::Failed, 2).await;
    place.reported().await;
    assert_eq!(status(&catalogue, "@acme/core").await, "published");
    let app = catalogue.call("packages_get", json!({"id": "@acme/app"})).await.unwrap();
    assert_eq!((&app["status"], &app["metadata"]["error"]), (&json!("failed"), &json!("tests failed")));

    assert_eq!(poller.stop(Duration::from_secs(60)).await.code(), Some(0), "{}", poller.printed());
    assert!(place.noted("leader").await["holder"].is_null());
    let printed = poller.printed();
    assert!(printed.contains("found 2 packages in the catalogue"), "{printed}");
    let database = folder.path().join("packages.db-wal");
    within("the end of the last catalogue", async {
        while database.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_killed_poller_loses_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, catalogue) = (Place::new().await, catalogue(folder.path()).await);
    let command = catalogue.command();
    // the catalogue of the first one never answers
    let first = start(&place, "first", folder.path(), &[("MCP_COMMAND", "sh -c 'cat > /dev/null'")]);
    place.note("leader", |leader| leader["holder"].is_string()).await;
    place.say("@acme/core", StatusKind::Published, 1).await;
    within("the message to be taken", async {
        let (stream, durable) = (packline_broker::StreamName::Status, packline_broker::topology::CATALOGUE);
        while place.broker.pending(stream, durable).await.unwrap().ack_pending == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    first.kill().await;
    let second = start(&place, "second", folder.path(), &[("MCP_COMMAND", &command)]);
    place.reported().await;
    assert_eq!(status(&catalogue, "@acme/core").await, "published");
    assert_eq!(names(&place.announcement().await), ["@acme/app"]);
    assert_eq!(second.stop(Duration::from_secs(60)).await.code(), Some(0));
}

#[tokio::test]
async fn unusable_settings_end_it_with_status_2_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (settings, said) in [
        (vec![], "set MCP_COMMAND"),
        (vec![("MCP_COMMAND", "a"), ("MCP_URL", "http://127.0.0.1:1")], "are both set"),
        (vec![("MCP_COMMAND", "a 'b")], "a quote that is not closed"),
        (vec![("MCP_COMMAND", "a"), ("POLL_CRON", "0 99 * * *")], "the hour `99`"),
        (vec![("MCP_COMMAND", "a"), ("POLL_CRON", "0 0 30 2 *")], "it never comes"),
        (vec![("MCP_COMMAND", "a"), ("POLL_CRON", "@daily"), ("POLL_INTERVAL", "1h")], "set one of them"),
        (vec![("MCP_COMMAND", "a"), ("POLL_CRON", "@daily"), ("TZ", "Atlantis/Capital")], "TZ `Atlantis/Capital`"),
    ] {
        let mut poller = command(env!("CARGO_BIN_EXE_poller"));
        poller.env_remove("MCP_COMMAND").env_remove("MCP_URL").envs(settings);
        let poller =
            Process::spawn("poller", poller, &folder.path().join(format!("{}.log", said.replace('/', "_")))).unwrap();
        assert_eq!(within("its end", poller.exited()).await.code(), Some(2));
        let printed = poller.printed();
        assert!(printed.contains(said) && printed.trim_end().lines().count() == 1, "{printed}");
    }
}

#[tokio::test]
async fn a_catalogue_as_a_program_learns_none_of_our_secrets_and_not_where_we_listen() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new().await;
    let (learned, done) = (folder.path().join("learned"), folder.path().join("done"));
    let command = format!("sh -c 'env > {0}; mv {0} {1}'", learned.display(), done.display());
    let ours = ["MCP_TOKEN", "HTTP_ADDR"];
    let settings = [("MCP_COMMAND", command.as_str()), (ours[0], "hush"), (ours[1], "127.0.0.1:0"), ("OTHER", "x")];
    let poller = start(&place, "poller", folder.path(), &settings);
    within("what it learns", async {
        while !done.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let learned = std::fs::read_to_string(&done).unwrap();
    assert!(learned.lines().any(|line| line == "OTHER=x"), "{learned}");
    for name in ["NATS_URL"].iter().chain(&ours) {
        assert!(!learned.lines().any(|line| line.starts_with(&format!("{name}="))), "{learned}");
    }
    stop(&poller).await;
}
