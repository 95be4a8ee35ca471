use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use packline_broker::{Stored, StreamName};
use packline_domain::{BuildId, BuildResult, LogEntry, Outcome, message::PhaseStatus, record::LEADER};
use packline_testkit::{process::Process, proxy::Proxy};

use crate::foreman::{Foreman, until};

const CLAIM: Duration = Duration::from_secs(60);
const NOBODY: (&str, &str) = ("NPM_REGISTRY", "http://127.0.0.1:9");

/// What a script prints is what the phase `test` prints; `print.js` stands beside it.
async fn place(print: &str, settings: &[(&str, &str)]) -> (Foreman, Process) {
    let foreman = Foreman::new(CLAIM).await;
    let worker = worker(&foreman, print, settings);
    (foreman, worker)
}

fn worker(foreman: &Foreman, print: &str, settings: &[(&str, &str)]) -> Process {
    foreman.crate_of("thing", &[("print.js", print)]);
    let recipe = "[[phase]]\nname = \"test\"\nrun = [\"node\", \"print.js\"]\noutput_limit = \"1GB\"\n\
                  [[phase]]\nname = \"after\"\nrun = [\"sh\", \"-c\", \"echo after\"]\n";
    let recipe = foreman.recipe(recipe);
    let settings: Vec<_> = [("RECIPE", recipe.as_str()), NOBODY].into_iter().chain(settings.iter().copied()).collect();
    foreman.worker("one", &settings)
}

/// The whole log of a build, each message once.
async fn log(foreman: &Foreman, build: &BuildId) -> Vec<(LogEntry, Stored)> {
    let subject = format!("builds.log.{build}");
    until("the end of the log", || async {
        let last = foreman.broker.newest(StreamName::Logs, &subject).await.unwrap()?;
        matches!(entry(&last), LogEntry::Over { .. }).then_some(())
    })
    .await;
    let (mut messages, mut from) = (BTreeMap::new(), 1);
    while let Some(message) = foreman.broker.stored(StreamName::Logs, from).await.unwrap() {
        from = message.sequence + 1;
        if message.subject == subject {
            let number: usize = message.header("Number").unwrap().parse().unwrap();
            messages.insert(number, (entry(&message), message));
        }
    }
    assert!(messages.keys().copied().eq(1..=messages.len()), "a piece is missing");
    messages.into_values().collect()
}

fn entry(message: &Stored) -> LogEntry {
    LogEntry::parse(|name| message.header(name))
}

/// What the log of `phase` says, each line with its end.
fn lines(log: &[(LogEntry, Stored)], wanted: &str) -> Vec<u8> {
    let lines = LogEntry::Lines { phase: wanted.to_owned() };
    let mut text = Vec::new();
    for (_, message) in log.iter().filter(|(entry, _)| *entry == lines) {
        text.extend_from_slice(&message.payload);
        text.push(b'\n');
    }
    text
}

fn published(result: &BuildResult) {
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
}

#[tokio::test]
async fn bytes_are_kept_as_they_are_and_each_phase_says_how_it_ended() {
    let print = r#"
        process.stdout.write("\x1b[31mred\x1b[0m\r\n");
        process.stdout.write(Buffer.from([0x00, 0xff, 0xfe, 0x0a]));
        process.stdout.write("x".repeat(300 * 1024) + "\nlast");
    "#;
    let (mut foreman, _worker) = place(print, &[]).await;
    let result = foreman.build("thing").await;
    published(&result);
    let log = log(&foreman, &result.build_id).await;
    let text = lines(&log, "test");
    let start = b"\x1b[31mred\x1b[0m\r\n\x00\xff\xfe\n";
    assert!(text.starts_with(start), "{:?}", text.get(..40));
    // A line above 16 KiB is broken, and nothing of it is lost.
    let long: Vec<&[u8]> = text.get(start.len()..).unwrap().split(|byte| *byte == b'\n').collect();
    let pieces = long.iter().take_while(|line| line.starts_with(b"x")).count();
    assert!(pieces > 1 && long.iter().all(|line| line.len() <= 100 * 1024), "{pieces}");
    assert_eq!(long.concat(), [vec![b'x'; 300 * 1024], b"last".to_vec()].concat());
    assert_eq!(lines(&log, "after"), b"after\n");

    let marks: Vec<LogEntry> =
        log.into_iter().map(|(entry, _)| entry).filter(|entry| !matches!(entry, LogEntry::Lines { .. })).collect();
    let report = |n: usize| LogEntry::Ended(result.phases.get(n).unwrap().clone());
    let began = |phase: &str| LogEntry::Began { phase: phase.into() };
    let over = LogEntry::Over { outcome: Outcome::Published, private: false };
    assert_eq!(marks, [began("test"), report(0), began("after"), report(1), over]);
}

