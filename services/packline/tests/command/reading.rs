//! What an operator reads with `packline`: logs, events, dead letters, the line at a glance.

use std::{
    fs,
    path::PathBuf,
    process::{ExitStatus, Output},
    time::{Duration, Instant},
};

use packline_broker::{Broker, BucketName, BuildLog, DeadLetter, Message, Settings, StreamName, topology};
use packline_domain::{
    BuildId, LogEntry, Outcome,
    message::{PhaseReport, PhaseStatus},
};
use packline_testkit::{
    nats::{NatsOptions, NatsServer},
    process::{Process, command},
    proxy::Proxy,
    tools,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const NOW: &str = "2026-11-27T04:00:00.000Z";

/// A broker, and a desk with `packline` on it.
struct Desk {
    server: NatsServer,
    broker: Broker,
    folder: TempDir,
}

impl Desk {
    async fn new() -> Self {
        let server = NatsServer::start(NatsOptions::durable(tools::nats_server().await.unwrap())).await.unwrap();
        let broker = Broker::connect(&Settings::at(server.url()), "test").await.unwrap();
        broker.ensure_topology().await.unwrap();
        Self { server, broker, folder: tempfile::tempdir().unwrap() }
    }

    async fn packline(&self, arguments: &[&str]) -> Output {
        let mut packline = command(env!("CARGO_BIN_EXE_packline"));
        packline.args(arguments).env("NATS_URL", self.server.url());
        tokio::task::spawn_blocking(move || packline.output().unwrap()).await.unwrap()
    }

    /// What it prints, and whether it ends with 0.
    async fn says(&self, arguments: &[&str]) -> (String, bool) {
        let output = self.packline(arguments).await;
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (text, output.status.success())
    }

    /// Starts it; what it prints goes to a file, both ways out.
    fn start(&self, url: &str, arguments: &[&str]) -> Running {
        let log = self.folder.path().join(format!("{}.log", fastrand::u64(..)));
        let mut packline = command(env!("CARGO_BIN_EXE_packline"));
        packline.args(arguments).env("NATS_URL", url);
        Running { process: Process::spawn("packline", packline, &log).unwrap(), log }
    }

    async fn record(&self, key: &str, value: Value) {
        self.broker.bucket(BucketName::Orchestrator).put(key, value.to_string().into()).await.unwrap();
    }

    /// `@acme/core` stands so.
    async fn stands(&self, state: Value) {
        let mut record = json!({"package": {"name": "@acme/core"}, "arrival": 1, "commit": 1, "queuedAt": NOW,
            "announcedAt": NOW});
        record.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
        self.record("queue.acme/core", record).await;
    }

    /// The attempts of `@acme/core` that are over: serial, number, class, when.
    async fn attempts(&self, attempts: &[(u64, u32, Option<&str>, &str)]) {
        let attempts: Vec<Value> = attempts
            .iter()
            .map(|(serial, number, class, at)| {
                json!({"buildId": format!("acme/core.{serial}"), "attempt": number, "worker": "host-1",
                    "startedAt": at, "finishedAt": at, "class": class, "error": class.map(|_| "test: it broke")})
            })
            .collect();
        self.record("retries.acme/core", json!({ "attempts": attempts })).await;
    }

    fn log(&self, serial: u64) -> BuildLog {
        self.broker.build_log(&BuildId { package: "@acme/core".parse().unwrap(), serial })
    }
}

struct Running {
    process: Process,
    log: PathBuf,
}

impl Running {
    fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn until(&self, text: &str) {
        let since = Instant::now();
        while !self.printed().contains(text) {
            assert!(since.elapsed() < PATIENCE, "{text} is not in {}", self.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ended(&self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.process.exited()).await.unwrap_or_else(|_| panic!("{}", self.printed()))
    }
}

fn lines(log: &BuildLog, phase: &str, text: &str) {
    log.write(&LogEntry::Lines { phase: phase.into() }, text.to_owned());
}

fn ended(log: &BuildLog, phase: &str, status: PhaseStatus) {
    let exit_code = Some(i32::from(status != PhaseStatus::Passed));
    log.write(&LogEntry::Ended(PhaseReport { exit_code, seconds: 1.26, ..PhaseReport::new(phase, status) }), "");
}

fn began(log: &BuildLog, phase: &str) {
    log.write(&LogEntry::Began { phase: phase.into() }, "");
}

/// A build of which the test fails.
async fn failed(desk: &Desk, serial: u64) {
    let log = desk.log(serial);
    began(&log, "install");
    lines(&log, "install", "added 1 package\n\u{1b}[33mwarn\u{1b}[0m");
    ended(&log, "install", PhaseStatus::Passed);
    began(&log, "test");
    lines(&log, "test", "\u{1b}[31mnot ok 1\u{1b}[0m\u{1b}]0;title\u{7}\u{1b}[2J");
    ended(&log, "test", PhaseStatus::Failed);
    log.write(&LogEntry::Over { outcome: Outcome::Failed, private: false }, "test: ended with status 1: not ok 1");
    assert_eq!(log.finish().await, 0);
}

#[tokio::test]
async fn what_passed_is_folded_and_what_failed_is_open_and_a_file_has_no_colours() {
    let desk = Desk::new().await;
    failed(&desk, 7).await;
    desk.stands(json!({"state": "failed", "error": "test: it broke"})).await;
    desk.attempts(&[(7, 1, Some("own"), NOW)]).await;
    let expected = "✓ install 1.3 s, 2 lines\n▶ test\nnot ok 1\n✗ test failed, exit status 1, 1.3 s, 1 line\n\
                    ✗ failed: test: ended with status 1: not ok 1\n";
    for name in ["acme/core", "@acme/core", "acme/core.7", "@acme/core.7"] {
        assert_eq!(desk.says(&["logs", name]).await, (expected.into(), true), "{name}");
    }
    let (open, _) = desk.says(&["logs", "--open", "acme/core"]).await;
    assert!(open.starts_with("▶ install\nadded 1 package\nwarn\n✓ install 1.3 s, 2 lines\n▶ test\n"), "{open}");
    assert_eq!(desk.says(&["logs", "--phase", "test", "acme/core"]).await, ("not ok 1\n".into(), true));
    let (none, ok) = desk.says(&["logs", "--phase", "deploy", "acme/core"]).await;
    assert!(!ok && none.contains("build acme/core.7 has no phase deploy; it has install, test"), "{none}");
    let (text, ok) = desk.says(&["logs", "-f", "acme/core"]).await;
    assert!(text.starts_with(expected) && text.contains("acme/core.7 failed") && !ok, "{text}");

    let (objects, ok) = desk.says(&["logs", "--json", "acme/core"]).await;
    let objects: Vec<Value> = objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(ok && objects.iter().all(|object| object["buildId"] == "acme/core.7" && object["attempt"] == 1));
    assert_eq!(objects[1]["line"], "added 1 package");
    assert_eq!(objects[2]["line"], "warn");
    assert_eq!((&objects[3]["status"], &objects[3]["seconds"]), (&json!("passed"), &json!(1.26)));
    let last = objects.last().unwrap();
    assert_eq!((&last["outcome"], &last["error"]), (&json!("failed"), &json!("test: ended with status 1: not ok 1")));
}

#[tokio::test]
async fn on_a_terminal_colours_stay_and_nothing_moves_the_cursor() {
    let desk = Desk::new().await;
    failed(&desk, 7).await;
    desk.stands(json!({"state": "failed", "error": "test: it broke"})).await;
    desk.attempts(&[(7, 1, Some("own"), NOW)]).await;
    let mut script = command("script");
    let packline = format!("{} logs acme/core", env!("CARGO_BIN_EXE_packline"));
    script.args(["-qec", &packline, "/dev/null"]).env("NATS_URL", desk.server.url());
    let output = tokio::task::spawn_blocking(move || script.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\u{1b}[32m✓ install 1.3 s, 2 lines\u{1b}[0m"), "{text:?}");
    assert!(text.contains("\u{1b}[31mnot ok 1\u{1b}[0m\r\n"), "{text:?}");
    assert!(!text.contains("\u{1b}]") && !text.contains("\u{1b}[2J"), "{text:?}");
}

#[tokio::test]
async fn a_package_that_waits_is_waited_for_and_followed_to_its_end() {
    let desk = Desk::new().await;
    for (serial, outcome, private, end) in [
        (8, Outcome::Published, false, "✓ published"),
        (9, Outcome::Failed, false, "✗ failed"),
        (10, Outcome::Published, true, "✓ built (private)"),
    ] {
        desk.stands(json!({"state": "queued"})).await;
        let follow = desk.start(&desk.server.url(), &["logs", "-f", "acme/core"]);
        follow.until("waiting for a build of @acme/core").await;
        desk.stands(json!({"state": "building", "buildId": format!("acme/core.{serial}"), "permit": 0})).await;
        let log = desk.log(serial);
        began(&log, "test");
        lines(&log, "test", "first");
        follow.until("▶ test\nfirst\n").await;
        lines(&log, "test", "second");
        follow.until("second\n").await;
        ended(&log, "test", PhaseStatus::Passed);
        log.write(&LogEntry::Over { outcome, private }, "");
        log.finish().await;
        assert_eq!(follow.ended().await.success(), outcome == Outcome::Published, "{}", follow.printed());
        let shown = format!("first\nsecond\n✓ test 1.3 s, 2 lines\n{end}\n");
        assert!(follow.printed().contains(&shown), "{}", follow.printed());
        let (objects, _) = desk.says(&["logs", "--json", &format!("acme/core.{serial}")]).await;
        let last: Value = serde_json::from_str(objects.lines().last().unwrap()).unwrap();
        assert_eq!((&last["outcome"], last.get("private")), (&json!(outcome), private.then_some(&json!(true))));
    }
}

#[tokio::test]
async fn a_log_without_an_end_is_not_waited_for_once_its_build_is_over() {
    let desk = Desk::new().await;
    desk.stands(json!({"state": "building", "buildId": "acme/core.9", "permit": 0})).await;
    let log = desk.log(9);
    began(&log, "test");
    lines(&log, "test", "last words");
    assert_eq!(log.finish().await, 0);
    let follow = desk.start(&desk.server.url(), &["logs", "-f", "acme/core"]);
    follow.until("last words").await;
    let (text, ok) = desk.says(&["logs", "acme/core"]).await;
    assert!(ok && text.contains("build acme/core.9 still runs; -f follows it"), "{text}");
    desk.attempts(&[(9, 1, Some("workerLost"), NOW)]).await;
    desk.stands(json!({"state": "queued"})).await;
    assert_eq!(follow.ended().await.code(), Some(1));
    assert!(follow.printed().contains("the end of the log of acme/core.9 is missing"), "{}", follow.printed());
}

#[tokio::test]
async fn attempts_are_chosen_by_number_and_what_is_not_there_is_said_in_one_line() {
    let desk = Desk::new().await;
    let (text, ok) = desk.says(&["logs", "acme/core"]).await;
    assert!(!ok && text.contains("the queue does not know @acme/core; `packline add` announces it"), "{text}");
    desk.stands(json!({"state": "queued"})).await;
    let (text, ok) = desk.says(&["logs", "acme/core"]).await;
    assert!(!ok && text.contains("@acme/core has not been built yet; -f waits for it"), "{text}");
    for serial in [1, 2] {
        let log = desk.log(serial);
        lines(&log, "build", &format!("of {serial}"));
        log.write(&LogEntry::Over { outcome: Outcome::Failed, private: false }, "");
        log.finish().await;
    }
    desk.attempts(&[(1, 1, Some("own"), NOW), (2, 2, Some("own"), NOW), (3, 3, Some("own"), "2026-10-01T00:00:00Z")])
        .await;
    for (number, expected) in [("1", "of 1"), ("2", "of 2")] {
        let (text, ok) = desk.says(&["logs", "--attempt", number, "--phase", "build", "acme/core"]).await;
        assert_eq!((text.trim_end(), ok), (expected, true));
    }
    let (text, ok) = desk.says(&["logs", "--attempt", "9", "acme/core"]).await;
    assert!(!ok && text.contains("no attempt 9 of @acme/core is known; known are 1, 2, 3"), "{text}");
    let (text, ok) = desk.says(&["logs", "--all", "acme/core"]).await;
    assert!(ok && text.contains("── acme/core.1, attempt 1 on host-1 ──\n▶ build\nof 1\n"), "{text}");
    assert!(text.contains("the log of build acme/core.3 has expired: it ended "), "{text}");
    let (text, ok) = desk.says(&["logs", "acme/core.99"]).await;
    assert!(!ok && text.contains("no log of build acme/core.99"), "{text}");
    let output = desk.packline(&["logs", "@acme/Core"]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_follower_of_a_log_loses_and_repeats_nothing_when_broker_and_connection_are_lost() {
    let mut desk = Desk::new().await;
    let proxy = Proxy::start(desk.server.port()).await.unwrap();
    desk.stands(json!({"state": "building", "buildId": "acme/core.9", "permit": 0})).await;
    let follow = desk.start(&proxy.url(), &["logs", "-f", "--phase", "test", "acme/core"]);
    let log = desk.log(9);
    for number in 0..300 {
        lines(&log, "test", &format!("line {number}"));
        match number {
            40 => follow.until("line 0\n").await,
            50 => proxy.cut(),
            100 => proxy.swallow_answers(),
            150 => proxy.heal(),
            200 => desk.server.restart().await.unwrap(),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    log.write(&LogEntry::Over { outcome: Outcome::Published, private: false }, "");
    assert!(follow.ended().await.success(), "{}", follow.printed());
    assert_eq!(log.finish().await, 0);
    let expected: Vec<String> = (0..300).map(|number| format!("line {number}")).collect();
    let printed = follow.printed();
    let printed: Vec<&str> = printed.lines().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(printed, expected);
}

fn event(kind: &str, package: &str, number: u64) -> Message {
    Message::json(
        topology::event(kind),
        &json!({"kind": kind, "at": NOW, "commit": number, "packageName": package, "message": format!("{package} {number}")}),
    )
}

#[tokio::test]
async fn events_are_shown_from_the_past_and_as_they_come() {
    let desk = Desk::new().await;
    assert_eq!(desk.says(&["events"]).await, ("nothing like that has happened\n".into(), true));
    for number in 0..300 {
        let (kind, package) = if number % 100 == 7 { ("failed", "@acme/core") } else { ("queued", "@acme/app") };
        desk.broker.publish(event(kind, package, number)).await.unwrap();
    }
    let (text, ok) = desk.says(&["events"]).await;
    assert!(ok && text.lines().count() == 20, "{text}");
    assert!(text.ends_with("2026-11-27T04:00:00.000Z  queued       @acme/app 299\n"), "{text}");
    // Further back than the last 20, and by kind as well as by package.
    for wanted in [["--kind", "failed"], ["--package", "acme/core"]] {
        let (text, _) = desk.says(&["events", wanted[0], wanted[1]]).await;
        let numbers: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next_back()).collect();
        assert_eq!(numbers, ["7", "107", "207"]);
    }
    let (text, _) = desk.says(&["events", "--since", "1h", "--json"]).await;
    assert_eq!(text.lines().count(), 300);
    assert_eq!(serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap()["commit"], 0);
    let (text, ok) = desk.says(&["events", "-n", "1", "--kind", "failed", "--package", "acme/app"]).await;
    assert!(ok && text == "nothing like that has happened\n", "{text}");
    assert_eq!(desk.packline(&["events", "--kind", "a.b"]).await.status.code(), Some(2));

    let follow = desk.start(&desk.server.url(), &["events", "-f", "-n", "2", "--kind", "failed"]);
    follow.until("core 207").await;
    desk.broker.publish(event("queued", "@acme/core", 998)).await.unwrap();
    desk.broker.publish(event("failed", "@acme/core", 999)).await.unwrap();
    follow.until("core 999").await;
    follow.process.signal(nix::sys::signal::Signal::SIGINT);
    assert!(follow.ended().await.success());
    assert_eq!(follow.printed().lines().count(), 3, "{}", follow.printed());
}

fn dead(kind: &str, subject: &str, payload: impl Into<Vec<u8>>) -> DeadLetter {
    DeadLetter {
        kind: kind.into(),
        reason: "a command is one of pause, resume, …".into(),
        source_subject: subject.into(),
        source: None,
        payload: payload.into().into(),
    }
}

#[tokio::test]
async fn dead_letters_are_listed_shown_and_sent_again() {
    let desk = Desk::new().await;
    assert_eq!(desk.says(&["dead", "list"]).await, ("no dead letter is like that, or there is none\n".into(), true));
    for letter in [
        dead("packages", "packages.new", r#"{"name": "@acme/core", "priority": "x\u001b[2J"}"#),
        dead("control", "control.dance", "tango \u{1b}[2J"),
        dead("packages", "packages.new", vec![b'x'; 300 * 1024]),
        dead("strange", "somewhere.else", "x"),
    ] {
        desk.broker.dead_letter(letter).await;
    }
    let (text, ok) = desk.says(&["dead", "list"]).await;
    assert!(ok && text.lines().count() == 5, "{text}");
    assert!(text.contains("control") && text.contains("307200") && !text.contains('\u{1b}'), "{text}");
    let (text, _) = desk.says(&["dead", "list", "--json", "--kind", "packages"]).await;
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&objects[0]["sequence"], &objects[0]["body"]["name"]), (&json!(1), &json!("@acme/core")));
    assert_eq!((&objects[1]["cut"], &objects[1]["bytes"]), (&json!(true), &json!(307_200)));

    let (text, ok) = desk.says(&["dead", "show", "2"]).await;
    assert!(
        ok && text.contains("reason     a command is one of pause, resume, …\ncame from  control.dance\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert_eq!(desk.packline(&["dead", "show", "2", "--raw"]).await.stdout, b"tango \x1b[2J");
    let (text, ok) = desk.says(&["dead", "show", "77"]).await;
    assert!(!ok && text.contains("there is no dead letter 77"), "{text}");

    // One that cannot be sent keeps all others back.
    for (bad, why) in [
        ("3", "of its 307200 bytes only the first 65536 are kept"),
        ("4", "from `somewhere.else`"),
        ("77", "no dead letter 77"),
    ] {
        let (text, ok) = desk.says(&["dead", "send", "1", bad]).await;
        assert!(!ok && text.contains(why), "{text}");
    }
    assert!(desk.broker.stored(StreamName::Packages, 1).await.unwrap().is_none());
    let (text, ok) = desk.says(&["dead", "send", "1"]).await;
    assert_eq!((text.as_str(), ok), ("1 is sent again to packages.new: 1 of PACKAGES\n", true));
    let sent = desk.broker.stored(StreamName::Packages, 1).await.unwrap().unwrap();
    assert_eq!(sent.payload, r#"{"name": "@acme/core", "priority": "x\u001b[2J"}"#);
    assert_eq!(desk.broker.stream_state(StreamName::Dead).await.unwrap().messages, 4, "it is kept");
    assert!(desk.says(&["dead", "send", "2", "--delete"]).await.1);
    let left = desk.broker.stored(StreamName::Dead, 2).await.unwrap().unwrap();
    assert_eq!(
        (left.sequence, desk.broker.stored(StreamName::Control, 1).await.unwrap().unwrap().subject.as_str()),
        (3, "control.dance")
    );
}
