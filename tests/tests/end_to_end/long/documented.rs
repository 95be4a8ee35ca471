//! Every command line that README.md and the documentation show is run here as it is written; those
//! of the `nats` tool also by nats-py doing the same, for machines that have no tool.
use std::{fs, path::Path};

use packline_broker::StreamName;
use packline_testkit::process::Process;
use packline_tests::{Fixture, NatsPy, NatsTool, Operator, Said, Scene};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

/// Bodies that docs/operating/control.md describes.
const BODIES: &[&str] = &[
    r#"nats pub control.pause '{"by": "ada", "reason": "release"}'"#,
    "nats pub control.emergency-stop ''",
    "nats pub control.adjust-concurrency 8",
    r#"nats pub control.adjust-concurrency '{"maxConcurrent": 8}'"#,
    r#"nats pub control.cancel '"@acme/core"'"#,
    r#"nats pub control.requeue '{"packageName": "@acme/core"}'"#,
    r#"nats pub control.requeue '{"all": "failed"}'"#,
    "nats pub control.poll ''",
];

/// Command lines that the pages name because they fail.
const FAILING: &[&str] = &["nats pub control.cancel '@acme/core'"];

/// Command lines that are run elsewhere, with the file and what stands in it.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("cargo demo", ".ci/run", "\"demo\" cargo demo\n"),
    ("cargo test", ".ci/run", "cargo test --no-fail-fast 2>&1"),
    ("cargo demo --keep", "services/packline/tests/command/demo.rs", "\"--keep\""),
    ("cargo build --release --workspace --bins", ".ci/run", " cargo build --release --workspace --bins\n"),
    ("target/release/packline up --workspace DIR", "services/packline/tests/command/up.rs", "fn while_it_runs_"),
    ("target/release/packline up --workspace DIR --once", ".ci/run", " target/release/packline up --workspace "),
    ("packline up", "services/packline/tests/command/place.rs", "up.arg(\"up\")"),
    ("packline up --workspace DIR", "services/packline/tests/command/place.rs", "up.arg(\"up\").arg(\"--workspace\")"),
    ("packline bench", "services/packline/tests/command/bench.rs", "bench.arg(\"bench\")"),
    ("cargo deny", ".ci/run", " cargo deny check licenses bans sources\n"),
    ("cargo test -p packline-tests --test end_to_end -- long::kill", "tests/tests/end_to_end/long/mod.rs", "mod kill;"),
    ("packline recipe check FILE", "services/packline/tests/command/recipe.rs", "[\"recipe\", \"check\"]"),
    ("packline demo", "services/packline/tests/command/demo.rs", "demo.arg(\"demo\")"),
    ("packages-api scan DIR", "services/packages-api/tests/catalogue/scan.rs", "command.arg(\"scan\")"),
    (
        "docker compose up --detach --scale builder-worker=4",
        "tests/tests/end_to_end/long/compose.rs",
        "[\"up\", \"--detach\", \"--scale\"",
    ),
    (
        "docker compose restart catalogue registry",
        "tests/tests/end_to_end/long/compose.rs",
        "[\"restart\", \"catalogue\", \"registry\"]",
    ),
    ("packages-api --http 127.0.0.1:8080", "services/packages-api/tests/catalogue/serving.rs", "\"--http\""),
];

/// The programs whose command lines are looked for.
const PROGRAMS: [&str; 6] = ["nats", "packline", "cargo", "packages-api", "docker", "target/release/packline"];

/// Those that go on until they are broken off: they have worked when they have printed something.
const ENDLESS: &[&str] = &["packline events -f", "packline watch"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// README.md and the pages of the documentation.
fn pages() -> Vec<String> {
    let mut folders = vec![root().join("docs")];
    let mut pages = vec![root().join("README.md")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let into = if path.is_dir() { &mut folders } else { &mut pages };
            into.push(path);
        }
    }
    pages.sort();
    pages.iter().map(|page| fs::read_to_string(page).unwrap()).collect()
}

