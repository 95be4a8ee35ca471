//! Of several pollers one is active.

use std::time::Duration;

use packline_domain::StatusKind;

use crate::{
    Place, names, program,
    scripted::{Script, TOKEN},
    within,
};

#[tokio::test]
async fn a_second_poller_stands_by_and_goes_on_when_the_first_one_stops() {
    let (mut place, script) = (Place::new().await, Script::of(&["a"]).await);
    let settings = ["--mcp-url", script.url(), "--mcp-token", TOKEN];
    let first = place.poller(&settings);
    assert_eq!(names(&place.announcement().await), ["a"]);
    let leader = place.note("leader", |leader| leader["holder"].is_string()).await;

    let second = place.poller(&settings);
    place.say("a", StatusKind::Published, 1).await;
    script.until("a report", |script| script.told().len() == 1).await;
    assert_eq!(place.announcements().await, 1, "the second one does not poll");
    assert_eq!(place.noted("leader").await["holder"], leader["holder"]);

    first.stop().await;
    assert_eq!(names(&place.announcement().await), ["a"], "the second one polls as it becomes active");
    let next = place.note("leader", |next| next["term"] != leader["term"]).await;
    assert_ne!(next["holder"], leader["holder"]);
    second.stop().await;
    assert!(place.noted("leader").await["holder"].is_null(), "nobody is active any more");
}

#[tokio::test]
async fn a_poller_that_stood_still_is_replaced_and_stays_silent_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, script) = (Place::new().await, Script::of(&["a"]).await);
    let settings = [("MCP_URL", script.url()), ("MCP_TOKEN", TOKEN)];
    let first = program::start(&place, "first", folder.path(), &settings);
    assert_eq!(names(&place.announcement().await), ["a"]);
    first.freeze();
    place.say("a", StatusKind::Published, 1).await;
    let frozen = place.noted("leader").await;
    let second = program::start(&place, "second", folder.path(), &settings);
    let active = place.note("leader", |leader| leader["holder"] != frozen["holder"]).await;
    assert_eq!(active["term"], frozen["term"].as_u64().unwrap() + 1);
    first.thaw();
    within("the first one to notice", async {
        while !first.printed().contains("is not active any more") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // what the frozen one took comes back to the second one
    place.reported().await;
    assert_eq!(script.told(), [("a".to_owned(), "published".to_owned())]);
    assert_eq!(place.noted("leader").await["holder"], active["holder"]);
    second.stop(Duration::from_secs(60)).await;
    first.stop(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_broker_that_is_killed_and_started_again_is_found_again() {
    let (mut place, script) = (Place::new().await, Script::of(&["a"]).await);
    let poller = place.poller(&["--mcp-url", script.url(), "--mcp-token", TOKEN]);
    assert_eq!(names(&place.announcement().await), ["a"]);
    place.server.restart().await.unwrap();
    place.say("a", StatusKind::Published, 1).await;
    script.until("a report", |script| !script.told().is_empty()).await;
    place.poll_now().await;
    assert_eq!(names(&place.announcement().await), ["a"]);
    place.reported().await;
    poller.stop().await;
}