#[tokio::test]
async fn a_failed_build_says_so_at_the_end_of_its_log_also_before_its_first_phase() {
    let (mut foreman, _worker) = place("console.log('no'); process.exit(3)", &[]).await;
    let result = foreman.build("thing").await;
    let failed = log(&foreman, &result.build_id).await;
    let ended = failed.iter().find_map(|(entry, _)| match entry {
        LogEntry::Ended(report) => Some((report.status, report.exit_code)),
        _ => None,
    });
    assert_eq!(ended, Some((PhaseStatus::Failed, Some(3))));
    assert_eq!(failed.last().unwrap().1.payload, "test: ended with status 3: no");
    let result = foreman.build("missing").await;
    let missing = log(&foreman, &result.build_id).await;
    let (entry, message) = missing.first().unwrap();
    assert_eq!((missing.len(), entry), (1, &LogEntry::Over { outcome: Outcome::Failed, private: false }));
    assert_eq!(message.payload, result.error.unwrap());
}

#[tokio::test]
async fn more_than_2000_lines_in_a_second_are_cut_with_a_line_that_says_how_many() {
    // 100,000 lines at once, then, after a pause, one more.
    let print = "process.stdout.write('abc\\n'.repeat(100000)); setTimeout(() => console.log('end'), 3000);";
    let (mut foreman, _worker) = place(print, &[]).await;
    let result = foreman.build("thing").await;
    published(&result);
    let log = log(&foreman, &result.build_id).await;
    let text = String::from_utf8(lines(&log, "test")).unwrap();
    let kept = text.lines().filter(|line| *line == "abc").count();
    let cut: Vec<(usize, usize)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("[packline] ")?.split_once(" lines (")?.0.parse().ok())
        .map(|cut: usize| (cut, kept))
        .collect();
    assert_eq!(cut.iter().map(|(cut, _)| cut).sum::<usize>() + kept, 100_000, "{cut:?}");
    assert!(kept >= 2000, "{kept}");
    assert!(text.ends_with("left out: more than 2000 lines in a second\nend\n"), "{}", text.len());
    // By the broker's clock, which has seen them a little earlier or later than they were printed.
    let first = log.first().unwrap().1.stored_at;
    for second in 0..5_u64 {
        let within = |message: &Stored| message.stored_at.since(first).as_secs() == second;
        let text: Vec<_> = log.iter().filter(|(_, message)| within(message)).cloned().collect();
        let lines = lines(&text, "test").iter().filter(|byte| **byte == b'\n').count();
        assert!(lines <= 4000, "{lines} in second {second}");
    }
}

#[tokio::test]
async fn a_log_beyond_64_mb_is_cut_with_a_line_at_the_end_that_says_how_much() {
    // No faster than a busy broker takes it: what it does not take is left out for another reason.
    let print = "let n = 0; const more = () => { for (let k = 0; k < 5; k++) require('fs').writeSync(1, \
                 'x'.repeat(99999) + '\\n'); if (++n < 400) setTimeout(more, 20); }; more();";
    let (mut foreman, _worker) = place(print, &[]).await;
    let result = foreman.build("thing").await;
    published(&result);
    let log = log(&foreman, &result.build_id).await;
    let bytes: usize = log.iter().map(|(_, message)| message.payload.len()).sum();
    assert!((20_000_000..=64_100_000).contains(&bytes), "{bytes}");
    let lines = |log: &[(LogEntry, Stored)]| -> Vec<String> {
        let text: Vec<String> = log.iter().map(|(_, m)| String::from_utf8_lossy(&m.payload).into_owned()).collect();
        text.into_iter().filter(|text| text.contains("[packline]")).collect()
    };
    let said = lines(&log);
    let last = said.last().unwrap();
    assert!(last.contains(" left out: the log of a build has at most 64.0 MB"), "{said:?}");
    let at = log.iter().rposition(|(_, message)| message.payload.starts_with(last.as_bytes())).unwrap();
    assert_eq!(at + 2, log.len(), "it stands at the end of the build");
}

/// Prints for two seconds, far more than fits where nobody takes it, and leaves its time in a file.
fn timed(foreman: &Foreman) -> (String, std::path::PathBuf) {
    let mark = foreman.folder().join("printed");
    let print = format!(
        "const began = Date.now();
         const line = 'x'.repeat(9999) + '\\n';
         const more = () => {{
             for (let n = 0; n < 50; n++) require('fs').writeSync(1, line);
             if (Date.now() - began < 2000) setTimeout(more, 20);
             else require('fs').writeFileSync({:?}, String(Date.now() - began));
         }};
         more();",
        mark.display().to_string()
    );
    (print, mark)
}

