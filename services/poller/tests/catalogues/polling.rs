//! From the catalogue to `packages.new`.

use packline_broker::{StreamName, topology};
use packline_domain::StatusKind;
use serde_json::{Value, json};

use crate::{
    Place, names,
    scripted::{Reply, Script, TOKEN},
    within,
};

/// The settings of a poller that asks `script`.
fn asking(script: &Script) -> Vec<&str> {
    vec!["--mcp-url", script.url(), "--mcp-token", TOKEN]
}

#[tokio::test]
async fn what_the_catalogue_lists_is_announced_at_start_and_on_command() {
    let (mut place, script) = (Place::new().await, Script::of(&["@acme/core", "b"]).await);
    place.effects_through(41).await;
    let poller = place.poller(&asking(&script));
    let announcement = place.announcement().await;
    assert_eq!(names(&announcement), ["@acme/core", "b"]);
    assert_eq!((&announcement["schema"], &announcement["reportedThrough"]), (&json!(1), &json!(41)));
    assert!(announcement["polledAt"].as_str().unwrap().ends_with('Z'));

    place.effects_through(43).await;
    script.lists(&["c"]);
    place.poll_now().await;
    let announcement = place.announcement().await;
    assert_eq!((names(&announcement), &announcement["reportedThrough"]), (vec!["c"], &json!(43)));
    let last = place.note("last", |last| last["packages"] == 1).await;
    assert_eq!(last.get("error"), None);
    poller.stop().await;
}

#[tokio::test]
async fn the_interval_makes_polls_by_itself() {
    let (mut place, script) = (Place::new().await, Script::of(&["a"]).await);
    let poller = place.poller(&[&asking(&script)[..], &["--poll-interval", "200ms"]].concat());
    for _ in 0..3 {
        assert_eq!(names(&place.announcement().await), ["a"]);
    }
    poller.stop().await;
}

#[tokio::test]
async fn an_empty_answer_announces_nothing_and_an_error_is_not_one() {
    let (mut place, script) = (Place::new().await, Script::of(&[]).await);
    let poller = place.poller(&asking(&script));
    let last = place.note("last", |last| last["at"].is_string()).await;
    assert_eq!((&last["packages"], last.get("error")), (&json!(0), None));
    for (reply, said) in [
        (Reply::ToolError("the database is gone"), "the database is gone"),
        (Reply::Text("lorem ipsum"), "is not JSON"),
        (Reply::ProtocolError("out of memory"), "out of memory"),
    ] {
        script.answers(reply);
        place.poll_now().await;
        let tells = |last: &Value| last["error"].as_str().is_some_and(|error| error.contains(said));
        place.note("last", tells).await;
    }
    assert_eq!(place.announcements().await, 0);
    script.lists(&["a"]);
    place.poll_now().await;
    assert_eq!(names(&place.announcement().await), ["a"]);
    poller.stop().await;
}

#[tokio::test]
async fn items_that_are_no_packages_go_to_the_dead_letters_once() {
    let (mut place, script) = (Place::new().await, Script::of(&[]).await);
    script.answers(Reply::Is(json!({"packages": [{"name": "a"}, {"name": "../x"}, {"name": "@a/-g"}, 7]})));
    let poller = place.poller(&asking(&script));
    assert_eq!(names(&place.announcement().await), ["a"]);
    place.poll_now().await;
    assert_eq!(names(&place.announcement().await), ["a"]);
    let dead = place.broker.stream_state(StreamName::Dead).await.unwrap();
    assert_eq!(dead.messages, 3);
    poller.stop().await;
}

#[tokio::test]
async fn a_package_whose_report_waits_is_left_out_until_it_is_accepted() {
    let (mut place, script) = (Place::new().await, Script::of(&["a", "b"]).await);
    script.updates("a", Some(Reply::ToolError("locked")));
    // its report waits already when the first poll begins
    place.say("a", StatusKind::Failed, 5).await;
    place.effects_through(5).await;
    let poller = place.poller(&asking(&script));
    assert_eq!(names(&place.announcement().await), ["b"]);
    script.updates("a", None);
    script.until("an accepted report", |script| script.told().len() >= 2).await;
    place.reported().await;
    place.poll_now().await;
    assert_eq!(names(&place.announcement().await), ["a", "b"]);
    poller.stop().await;
}

#[tokio::test]
async fn a_poll_waits_for_what_the_broker_still_holds() {
    let (mut place, script) = (Place::new().await, Script::of(&["a", "b"]).await);
    script.updates("a", Some(Reply::ToolError("locked")));
    place.say("a", StatusKind::Failed, 5).await;
    place.effects_through(5).await;
    // an earlier poller took the message and died with it
    let mut earlier = place.broker.statuses().await.unwrap();
    let taken = within("the message", earlier.fetch(10, crate::PATIENCE)).await.unwrap();
    assert_eq!(taken.len(), 1);
    let poller = place.poller(&asking(&script));
    assert_eq!(names(&place.announcement().await), ["b"], "not announced before the message came back");
    let state = place.broker.pending(StreamName::Status, topology::CATALOGUE).await.unwrap();
    assert_eq!(state.ack_pending, 1);
    poller.stop().await;
}