/// The command lines of a text: lines of its blocks, and what stands between backticks.
fn command_lines(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, part) in text.split("\n```").enumerate() {
        let is_block = number % 2 == 1;
        let candidates: Vec<String> = if is_block {
            let lines = part.lines().skip(1).map(|line| line.split(" # ").next().unwrap_or(line));
            lines.map(str::to_owned).collect()
        } else {
            part.replace('\n', " ").split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let is_command = |line: &String| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|program| PROGRAMS.contains(&program)) && words.next().is_some()
        };
        found.extend(candidates.into_iter().filter(is_command).map(|line| line.trim().to_owned()));
    }
    found
}

/// What the tool's command line is for nats-py, see `fixtures/nats_client.py`.
fn step(words: &[&str]) -> Value {
    match words {
        ["pub", subject, body] => json!(["publish", subject, body]),
        ["req", subject, body] => json!(["request", subject, body]),
        ["micro", "info", service] => json!(["request", format!("$SRV.INFO.{service}"), ""]),
        ["kv", "get", "--raw", bucket, key] | ["kv", "get", bucket, key] => json!(["get", bucket, key]),
        ["kv", "ls", bucket, pattern] => json!(["keys", bucket, pattern]),
        ["kv", "ls", bucket] => json!(["keys", bucket]),
        ["stream", "info", stream] => json!(["stream_info", stream]),
        ["stream", "view", stream] => json!(["dump", stream]),
        ["consumer", "info", stream, consumer] => json!(["consumer_info", stream, consumer]),
        other => panic!("say how nats-py does `nats {}`", other.join(" ")),
    }
}

/// A line on which every command line can do what it says.
struct Stage {
    scene: Scene,
    announced: u32,
}

impl Stage {
    async fn start() -> Self {
        let packages = [Fixture::new("base"), Fixture::new("core").needs("base")];
        // A worker that is frozen for as long as a command takes on a busy machine is not lost.
        let mut scene = Scene::start(&packages, &[("CLAIM", "5m")]).await.unwrap();
        scene.run(1).await.unwrap();
        scene.until_state("@acme/core", "published").await.unwrap();
        scene.announce("no package").await.unwrap();
        Self { scene, announced: 0 }
    }

    /// Brings the line into a state in which the command has something to do.
    async fn prepare(&mut self, line: &str) {
        if self.scene.plant.orchestrators.iter().all(|orchestrator| !orchestrator.is_running()) {
            self.scene.plant.add_orchestrator().unwrap();
        }
        self.control("resume", "", "running").await;
        // The build that the command before may have begun has an end, and a log.
        let is_over = |record: &Value| record["state"] == "published" || record["state"] == "cancelled";
        self.scene.until("queue.acme/core", |record| record.is_some_and(is_over)).await.unwrap();
        if line.contains("cancel ") || line.contains("requeue ") && line.contains("acme/core") {
            self.control("pause", "", "paused").await;
            self.announce().await;
            self.scene.until_state("@acme/core", "queued").await.unwrap();
        }
        if line.contains("requeue ") && line.contains("acme/core") {
            self.scene.command("cancel", "acme/core").await.unwrap();
            self.scene.until_state("@acme/core", "cancelled").await.unwrap();
        } else if line.contains("permits") {
            self.scene.plant.workers.iter().for_each(Process::freeze);
            self.announce().await;
            self.scene.until_state("@acme/core", "building").await.unwrap();
        }
    }

    /// Undoes what [`Self::prepare`] has done to workers, and waits until a drain has ended.
    async fn clean_up(&mut self, line: &str) {
        self.scene.plant.workers.iter().for_each(Process::thaw);
        if line.contains("drain") {
            let orchestrator = self.scene.plant.orchestrators.last().unwrap();
            tokio::time::timeout(packline_tests::PATIENCE, orchestrator.exited()).await.unwrap();
        }
    }

    async fn control(&self, command: &str, body: &'static str, mode: &str) {
        self.scene.command(command, body).await.unwrap();
        let there = |control: Option<&Value>| {
            control.is_some_and(|control| control["mode"] == mode && control["complete"] == true)
        };
        self.scene.until("control", there).await.unwrap();
    }

