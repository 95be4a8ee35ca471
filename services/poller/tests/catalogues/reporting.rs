//! From `packages.status` to the catalogue.

use std::time::Duration;

use packline_broker::{BucketName, StreamName};
use packline_domain::{
    Package, StatusKind, Timestamp,
    record::{Queue, State},
};
use serde_json::json;

use crate::{
    Place, config, name, names,
    scripted::{Reply, Script, TOKEN},
};

fn asking<'a>(script: &'a Script, more: &[&'a str]) -> Vec<&'a str> {
    [&["--mcp-url", script.url(), "--mcp-token", TOKEN], more].concat()
}

fn pairs(told: &[(String, String)]) -> Vec<(&str, &str)> {
    told.iter().map(|(name, status)| (name.as_str(), status.as_str())).collect()
}

#[tokio::test]
async fn outcomes_are_written_back_and_progress_only_when_wanted() {
    for (more, expected) in [
        (vec![], vec![("a", "published"), ("b", "failed"), ("c", "failed")]),
        (
            vec!["--report-progress"],
            vec![("a", "published"), ("b", "failed"), ("c", "failed"), ("d", "building"), ("e", "queued")],
        ),
    ] {
        let (place, script) = (Place::new().await, Script::of(&[]).await);
        for (commit, (name, status)) in (1..).zip([
            ("a", StatusKind::Building),
            ("a", StatusKind::Published),
            ("b", StatusKind::Failed),
            ("c", StatusKind::Cancelled),
            ("d", StatusKind::Building),
            ("e", StatusKind::Queued),
        ]) {
            place.say(name, status, commit).await;
        }
        let poller = place.poller(&asking(&script, &more));
        place.reported().await;
        let mut told = script.told();
        told.sort();
        assert_eq!(pairs(&told), expected);
        let b = script.calls("packages_update").into_iter().find(|call| call["id"] == "b").unwrap();
        assert_eq!(b["data"]["metadata"], json!({"error": "tests failed", "attempts": 1}));
        poller.stop().await;
    }
}

#[tokio::test]
async fn a_report_that_fails_is_repeated_and_holds_up_no_other() {
    let (place, script) = (Place::new().await, Script::of(&[]).await);
    script.updates("a", Some(Reply::ToolError("locked")));
    script.updates("b", Some(Reply::ProtocolError("out of memory")));
    for (commit, name) in (1..).zip(["a", "b", "c", "d"]) {
        place.say(name, StatusKind::Published, commit).await;
    }
    let poller = place.poller(&asking(&script, &[]));
    let count = |script: &Script, name: &str| script.told().iter().filter(|(told, _)| told == name).count();
    script.until("repeated reports", |script| count(script, "a") >= 3 && count(script, "b") >= 3).await;
    assert_eq!((count(&script, "c"), count(&script, "d")), (1, 1));
    script.updates("a", None);
    script.updates("b", None);
    place.reported().await;
    assert_eq!((count(&script, "c"), count(&script, "d")), (1, 1));
    poller.stop().await;
}

#[tokio::test]
async fn a_call_that_is_never_answered_loses_no_report_and_holds_up_no_other() {
    let (place, script) = (Place::new().await, Script::of(&[]).await);
    script.updates("a", Some(Reply::Never));
    for (commit, name) in (1..).zip(["a", "b", "c"]) {
        place.say(name, StatusKind::Published, commit).await;
    }
    let poller = place.poller(&asking(&script, &["--mcp-timeout", "500ms"]));
    let count = |script: &Script, name: &str| script.told().iter().filter(|(told, _)| told == name).count();
    script.until("a second try", |script| count(script, "a") >= 2).await;
    script.until("the others", |script| count(script, "b") >= 1 && count(script, "c") >= 1).await;
    script.updates("a", None);
    place.reported().await;
    poller.stop().await;
}

#[tokio::test]
async fn a_status_that_a_later_commit_has_overtaken_is_not_reported() {
    let (place, script) = (Place::new().await, Script::of(&[]).await);
    let record = Queue {
        schema: 1,
        package: Package::named(name("@acme/core")),
        state: State::Published { version: None, private: false },
        arrival: 1,
        queued_at: Timestamp::default(),
        announced_at: Timestamp::default(),
        commit: 9,
        status_commit: 9,
    };
    let bucket = place.broker.bucket(BucketName::Orchestrator);
    bucket.put("queue.acme/core", serde_json::to_vec(&record).unwrap().into()).await.unwrap();
    place.say("@acme/core", StatusKind::Failed, 8).await;
    let poller = place.poller(&asking(&script, &[]));
    place.reported().await;
    assert_eq!(script.told(), []);
    place.say("@acme/core", StatusKind::Published, 9).await;
    script.until("the last word", |script| !script.told().is_empty()).await;
    assert_eq!(pairs(&script.told()), [("@acme/core", "published")]);
    poller.stop().await;
}

#[tokio::test]
async fn a_report_that_stays_refused_is_dead_lettered_and_its_package_left_out_until_a_later_one_is_accepted() {
    let (mut place, script) = (Place::new().await, Script::of(&["@acme/core", "b"]).await);
    script.updates("@acme/core", Some(Reply::ToolError("unknown package")));
    place.say("@acme/core", StatusKind::Failed, 5).await;
    let url = place.server.url();
    let mut settings = config(&url, &asking(&script, &[]));
    settings.patience.refused = Duration::from_secs(1);
    let poller = place.poller_with(settings.clone());
    assert_eq!(names(&place.announcement().await), ["b"]);
    let refused = place.note("refused.acme/core", |refused| refused["report"].is_object()).await;
    assert_eq!(refused["error"], "unknown package");
    place.reported().await;
    assert_eq!(place.broker.stream_state(StreamName::Dead).await.unwrap().messages, 1);
    poller.stop().await;

    // the next poller knows of it
    let poller = place.poller_with(settings);
    assert_eq!(names(&place.announcement().await), ["b"]);
    script.updates("@acme/core", None);
    place.say("@acme/core", StatusKind::Published, 6).await;
    place.note("refused.acme/core", serde_json::Value::is_null).await;
    place.poll_now().await;
    assert_eq!(names(&place.announcement().await), ["@acme/core", "b"]);
    poller.stop().await;
}

#[tokio::test]
async fn what_is_no_status_goes_to_the_dead_letters() {
    let (place, script) = (Place::new().await, Script::of(&[]).await);
    let rubbish = ["", "{", r#"{"packageName": "../x", "status": "failed", "attempts": 1, "commit": 1}"#];
    for body in rubbish {
        let message = packline_broker::Message::new("packages.status", body);
        place.broker.publish_stored(vec![message]).await;
    }
    place.say("a", StatusKind::Published, 1).await;
    let poller = place.poller(&asking(&script, &[]));
    place.reported().await;
    assert_eq!(pairs(&script.told()), [("a", "published")]);
    assert_eq!(place.broker.stream_state(StreamName::Dead).await.unwrap().messages, 3);
    poller.stop().await;
}
