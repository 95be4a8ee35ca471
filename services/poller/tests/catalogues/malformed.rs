//! Answers that are not quite JSON, from servers that nobody here wrote: what can be read is, and the rest costs no other.

use std::{fs, path::Path};

use packline_broker::StreamName;
use packline_testkit::{process::Process, tools};
use serde_json::json;

use crate::{
    Place,
    foreign::{Foreign, Over, Sdk, url, words},
    names,
    program::{start, stop},
};

/// What an SDK sends of a text that is cut within a character.
async fn a_cut_text_is_read(sdk: Sdk, over: Over, answers: &str, queue: &str) {
    let (mut place, catalogue) = (Place::new().await, Foreign::listing(sdk, over, answers, queue).await);
    let poller = start(&place, "poller", catalogue.folder(), &catalogue.settings(&[]));
    let announcement = place.announcement().await;
    assert_eq!(names(&announcement), ["@f/a", "@f/b", "@f/c"]);
    assert_eq!(announcement["packages"][1]["description"], "cut \u{FFFD}");
    assert_eq!(place.note("last", |last| last["packages"] == 3).await.get("error"), None);
    stop(&poller).await;
}

const CUT: &str = r#"[{"name": "@f/a"}, {"name": "@f/b", "description": "cut \ud83d"}, {"name": "@f/c"}]"#;

#[tokio::test]
async fn typescript_sends_half_a_character_over_stdio() {
    a_cut_text_is_read(Sdk::TypeScript, Over::Stdio, "structured", CUT).await;
}

#[tokio::test]
async fn typescript_sends_half_a_character_over_http() {
    a_cut_text_is_read(Sdk::TypeScript, Over::Http, "structured", CUT).await;
}

#[tokio::test]
async fn python_sends_half_a_character_and_what_is_no_number_as_text() {
    let queue = CUT.replace("\"description\"", "\"score\": NaN, \"most\": Infinity, \"description\"");
    a_cut_text_is_read(Sdk::Python, Over::Stdio, "text", &queue).await;
}

/// Items as bytes: each is read, or is one dead letter.
async fn only_what_is_not_understood_is_refused(over: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut place = Place::new().await;
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let mut result = b"{\"content\": [], \"structuredContent\": {\"total\": NaN, \"packages\": [{\"name\": \"@f/a\"},
        {\"name\": \"@f/x\", \"name\": \"@f/b\", \"description\": \"cut \\ud83d and \xE9\", \"score\": -Infinity},
        {\"name\": NaN}, {\"name\": \"@f/deep\", \"tree\": "
        .to_vec();
    result.extend_from_slice(deep.as_bytes());
    result.extend_from_slice(b"}, {\"name\": \"@f/c\", \"size\": 1e999}]}}");
    // One line, as the protocol has it.
    result.retain(|byte| *byte != b'\n');
    fs::write(folder.path().join("result"), &result).unwrap();
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/raw.py"));
    let mut program = tools::python().await.unwrap().command(script);
    program.arg(folder.path()).arg(over);
    let (settings, _server) = if over == "stdio" {
        (vec![("MCP_COMMAND", words(&program))], None)
    } else {
        let server = Process::spawn("catalogue", program, &folder.path().join("catalogue.log")).unwrap();
        (vec![("MCP_URL", url(&server).await)], Some(server))
    };
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let poller = start(&place, "poller", folder.path(), &settings);
    let announcement = place.announcement().await;
    assert_eq!(names(&announcement), ["@f/a", "@f/b", "@f/c"], "{}", poller.printed());
    let read = &announcement["packages"][1];
    assert_eq!((&read["description"], &read["score"]), (&json!("cut \u{FFFD} and \u{FFFD}"), &json!(null)));
    place.note("last", |last| last["packages"] == 5 && last.get("error").is_none()).await;
    let state = place.broker.stream_state(StreamName::Dead).await.unwrap();
    assert_eq!(state.last_sequence, 2, "{}", poller.printed());
    let printed = poller.printed();
    for said in [
        "item 2 of the catalogue's answer is left out: `name` is a string, not null",
        "item 3 of the catalogue's answer is left out: a package has at most 64 arrays and objects within each other",
    ] {
        assert!(printed.contains(said), "{printed}");
    }
    stop(&poller).await;
}

#[tokio::test]
async fn of_an_answer_over_stdio_only_what_is_not_understood_is_refused() {
    only_what_is_not_understood_is_refused("stdio").await;
}

#[tokio::test]
async fn of_an_answer_over_http_only_what_is_not_understood_is_refused() {
    only_what_is_not_understood_is_refused("json").await;
}

#[tokio::test]
async fn of_an_answer_in_events_only_what_is_not_understood_is_refused() {
    only_what_is_not_understood_is_refused("events").await;
}