    /// Announces `@acme/core` with something new, so that it is built again.
    async fn announce(&mut self) {
        self.announced += 1;
        let package = json!({"name": "@acme/core", "round": self.announced});
        self.scene.announce(package.to_string()).await.unwrap();
    }
}

/// Runs one that goes on for ever, until it has printed something.
async fn begins(operator: &Operator, words: &[&str]) {
    let mut child = operator.command(words).spawn().unwrap();
    let mut printed = [0; 1];
    let mut stdout = child.stdout.take().unwrap();
    let first = tokio::time::timeout(packline_tests::PATIENCE, stdout.read(&mut printed)).await;
    let first = first.unwrap_or_else(|_| panic!("packline {} prints nothing", words.join(" "))).unwrap();
    assert_eq!(first, 1, "packline {} ends at once", words.join(" "));
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_line_works_as_it_is_written() {
    let mut lines: Vec<String> = pages().iter().flat_map(|page| command_lines(page)).collect();
    assert!(lines.len() > 50, "{lines:#?}");
    lines.extend(BODIES.iter().map(|line| (*line).to_owned()));
    let mut seen = Vec::new();
    lines.retain(|line| {
        !seen.contains(line) && {
            seen.push(line.clone());
            true
        }
    });

    let mut stage = Stage::start().await;
    let url = stage.scene.plant.broker.url();
    let (tool, python) = (NatsTool::at(&url).await.unwrap(), NatsPy::at(&url).await.unwrap());
    let operator = Operator::at(&url).await.unwrap();
    for line in &lines {
        if let Some((_, file, text)) = ELSEWHERE.iter().find(|(elsewhere, ..)| elsewhere == line) {
            let source = fs::read_to_string(root().join(file)).unwrap();
            assert!(source.contains(text), "`{line}` should be run by {file}, which has no {text:?}");
            continue;
        }
        let words = shlex::split(line).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["nats", rest @ ..] => {
                if FAILING.contains(&line.as_str()) {
                    if let Some(tool) = &tool {
                        let ended = tool.run(rest).await;
                        assert!(ended.is_err(), "{line} works: {ended:?}");
                    }
                    continue;
                }
                if let Some(tool) = &tool {
                    stage.prepare(line).await;
                    let said = match rest {
                        ["stream", "view", ..] => tool.run_in_terminal(rest).await.unwrap(),
                        _ => tool.run(rest).await.unwrap(),
                    };
                    assert!(!said.contains("error:"), "{line}: {said}");
                    stage.clean_up(line).await;
                }
                stage.prepare(line).await;
                python.run(&[step(rest)]).await.unwrap_or_else(|error| panic!("{line} by nats-py: {error:#}"));
                stage.clean_up(line).await;
            }
            ["packline", rest @ ..] => {
                stage.prepare(line).await;
                if ENDLESS.iter().any(|endless| line.starts_with(endless)) {
                    begins(&operator, rest).await;
                } else {
                    let mut command = operator.command(rest);
                    command.env("NPM_REGISTRY", stage.scene.plant.registry.url());
                    let said = Said::of(command).await.unwrap();
                    assert_eq!(said.status, 0, "{line}: {said:?}\n{}", stage.scene.logs());
                }
                stage.clean_up(line).await;
            }
            _ => panic!("`{line}` is run nowhere"),
        }
    }
    // What was sent again is refused again.
    let dead = stage.scene.stored(StreamName::Dead).await.unwrap();
    assert_eq!(dead.iter().map(|letter| letter.subject.as_str()).collect::<Vec<_>>(), ["dead.packages"; 2]);
}

#[test]
fn command_lines_are_found_in_blocks_and_between_backticks() {
    let text = "Run `nats pub x\n''`, not `nats`.\n```\ncargo demo    # all of it\n\nother\n```\nor `x`, `packline up`";
    assert_eq!(command_lines(text), ["nats pub x ''", "cargo demo", "packline up"]);
}
