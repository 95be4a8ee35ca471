//! Catalogues that fail in every way: nothing is lost, nothing else waits, and each is said in one line.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use packline_broker::{BucketName, StreamName};
use packline_domain::{MAX_PAYLOAD, StatusKind};
use packline_testkit::{process::Process, proxy::Proxy, tools};
use serde_json::{Value, json};

use crate::{
    Place, names,
    program::{lines, start, stop},
    scripted::{Reply, Script, TOKEN},
    within,
};

fn over_http(script: &Script) -> [(&str, &str); 2] {
    [("MCP_URL", script.url()), ("MCP_TOKEN", TOKEN)]
}

/// Waits until the poller has printed this.
async fn says(poller: &Process, text: &str) {
    within(text, async {
        while lines(poller, text) == 0 {
            assert!(poller.is_running(), "{}", poller.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn down_for_reports_and_up_for_polls_it_is_polled_on_and_told_later() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, script) = (Place::new().await, Script::of(&["a", "b", "c"]).await);
    script.reports_are_down(true);
    let poller = start(&place, "poller", folder.path(), &over_http(&script));
    assert_eq!(names(&place.announcement().await), ["a", "b", "c"]);
    place.say("a", StatusKind::Published, 1).await;
    script.until("several tries", |script| script.turned_away() >= 4).await;
    place.poll_now().await;
    assert_eq!(names(&place.announcement().await), ["b", "c"], "what it was not told of is left out");
    assert_eq!(lines(&poller, "the catalogue was not told of a"), 1, "{}", poller.printed());
    script.reports_are_down(false);
    place.reported().await;
    assert_eq!(script.told(), [("a".to_owned(), "published".to_owned())]);
    stop(&poller).await;
}

#[tokio::test]
async fn ten_thousand_packages_are_one_poll_whose_messages_all_fit() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, script) = (Place::new().await, Script::of(&[]).await);
    let packages: Vec<Value> = (0..10_000)
        .map(|n| {
            let (name, needs) = (format!("@acme/package-{n:05}"), format!("@acme/package-{:05}", n + 1));
            json!({"id": format!("P{n}"), "name": name, "priority": n % 100, "category": "utils", "status": "ready",
                "dependencies": if n % 10 < 9 { vec![needs] } else { vec![] }})
        })
        .collect();
    script.answers(Reply::First(packages));
    let since = Instant::now();
    let poller = start(&place, "poller", folder.path(), &over_http(&script));
    let (mut seen, mut messages, mut largest) = (std::collections::BTreeSet::new(), 0, 0);
    while seen.len() < 10_000 {
        let announcement = place.announcement().await;
        for package in announcement["packages"].as_array().unwrap() {
            let needs = package["dependencies"].as_array().unwrap();
            assert!(needs.iter().all(|name| seen.contains(name.as_str().unwrap())), "{package} before what it needs");
            assert!(seen.insert(package["name"].as_str().unwrap().to_owned()), "{package} twice");
        }
        messages += 1;
        largest = largest.max(announcement.to_string().len());
    }
    let took = since.elapsed();
    assert!(largest <= MAX_PAYLOAD, "{largest}");
    place.note("last", |last| last["packages"] == 10_000).await;
    assert_eq!(place.announcements().await, messages);
    let limits: Vec<u64> =
        script.calls("packages_get_build_queue").iter().map(|call| call["limit"].as_u64().unwrap()).collect();
    assert_eq!(limits, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
    assert_eq!(lines(&poller, "found 10000 packages in the catalogue"), 1, "{}", poller.printed());
    let status = fs::read_to_string(format!("/proc/{}/status", poller.pid())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!("10,000 packages: {messages} messages, the largest {largest} bytes, {took:?} from start, {peak}");
    stop(&poller).await;
}

/// The MCP_COMMAND of a catalogue that dies in the middle of an answer of `tool`.
async fn dying(folder: &Path, tool: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dying.py");
    let python = tools::python().await.unwrap().program;
    let words = [python.to_str().unwrap(), script, folder.to_str().unwrap(), tool];
    shlex::try_join(words).unwrap()
}

#[tokio::test]
async fn one_that_dies_in_the_middle_of_its_answer_on_stdio_announces_nothing_until_it_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut place = Place::new().await;
    fs::write(folder.path().join("dies"), "").unwrap();
    let command = dying(folder.path(), "packages_get_build_queue").await;
    let settings = [("MCP_COMMAND", command.as_str()), ("POLL_INTERVAL", "200ms"), ("POLL_LIMIT", "2000")];
    let poller = start(&place, "poller", folder.path(), &settings);
    place.say("a", StatusKind::Published, 1).await;
    // polls fail, and the report is written meanwhile
    place.reported().await;
    within("some polls", async {
        while fs::read_to_string(folder.path().join("calls")).unwrap_or_default().matches("queue").count() < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(place.announcements().await, 0);
    assert_eq!(lines(&poller, "failed to poll, trying again in"), 1, "{}", poller.printed());
    fs::remove_file(folder.path().join("dies")).unwrap();
    let announcement = place.announcement().await;
    assert_eq!(names(&announcement).len(), 1000, "the answer whole");
    says(&poller, "polled again, after").await;
    stop(&poller).await;
}

#[tokio::test]
async fn one_that_dies_in_the_middle_of_its_answer_over_http_announces_nothing_until_it_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, script) = (Place::new().await, Script::of(&[]).await);
    script.answers(Reply::First((0..2000).map(|n| json!({"name": format!("p{n}")})).collect()));
    let port = script.url().rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
    let proxy = Proxy::start(port).await.unwrap();
    // the greeting is well below, the answer well above
    proxy.cut_after_answers(8000);
    let url = format!("http://127.0.0.1:{}/mcp", proxy.port());
    let settings = [("MCP_URL", url.as_str()), ("MCP_TOKEN", TOKEN), ("POLL_LIMIT", "5000"), ("MCP_TIMEOUT", "5s")];
    let poller = start(&place, "poller", folder.path(), &settings);
    place.note("last", |last| last["error"].is_string()).await;
    assert_eq!(place.announcements().await, 0);
    proxy.heal();
    assert_eq!(names(&place.announcement().await).len(), 2000);
    assert_eq!(lines(&poller, "failed to poll"), 1, "{}", poller.printed());
    stop(&poller).await;
}

#[tokio::test]
async fn one_that_dies_at_every_report_is_not_started_as_fast_as_it_dies() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new().await;
    fs::write(folder.path().join("dies"), "").unwrap();
    for n in 0..200 {
        place.say(&format!("p{n}"), StatusKind::Published, n + 1).await;
    }
    let command = dying(folder.path(), "packages_update").await;
    let settings = [("MCP_COMMAND", command.as_str()), ("POLL_CRON", "0 0 29 2 *")];
    let poller = start(&place, "poller", folder.path(), &settings);
    let started = || fs::read_to_string(folder.path().join("calls")).unwrap_or_default();
    says(&poller, "the catalogue was not told of").await;
    // waits grow: half a second, one, two, four, …, of which chance takes away up to a half
    tokio::time::sleep(Duration::from_secs(5)).await;
    let deaths = started().lines().count();
    assert!((1..=10).contains(&deaths), "{deaths} deaths:\n{}", poller.printed());
    fs::remove_file(folder.path().join("dies")).unwrap();
    place.reported().await;
    let told = lines(&poller, "told the catalogue that");
    assert_eq!(told, 200, "each is told once, in {} calls", started().lines().count());
    stop(&poller).await;
}

#[tokio::test]
async fn one_that_hangs_is_given_up_in_time_while_reports_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, script) = (Place::new().await, Script::of(&[]).await);
    script.answers(Reply::Never);
    let settings = [&over_http(&script)[..], &[("MCP_TIMEOUT", "4s")]].concat();
    let poller = start(&place, "poller", folder.path(), &settings);
    script.until("the question", |script| !script.calls("packages_get_build_queue").is_empty()).await;
    place.say("a", StatusKind::Published, 1).await;
    script.until("a report while the poll hangs", |script| !script.told().is_empty()).await;
    assert!(place.noted("last").await.is_null(), "the poll is not over");
    place.note("last", |last| last["error"].as_str().is_some_and(|why| why.contains("no answer within 4s"))).await;
    script.lists(&["b"]);
    assert_eq!(names(&place.announcement().await), ["b"]);
    assert_eq!(lines(&poller, "failed to poll, trying again in"), 1, "{}", poller.printed());
    stop(&poller).await;
}

