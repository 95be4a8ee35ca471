//! Catalogues made with the SDKs of others: Python and TypeScript, over stdio and HTTP, with text and structure.

use std::{fs, path::Path, process::Command};

use packline_domain::StatusKind;
use packline_testkit::{process::Process, tools};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Place, names,
    program::{start, stop},
    within,
};

const TOKEN: &str = "hush-hush";

/// In what the fixture is written.
#[derive(Clone, Copy)]
pub(crate) enum Sdk {
    Python,
    TypeScript,
}

/// How it is spoken to.
#[derive(Clone, Copy)]
pub(crate) enum Over {
    Stdio,
    Http,
}

/// A catalogue that nobody here wrote the server of.
pub(crate) struct Foreign {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    _server: Option<Process>,
}

impl Foreign {
    async fn of(sdk: Sdk, over: Over, answers: &str) -> Self {
        let packages = json!([
            {"id": "P1", "name": "@acme/app", "priority": 9, "dependencies": ["@acme/core"], "status": "ready"},
            {"id": "P2", "name": "@acme/core", "priority": 5, "category": "libs", "status": "ready"},
        ]);
        Self::listing(sdk, over, answers, &packages.to_string()).await
    }

    /// With this text for its packages.
    pub(crate) async fn listing(sdk: Sdk, over: Over, answers: &str, queue: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("queue.json"), queue).unwrap();
        let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"));
        let mut program = match sdk {
            Sdk::Python => tools::python().await.unwrap().command(&fixtures.join("catalogue.py")),
            Sdk::TypeScript => tools::typescript().await.unwrap().command(&fixtures.join("catalogue.mjs")),
        };
        program.arg(folder.path()).arg(answers);
        match over {
            Over::Stdio => {
                let settings = vec![("MCP_COMMAND", words(&program))];
                Self { folder, settings, _server: None }
            }
            Over::Http => {
                program.args(["--http", TOKEN]);
                let server = Process::spawn("catalogue", program, &folder.path().join("catalogue.log")).unwrap();
                let settings = vec![("MCP_URL", url(&server).await), ("MCP_TOKEN", TOKEN.to_owned())];
                Self { folder, settings, _server: Some(server) }
            }
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn settings<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        self.settings.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect()
    }

    fn refuses(&self, names: &[&str]) {
        fs::write(self.folder.path().join("refused.json"), json!(names).to_string()).unwrap();
    }

    /// The updates that it took, in the order of their ids.
    fn updates(&self) -> Vec<Value> {
        let lines = fs::read_to_string(self.folder.path().join("updates.jsonl")).unwrap_or_default();
        let mut updates: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        updates.sort_by_key(|update| update["id"].to_string());
        updates
    }
}

/// A command as one writes it for a shell.
pub(crate) fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    shlex::try_join(words.map(|word| word.to_str().unwrap())).unwrap()
}

/// The URL that a catalogue prints once it listens.
pub(crate) async fn url(server: &Process) -> String {
    within("the catalogue's URL", async {
        loop {
            let printed = server.printed();
            if let Some(url) = printed.lines().find(|line| line.starts_with("http")) {
                return url.to_owned();
            }
            assert!(server.is_running(), "{printed}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

/// A poll, reports written back, one that is refused for a while, and a tool that is not there. Over HTTP the
/// catalogue knows its packages by their ids, else by their names.
async fn polled_and_told(sdk: Sdk, over: Over, answers: &str) {
    let (update_id, app, core) = match over {
        Over::Http => ("id", "P1", "P2"),
        Over::Stdio => ("name", "@acme/app", "@acme/core"),
    };
    let (mut place, catalogue) = (Place::new().await, Foreign::of(sdk, over, answers).await);
    let logs = catalogue.folder.path();
    let wrong = start(&place, "wrong", logs, &catalogue.settings(&[("MCP_QUEUE_TOOL", "list_all")]));
    place.note("last", |last| last["error"].as_str().is_some_and(|error| error.contains("it refused: "))).await;
    stop(&wrong).await;
    assert_eq!(place.announcements().await, 0, "an unknown tool is no empty answer");

    // one at a time is asked for first, so this poll takes three questions
    let poller =
        start(&place, "poller", logs, &catalogue.settings(&[("POLL_LIMIT", "1"), ("MCP_UPDATE_ID", update_id)]));
    let announcement = place.announcement().await;
    assert_eq!(names(&announcement), ["@acme/core", "@acme/app"]);
    let first = &announcement["packages"][0];
    assert_eq!((&first["id"], &first["priority"], &first["category"]), (&json!("P2"), &json!(5), &json!("libs")));

    catalogue.refuses(&[app]);
    place.say_of("@acme/core", Some("P2"), StatusKind::Published, 1).await;
    place.say_of("@acme/app", Some("P1"), StatusKind::Failed, 2).await;
    let refused = place.note("refused.acme/app", |refused| refused["since"].is_string()).await;
    assert!(refused["error"].as_str().unwrap().contains(&format!("{app} is not in this catalogue")), "{refused}");
    catalogue.refuses(&[]);
    place.reported().await;
    let failed = json!({"status": "failed", "metadata": {"error": "tests failed", "attempts": 1}});
    let published = json!({"status": "published", "metadata": {"attempts": 1}});
    let expected = [json!({"id": app, "data": failed}), json!({"id": core, "data": published})];
    assert_eq!(catalogue.updates(), expected, "{}", poller.printed());
    stop(&poller).await;
}

#[tokio::test]
async fn python_over_stdio_with_text() {
    polled_and_told(Sdk::Python, Over::Stdio, "text").await;
}

#[tokio::test]
async fn python_over_stdio_with_structure() {
    polled_and_told(Sdk::Python, Over::Stdio, "structured").await;
}

#[tokio::test]
async fn python_over_http_with_text() {
    polled_and_told(Sdk::Python, Over::Http, "text").await;
}

#[tokio::test]
async fn python_over_http_with_structure() {
    polled_and_told(Sdk::Python, Over::Http, "structured").await;
}

#[tokio::test]
async fn python_with_text_that_its_sdk_wraps_as_a_result() {
    polled_and_told(Sdk::Python, Over::Stdio, "wrapped").await;
}

#[tokio::test]
async fn typescript_over_stdio_with_text() {
    polled_and_told(Sdk::TypeScript, Over::Stdio, "text").await;
}

#[tokio::test]
async fn typescript_over_stdio_with_structure() {
    polled_and_told(Sdk::TypeScript, Over::Stdio, "structured").await;
}

#[tokio::test]
async fn typescript_over_http_with_text() {
    polled_and_told(Sdk::TypeScript, Over::Http, "text").await;
}

#[tokio::test]
async fn typescript_over_http_with_structure() {
    polled_and_told(Sdk::TypeScript, Over::Http, "structured").await;
}
