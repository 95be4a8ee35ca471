//! `packline up` as a person starts it on a workspace of their own.
use std::{
    fs,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use packline_broker::{Broker, Message, topology};
use packline_testkit::{process::Process, witness::commands_in};
use serde_json::{Value, json};

use crate::place::{PATIENCE, Place};

/// How many builds were ever taken.
fn builds(place: &Place) -> usize {
    said_by_workers(place, " took ")
}

/// How often a worker ever said this.
fn said_by_workers(place: &Place, text: &str) -> usize {
    let logs = fs::read_dir(place.workspace().join(".packline/logs")).into_iter().flatten();
    let workers = logs.map(|entry| entry.unwrap().path()).filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("worker-")) && path.is_file()
    });
    workers.map(|path| fs::read_to_string(path).unwrap().matches(text).count()).sum()
}

async fn code(up: &Process) -> Option<i32> {
    let ended = tokio::time::timeout(PATIENCE, up.exited()).await;
    ended.unwrap_or_else(|_| panic!("it goes on and on:\n{}", up.printed())).code()
}

pub(crate) async fn until(up: &Process, what: &str, is: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is() {
        assert!(up.is_running() && Instant::now() < give_up, "not {what}:\n{}", up.printed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn once_it_is_over_with_0_when_all_is_published_and_a_second_time_nothing_is_built_again() {
    let place = Place::new();
    place.package("base", "1.0.0", &json!({"scripts": {"test": "node index.js"}}));
    let stub = json!({"test": "echo \"Error: no test specified\" && exit 1"});
    place.package("top", "2.0.0-rc.1", &json!({"dependencies": {"@own/base": "^1.0.0"}, "scripts": stub}));
    let first = place.up("first", &["--once", "--workers", "1", "--max-concurrent", "2"]);
    assert_eq!(code(&first).await, Some(0), "{}", first.printed());
    let said = first.printed();
    assert!(said.ends_with("\n1 package: no tests.\nAll 2 packages are published.\n"), "{said}");
    assert!(said.contains("2.0.0-rc.1, no tests"), "{said}");
    assert!(place.tarball("base", "1.0.0").is_file() && place.tarball("top", "2.0.0-rc.1").is_file());
    assert_eq!(commands_in(place.folder()), [""; 0]);
    let built = builds(&place);
    assert_eq!(built, 2);
    let second = place.up("second", &["--once", "--max-concurrent", "3"]);
    assert_eq!(code(&second).await, Some(0), "{}", second.printed());
    assert_eq!(builds(&place), built, "{}", second.printed());
    assert!(second.printed().contains("2 workers for 2 builds each"), "3 between 2 workers: {}", second.printed());
    let ports = |text: String| text.lines().find(|line| line.contains("broker")).unwrap().to_owned();
    assert_eq!(ports(first.printed()), ports(second.printed()), "a shell's NATS_URL goes on working");
}

#[tokio::test]
async fn once_it_is_over_with_1_and_a_table_when_something_is_not_published() {
    let place = Place::new();
    place.package("good", "1.0.0", &json!({}));
    place.package("bad", "1.0.0", &json!({"scripts": {"test": "node -e 'process.exit(78)'"}}));
    place.package("needs-bad", "1.0.0", &json!({"dependencies": {"@own/bad": "1.0.0"}}));
    place.package(
        "uses-bad",
        "1.0.0",
        &json!({"devDependencies": {"@own/bad": "1.0.0"}, "scripts": {"test": "node -e 'require(\"@own/bad\")'"}}),
    );
    fs::create_dir(place.workspace().join("packages/broken")).unwrap();
    fs::write(place.workspace().join("packages/broken/package.json"), "{").unwrap();
    let up = place.up("up", &["--once", "--workers", "1"]);
    assert_eq!(code(&up).await, Some(1), "{}", up.printed());
    let said = up.printed();
    assert!(said.contains("2 of 4 packages are not published; left out, as said above: packages/broken"), "{said}");
    assert!(said.contains("pub control.requeue '{\"all\":\"failed\"}'"), "{said}");
    let table = said.split('┌').nth(1).unwrap();
    for part in ["@own/bad", "failed", "test:", "@own/needs-bad", "needs @own/bad, which is failed"] {
        assert!(table.contains(part), "{part} is not in\n{said}");
    }
    assert!(!table.contains("@own/good"), "{said}");
}

#[tokio::test]
async fn while_one_runs_on_a_workspace_another_is_refused_in_one_line() {
    let place = Place::new();
    place.package("base", "1.0.0", &json!({}));
    let up = place.up("first", &[]);
    until(&up, "published", || place.tarball("base", "1.0.0").is_file()).await;
    let another = place.up("another", &[]);
    assert_eq!(code(&another).await, Some(2), "{}", another.printed());
    assert!(another.printed().contains("another `packline up` runs on"), "{}", another.printed());
    up.signal(Signal::SIGTERM);
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
}

/// A connection to the broker that is said.
pub(crate) async fn broker(up: &Process) -> Broker {
    until(up, "up", || up.printed().contains("The line is up")).await;
    let printed = up.printed();
    let url = printed.lines().find_map(|line| line.trim().strip_prefix("broker")).unwrap();
    let url = url.split_whitespace().next().unwrap();
    Broker::connect(&packline_broker::Settings::at(url), "test").await.unwrap()
}

/// Commands as `nats pub` sends them.
async fn command_line(up: &Process, command: &str, body: &serde_json::Value) {
    broker(up).await.publish(Message::json(topology::control(command), body)).await.unwrap();
}

#[tokio::test]
async fn a_paused_line_says_so_and_is_not_waited_for_and_a_drained_one_ends_with_0() {
    let place = Place::new();
    place.package("base", "1.0.0", &json!({}));
    let up = place.up("first", &["--workers", "1"]);
    command_line(&up, "pause", &json!({"by": "ops", "reason": "the disk is full"})).await;
    until(&up, "paused", || up.printed().contains("The line is paused by ops (the disk is full); it goes on with"))
        .await;
    place.package("late", "1.0.0", &json!({}));
    up.signal(Signal::SIGINT);
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
    assert!(up.printed().contains("Stopping; builds get 10 s, Ctrl-C again kills them."), "{}", up.printed());
    let once = place.up("once", &["--once", "--workers", "1"]);
    assert_eq!(code(&once).await, Some(1), "{}", once.printed());
    let end = once.printed();
    let end = end.split('└').nth(1).unwrap();
    assert!(end.contains("The line is paused by ops") && end.contains("packages are not published"), "{end}");
    let drained = place.up("drained", &["--workers", "1"]);
    command_line(&drained, "drain", &json!({})).await;
    assert_eq!(code(&drained).await, Some(0), "{}", drained.printed());
    assert!(drained.printed().contains("Drained; the same command starts it again."), "{}", drained.printed());
    assert!(!place.tarball("late", "1.0.0").is_file());
    assert_eq!(commands_in(place.folder()), [""; 0]);
}

#[tokio::test]
async fn while_it_runs_new_versions_and_packages_are_built_and_after_a_kill_in_the_middle_of_a_build_it_goes_on() {
    let place = Place::new();
    place.package("base", "1.0.0", &json!({}));
    // What a worker that is killed leaves is built again after CLAIM and 5 s.
    let claim = [("CLAIM", "10s")];
    let up = place.up_with("first", &[], &claim);
    until(&up, "published", || place.tarball("base", "1.0.0").is_file()).await;
    place.package("base", "1.1.0", &json!({}));
    place.package("late", "1.0.0", &json!({"dependencies": {"@own/base": "^1.1.0"}}));
    until(&up, "published", || place.tarball("base", "1.1.0").is_file()).await;
    // Where its first attempt came before the report of what it needs, another one follows.
    until(&up, "published", || place.tarball("late", "1.0.0").is_file()).await;
    let before = builds(&place);
    let open = place.folder().join("open");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done", open.display());
    place.package("base", "1.2.0", &json!({"scripts": {"build": waits}}));
    until(&up, "building", || builds(&place) > before).await;
    up.kill().await;
    fs::write(open, "").unwrap();
    let again = place.up_with("again", &["--once", "--max-concurrent", "3"], &claim);
    let state = broker(&again).await.ask(topology::STATE, "").await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&state).unwrap().get("maxConcurrent"), Some(&json!(3)));
    assert_eq!(code(&again).await, Some(0), "{}", again.printed());
    assert!(place.tarball("base", "1.2.0").is_file());
    assert_eq!(commands_in(place.folder()), [""; 0]);
}

#[tokio::test]
async fn once_it_does_not_wait_for_the_catalogue_to_be_told_of_what_it_does_not_hold() {
    let place = Place::new();
    place.package("base", "1.0.0", &json!({}));
    let up = place.up("first", &["--workers", "1"]);
    broker(&up).await.publish(Message::json(topology::packages_new(), &json!({"name": "stranger"}))).await.unwrap();
    let poller = place.workspace().join(".packline/logs/poller.log");
    let refused = || fs::read_to_string(&poller).is_ok_and(|log| log.contains("was not told of stranger"));
    until(&up, "refused", refused).await;
    up.signal(Signal::SIGINT);
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
    let once = place.up("once", &["--once"]);
    assert_eq!(code(&once).await, Some(0), "{}", once.printed());
    assert!(once.printed().contains("The package is published."), "{}", once.printed());
}

#[tokio::test]
async fn a_recipe_builds_otherwise_than_npm_would_each_category_by_its_own_phases() {
    let place = Place::new();
    place.package("code", "1.0.0", &json!({"private": true}));
    place.package("text", "1.0.0", &json!({"private": true, "packline": {"category": "docs"}}));
    let mark = |name: &str| place.folder().join(name);
    let phase = |table: &str, name: &str| {
        format!("[[{table}]]\nname = \"mark\"\nrun = [\"cp\", \"package.json\", {:?}]\n", mark(name))
    };
    let recipe = phase("phase", "built") + &phase("category.docs.phase", "written");
    fs::write(mark("own.toml"), recipe).unwrap();
    let up = place.up("up", &["--once", "--recipe", "own.toml"]);
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
    for (name, package) in [("built", "@own/code"), ("written", "@own/text")] {
        assert!(fs::read_to_string(mark(name)).unwrap().contains(package), "{name}");
    }
    assert!(up.printed().contains("All 2 packages are built (private)."), "{}", up.printed());
}

/// Says that a build of `@own/own`, which is private, ended after all, and what its worker warned of.
async fn said_late(broker: &Broker, serial: u64, warnings: &[&str]) {
    let now = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
    let result = json!({"buildId": format!("own/own.{serial}"), "attempt": 1, "permit": 0, "permitRevision": 1,
        "packageName": "@own/own", "success": true, "outcome": "published", "worker": "host-1", "startedAt": now,
        "finishedAt": now, "version": "1.0.0", "warnings": warnings, "private": true});
    broker.publish(Message::json(topology::builds_result(), &result)).await.unwrap();
}

#[tokio::test]
async fn a_private_package_is_built_and_not_published_and_each_warning_is_said_once() {
    let place = Place::new();
    let open = place.folder().join("open");
    let waits = format!("until [ -e {} ]; do sleep 0.05; done", open.display());
    place.package("own", "1.0.0", &json!({"private": true}));
    place.package("public", "1.0.0", &json!({"scripts": {"build": waits}}));
    let up = place.up("up", &["--once", "--workers", "1"]);
    let is_built = |line: &str| line.starts_with("@own/own") && line.contains("built (private)");
    until(&up, "built", || up.printed().lines().any(is_built)).await;
    let broker = broker(&up).await;
    said_late(&broker, 1, &["types: a.d.ts is missing"]).await;
    until(&up, "warned", || up.printed().contains("\nwarning: @own/own: types: a.d.ts is missing\n")).await;
    said_late(&broker, 2, &["types: a.d.ts is missing", "bin: b.js is missing"]).await;
    until(&up, "warned", || up.printed().contains("\nwarning: @own/own: bin: b.js is missing\n")).await;
    fs::write(open, "").unwrap();
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
    let said = up.printed();
    assert_eq!(said.matches("warning: ").count(), 2, "{said}");
    let end = "1 package had warnings, said above.\nAll 2 packages are done: 1 published, 1 built (private).\n";
    assert!(said.ends_with(end), "{said}");
    assert!(place.tarball("public", "1.0.0").is_file() && !place.tarball("own", "1.0.0").exists());
    let again = place.up("again", &["--once", "--workers", "1"]);
    assert_eq!(code(&again).await, Some(0), "{}", again.printed());
    let said = again.printed();
    assert!(said.ends_with("\nAll 2 packages are done: 1 published, 1 built (private).\n"), "{said}");
    assert!(!said.contains("warning: ") && !said.contains("had warnings"), "they are of an earlier start: {said}");
}

#[tokio::test]
async fn once_ctrl_c_shows_what_has_ended_so_far() {
    let place = Place::new();
    place.package("bad", "1.0.0", &json!({"scripts": {"test": "no-such-program-of-this-machine"}}));
    place.package("needs-bad", "1.0.0", &json!({"dependencies": {"@own/bad": "^1.0.0"}}));
    place.package("slow", "1.0.0", &json!({"scripts": {"build": "node -e 'setInterval(() => {}, 1000)'"}}));
    let up = place.up("up", &["--once"]);
    until(&up, "failed", || up.printed().contains("@own/bad") && up.printed().contains(" failed ")).await;
    until(&up, "building", || up.printed().lines().any(|line| line.contains("@own/slow") && line.contains("build,")))
        .await;
    up.signal(Signal::SIGINT);
    assert_eq!(code(&up).await, Some(1), "{}", up.printed());
    let said = up.printed();
    let table = said.get(said.find('┌').unwrap()..).unwrap();
    for part in ["@own/bad", "no-such-program-of-this-machine: not found;", "@own/needs-bad", "@own/slow", "building"] {
        assert!(table.contains(part), "{part}: {said}");
    }
    let row = table.lines().find(|line| line.contains(" @own/bad ")).unwrap();
    assert!(row.contains(" 1 "), "what cannot pass is not tried again: {said}");
    assert!(table.contains("error: stopped before the end"), "{said}");
}

#[tokio::test]
async fn ctrl_c_stops_everything_and_is_no_failure_and_a_folder_without_workspaces_is_one_line() {
    let place = Place::new();
    let slow = json!({"scripts": {"build": "node -e 'setInterval(() => {}, 1000)'"}});
    place.package("slow", "1.0.0", &slow);
    let up = place.up("up", &[]);
    until(&up, "building", || builds(&place) == 1).await;
    up.signal(Signal::SIGINT);
    assert_eq!(code(&up).await, Some(0), "{}", up.printed());
    assert!(up.printed().contains("the same command goes on where this was"), "{}", up.printed());
    assert_eq!(commands_in(place.folder()), [""; 0]);
    fs::create_dir(place.workspace().join("packages/broken")).unwrap();
    fs::write(place.workspace().join("packages/broken/package.json"), "{").unwrap();
    let early = place.up("early", &[]);
    until(&early, "starting", || early.printed().contains("packages/broken is left out")).await;
    early.signal(Signal::SIGINT);
    assert_eq!(code(&early).await, Some(0), "also during the start: {}", early.printed());
    let handed_back = said_by_workers(&place, "ended as Returned");
    assert_eq!(handed_back, 1, "by the first");
    let built = builds(&place);
    let twice = place.up("twice", &[]);
    until(&twice, "building", || builds(&place) > built).await;
    twice.signal(Signal::SIGINT);
    until(&twice, "stopping", || twice.printed().contains("Ctrl-C again kills them")).await;
    twice.signal(Signal::SIGINT);
    assert_eq!(code(&twice).await, Some(0), "{}", twice.printed());
    assert_eq!(said_by_workers(&place, "ended as Returned"), handed_back, "nothing is handed back, all is killed");
    // Guards outlive their worker by up to a second, to kill what it built.
    let killed = Instant::now() + Duration::from_secs(10);
    while Instant::now() < killed && !commands_in(place.folder()).is_empty() {}
    assert_eq!(commands_in(place.folder()), [""; 0]);
    fs::write(place.workspace().join("package.json"), "{}").unwrap();
    let wrong = place.up("wrong", &[]);
    assert_eq!(code(&wrong).await, Some(2));
    assert!(wrong.printed().contains("has no `workspaces`"), "{}", wrong.printed());
}
