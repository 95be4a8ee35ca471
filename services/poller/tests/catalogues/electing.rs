//! Of several pollers one is active.

use packline_domain::StatusKind;

use crate::{
    Place, names,
    scripted::{Script, TOKEN},
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
