//! When polls happen: by a pattern, by command, and at a start.

use std::time::Duration;

use packline_broker::{StreamName, topology};
use serde_json::json;

use crate::{
    Place, names,
    program::{lines, start, stop},
    scripted::{Script, TOKEN},
    within,
};

#[tokio::test]
async fn a_pattern_with_seconds_makes_polls_when_it_says() {
    let (mut place, script) = (Place::new().await, Script::of(&["a"]).await);
    let poller = place.poller(&["--mcp-url", script.url(), "--mcp-token", TOKEN, "--poll-cron", "*/2 * * * * *"]);
    for _ in 0..2 {
        assert_eq!(names(&place.announcement().await), ["a"]);
    }
    poller.stop().await;
}

#[tokio::test]
async fn a_pattern_that_is_most_likely_meant_otherwise_is_said_in_one_line_and_not_polled_at_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, script) = (Place::new().await, Script::of(&["a"]).await);
    let settings = [("MCP_URL", script.url()), ("MCP_TOKEN", TOKEN), ("POLL_CRON", "0 */30 * * *"), ("TZ", "UTC")];
    let poller = start(&place, "poller", folder.path(), &settings);
    within("when it polls next", async {
        while lines(&poller, "polls next at") == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(lines(&poller, "every 30 minutes is `*/30 * * * *`"), 1, "{}", poller.printed());
    assert_eq!(lines(&poller, "00:00:00 +00:00"), 1, "{}", poller.printed());
    // it has no poll behind it: the first one is the one that is commanded
    place.poll_now().await;
    assert_eq!(names(&place.announcement().await), ["a"]);
    assert_eq!(script.calls("packages_get_build_queue").len(), 1);
    stop(&poller).await;
}

#[tokio::test]
async fn commands_given_while_no_poller_runs_are_one_poll_at_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, script) = (Place::new().await, Script::of(&["a"]).await);
    place.poll_now().await;
    place.poll_now().await;
    let yearly = [("MCP_URL", script.url()), ("MCP_TOKEN", TOKEN), ("POLL_CRON", "0 0 29 2 *")];
    let first = start(&place, "first", folder.path(), &yearly);
    assert_eq!(names(&place.announcement().await), ["a"]);
    place.note("last", |last| last["command"] == 2).await;
    taken(&place).await;
    stop(&first).await;
    assert_eq!(lines(&first, "told to poll now"), 0, "{}", first.printed());

    // the next one has nothing left to do but what is commanded now
    script.lists(&["b"]);
    let second = start(&place, "second", folder.path(), &yearly);
    place.note("leader", |leader| leader["holder"].is_string()).await;
    place.poll_now().await;
    assert_eq!(names(&place.announcement().await), ["b"]);
    let last = place.note("last", |last| last["command"] == 3).await;
    taken(&place).await;
    stop(&second).await;
    assert_eq!((&last["packages"], place.announcements().await), (&json!(1), 2));
    assert_eq!(script.calls("packages_get_build_queue").len(), 2, "each command was done once");
}

/// Waits until all commands to poll are acknowledged.
async fn taken(place: &Place) {
    within("all commands", async {
        loop {
            let state = place.broker.pending(StreamName::Control, topology::POLLER).await.unwrap();
            if state.pending == 0 && state.ack_pending == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