#[tokio::test]
async fn one_package_refused_for_ever_holds_up_no_other_and_its_hour_goes_on_in_the_next_poller() {
    let folder = tempfile::tempdir().unwrap();
    let (mut place, script) = (Place::new().await, Script::of(&["a", "b"]).await);
    script.updates("a", Some(Reply::ToolError("unknown package a")));
    let first = start(&place, "first", folder.path(), &over_http(&script));
    place.announcement().await;
    place.say("a", StatusKind::Failed, 1).await;
    let refused = place.note("refused.a", |refused| refused["since"].is_string()).await;
    assert_eq!((&refused["error"], refused.get("at")), (&json!("unknown package a"), None));
    for n in 0..50 {
        place.say(&format!("p{n}"), StatusKind::Published, n + 2).await;
    }
    script.until("all others", |script| script.told().iter().filter(|(name, _)| name != "a").count() == 50).await;
    let tries = |script: &Script| script.told().iter().filter(|(name, _)| name == "a").count();
    script.until("further tries", |script| tries(script) >= 4).await;
    assert_eq!(lines(&first, "the catalogue was not told of a"), 1, "{}", first.printed());
    first.kill().await;

    // an hour ago, says the record now: the next refusal is the last
    let mut older = refused.clone();
    older["since"] = json!("2020-01-01T00:00:00Z");
    let bucket = place.broker.bucket(BucketName::Poller);
    bucket.put("refused.a", older.to_string().into()).await.unwrap();
    let second = start(&place, "second", folder.path(), &over_http(&script));
    let given_up = place.note("refused.a", |refused| refused["at"].is_string()).await;
    assert_eq!(given_up["since"], "2020-01-01T00:00:00.000Z");
    assert_eq!(lines(&second, "gave up telling the catalogue of a"), 1);
    assert_eq!(place.broker.stream_state(StreamName::Dead).await.unwrap().messages, 1);
    assert_eq!(names(&place.announcement().await), ["b"], "left out until a later report is accepted");
    stop(&second).await;
}