async fn not_held_up(mark: &std::path::Path) {
    // Between its creation and its first byte the file is empty.
    let whole = || async { std::fs::read_to_string(mark).ok()?.parse().ok() };
    let millis: u64 = until("the end of the printing", whole).await;
    assert!(millis < 30_000, "it was held up for {millis} ms");
}

#[tokio::test]
async fn a_build_goes_on_while_the_broker_is_away_and_its_log_says_what_is_missing() {
    for misbehave in [Proxy::swallow_answers, Proxy::swallow_requests, |proxy: &Proxy| {
        proxy.refuse();
        proxy.cut();
    }] {
        let mut foreman = Foreman::new(CLAIM).await;
        let proxy = Proxy::start(foreman.server.port()).await.unwrap();
        let (print, mark) = timed(&foreman);
        let go = foreman.folder().join("go");
        let print = format!(
            "require('fs').writeSync(1, 'here\\n');
             const wait = () => {{
                 if (!require('fs').existsSync({:?})) return setTimeout(wait, 20);
                 setTimeout(() => {{}}, 8000);
                 {print}
             }};
             wait();",
            go.display().to_string()
        );
        let _worker = worker(&foreman, &print, &[("NATS_URL", &proxy.url())]);
        let order = foreman.order(0, "thing").await;
        foreman.log_until(&order.build_id, "here").await;
        misbehave(&proxy);
        std::fs::write(&go, "").unwrap();
        not_held_up(&mark).await;
        proxy.heal();
        let result = foreman.outcome(&order).await;
        published(&result);
        let log = log(&foreman, &result.build_id).await;
        let text = String::from_utf8(lines(&log, "test")).unwrap();
        assert!(text.contains("left out: the broker did not take them"), "{}", text.len());
        let marks = log.iter().filter(|(entry, _)| matches!(entry, LogEntry::Ended(_))).count();
        assert_eq!(marks, 2, "what a log says beside lines is always stored");
    }
}

#[tokio::test]
async fn a_build_and_its_slot_wait_for_no_log_that_may_not_be_stored() {
    let mut foreman = Foreman::new(CLAIM).await;
    let denied = "authorization {\n  users = [\n    {user: all, password: all}\n    {user: worker, password: \
                  worker, permissions: {publish: {deny: \"builds.log.>\"}}}\n  ]\n}\nno_auth_user: all";
    foreman.server.configure(denied).unwrap();
    foreman.server.restart().await.unwrap();
    until("the broker again", || async { foreman.orchestrator.get(LEADER).await.ok() }).await;
    let (print, mark) = timed(&foreman);
    let worker = worker(&foreman, &print, &[("NATS_USER", "worker"), ("NATS_PASSWORD", "worker")]);
    let first = foreman.build("thing").await;
    published(&first);
    not_held_up(&mark).await;
    // The next starts at once although the end of that log is not stored.
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(foreman.build("missing").await.outcome, Outcome::Failed);
        quickest = quickest.min(began.elapsed());
    }
    assert!(quickest < Duration::from_secs(4), "{quickest:?}");
    assert!(foreman.broker.stored(StreamName::Logs, 1).await.unwrap().is_none());
    until("a word on it", || async { worker.printed().contains("are not known to be stored").then_some(()) }).await;
    assert!(worker.printed().to_lowercase().contains("permissions violation"), "{}", worker.printed());
}

#[tokio::test]
async fn a_stream_that_is_full_fails_no_build() {
    let mut foreman = Foreman::new(CLAIM).await;
    let (print, mark) = timed(&foreman);
    let _worker = worker(&foreman, &print, &[]);
    // A worker looks at the streams when it starts.
    foreman.build("missing").await;
    let info = foreman.broker.ask("$JS.API.STREAM.INFO.LOGS", "").await.unwrap();
    let mut info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    let mut config = info["config"].take();
    config["discard"] = "new".into();
    config["max_bytes"] = 1000.into();
    foreman.broker.ask("$JS.API.STREAM.UPDATE.LOGS", config.to_string()).await.unwrap();
    let full = foreman.build("thing").await;
    published(&full);
    not_held_up(&mark).await;
    let newest = foreman.broker.newest(StreamName::Logs, "builds.log.>").await.unwrap().unwrap();
    assert!(
        !matches!(entry(&newest), LogEntry::Over { outcome: Outcome::Published, private: false }),
        "it has no room for that"
    );
}
