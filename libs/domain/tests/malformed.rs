//! What other programs write that is not quite JSON: an item that is not understood costs no other.

use packline_domain::{Announcement, Command, Package, control::Origin};
use serde_json::{Value, json};

fn names(announcement: &Announcement) -> Vec<&str> {
    announcement.packages.iter().map(|package| package.name.as_str()).collect()
}

/// So many arrays within each other.
fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn an_announcement_is_read_as_npm_reads_json() {
    let announcement = Announcement::parse(
        b"\xEF\xBB\xBF[{\"name\": \"@f/a\"}, {\"name\": \"@f/b\", \"description\": \"cut \\ud83d\"},
          {\"name\": \"@f/x\", \"name\": \"@f/c\", \"score\": NaN, \"most\": -Infinity, \"size\": 1e999, \"by\": \"\xE9\"}]",
    );
    assert_eq!((names(&announcement), announcement.refused.len()), (vec!["@f/a", "@f/b", "@f/c"], 0));
    assert_eq!(announcement.packages[1].extra["description"], "cut \u{FFFD}");
    let extra = Value::Object(announcement.packages[2].extra.clone());
    assert_eq!(extra, json!({"score": null, "most": null, "size": null, "by": "\u{FFFD}"}));
}

#[test]
fn an_item_that_is_still_not_understood_is_refused_alone() {
    for wrong in [
        r#"{"name": NaN}"#.to_owned(),
        r#"{"name": "cut \ud83d"}"#.to_owned(),
        r#"{"name": "@f/x", "priority": Infinity, "dependencies": [null]}"#.to_owned(),
        format!(r#"{{"name": "@f/x", "deep": {}}}"#, nested(64)),
        format!(r#"{{"name": "@f/x", "deep": {}}}"#, nested(10_000)),
        nested(10_000),
    ] {
        for body in [
            format!(r#"[{{"name": "a"}}, {wrong}, {{"name": "b"}}]"#),
            format!(r#"{{"reportedThrough": 7, "packages": [{{"name": "a"}}, {wrong}, {{"name": "b"}}]}}"#),
        ] {
            let announcement = Announcement::parse(body.as_bytes());
            assert_eq!(names(&announcement), ["a", "b"], "{wrong}");
            let [refused] = announcement.refused.as_slice() else { panic!("{:?}", announcement.refused) };
            assert_eq!(refused.index, 1);
            assert!(!refused.reason.contains('\n'), "{}", refused.reason);
            assert!(Announcement::parse(&refused.payload).packages.is_empty(), "{wrong}");
        }
    }
}

#[test]
fn a_package_that_is_accepted_can_be_read_again_within_records() {
    let deepest = format!(r#"{{"name": "a", "deep": {}}}"#, nested(63));
    let package = &Announcement::parse(deepest.as_bytes()).packages[0];
    let record = json!({"effects": [{"order": {"packages": [package]}}]});
    let read: Value = serde_json::from_str(&record.to_string()).unwrap();
    let again = serde_json::from_value::<Package>(read["effects"][0]["order"]["packages"][0].clone()).unwrap();
    assert_eq!(again, *package);
}

#[test]
fn a_command_is_read_as_npm_reads_json() {
    let (command, origin) =
        Command::parse("pause", b"{\"by\": \"cut \\ud83d\", \"reason\": \"caf\xE9\", \"x\": NaN}").unwrap();
    assert_eq!(command, Command::Pause);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(origin, Origin { by: text("cut \u{FFFD}"), reason: text("caf\u{FFFD}") });
    let twice = Command::parse("adjust-concurrency", br#"{"maxConcurrent": 1, "maxConcurrent": 8}"#).unwrap().0;
    assert_eq!(twice, Command::AdjustConcurrency { max_concurrent: 8 });
    for body in [&b"{"[..], b"{'by': 1}", b"NaN", b"\xFF"] {
        assert!(!Command::parse("cancel", body).unwrap_err().contains('\n'));
    }
}
