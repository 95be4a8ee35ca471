//! What is shown of given records: no broker, no clock.

use packline_domain::{PackageName, Timestamp};
use serde_json::{Value, json};

use super::expected;
use crate::view::{board::Board, row, standing::Standing, standings::Standings, table};

const T0: i64 = 1_700_000_000_000;

fn time(seconds: i64) -> String {
    Timestamp::from_millis(T0 + seconds * 1000).to_string()
}

fn note(board: &mut Board, key: &str, value: &Value) {
    board.note(key, Some(value.to_string().as_bytes())).unwrap();
}

fn queue(board: &mut Board, name: &str, dependencies: &[&str], state: Value) {
    let mut record = json!({ "package": { "name": name, "dependencies": dependencies }, "arrival": 1, "commit": 1,
        "queuedAt": time(0), "announcedAt": time(0) });
    record.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
    note(board, &format!("queue.{}", name.trim_start_matches('@')), &record);
}

fn tried(board: &mut Board, name: &str, attempts: u32, error: Option<&str>) {
    let attempts: Vec<Value> = (1..=attempts)
        .map(|n| {
            let mut attempt = json!({ "buildId": format!("{}.{n}", name.trim_start_matches('@')), "attempt": n,
                "worker": "w-1", "startedAt": time(1), "finishedAt": time(2) });
            if let Some(error) = error {
                attempt["class"] = json!("own");
                attempt["error"] = json!(error);
                attempt["failedPhase"] = json!("test");
            }
            attempt
        })
        .collect();
    note(board, &format!("retries.{}", name.trim_start_matches('@')), &json!({ "attempts": attempts }));
}

/// The line at its end, as it must be.
fn end() -> Board {
    let mut board = Board::default();
    let published = json!({ "state": "published", "version": "1.0.0" });
    let failed = json!({ "state": "failed", "error": "\nstatus 1\nnot ok 2 - four is IV", "failedPhase": "test" });
    let queued = json!({ "state": "queued" });
    for (name, dependencies, state) in [
        ("@demo/text", vec![], &published),
        ("@demo/case", vec!["@demo/text"], &published),
        ("@demo/wrap", vec!["@demo/text"], &published),
        ("@demo/banner", vec!["@demo/case", "@demo/wrap"], &published),
        ("@demo/roman", vec![], &failed),
        ("@demo/clock", vec!["@demo/roman"], &queued),
        ("@demo/egg", vec![], &published),
        ("@demo/hen", vec!["@demo/egg"], &published),
    ] {
        queue(&mut board, name, &dependencies, state.clone());
    }
    for name in ["@demo/text", "@demo/case", "@demo/banner", "@demo/egg", "@demo/hen"] {
        tried(&mut board, name, 1, None);
    }
    tried(&mut board, "@demo/wrap", 3, None);
    tried(&mut board, "@demo/roman", 3, Some("status 1"));
    board
}

fn standing(board: &Board, name: &str) -> Standing {
    Standings::of(board).get(name).unwrap().clone()
}

#[test]
fn the_table_gives_the_reason_of_each_that_is_not_published() {
    let board = end();
    let table = table::table(expected::names(), &board, &std::collections::BTreeMap::new());
    let line = |name: &str| table.lines().find(|line| line.contains(&format!(" {name} "))).unwrap().to_owned();
    assert!(line("@demo/wrap").contains("published") && line("@demo/wrap").contains(" 3 "), "{table}");
    assert!(line("@demo/roman").contains("test: status 1"), "{table}");
    assert!(line("@demo/clock").contains("needs @demo/roman, which is failed"), "{table}");
    assert!(line("@demo/hen").contains("published"), "{table}");
    assert_eq!(expected::verdict(&board), "6 of 8 packages are published; each outcome is the expected one.");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn every_way_to_differ_from_what_is_expected_is_said() {
    assert_eq!(expected::differences(&end()), Vec::<String>::new());
    let mut board = end();
    tried(&mut board, "@demo/wrap", 2, None);
    queue(&mut board, "@demo/clock", &["@demo/roman"], json!({ "state": "cancelled" }));
    board.note("queue.demo/egg", None).unwrap();
    let permit = json!({ "packageName": "@demo/text", "buildId": "demo/text.9", "attempt": 1, "grantedAt": time(5) });
    note(&mut board, "permits.3", &permit);
    let said = expected::differences(&board).join("\n");
    for line in [
        "@demo/egg never reached the queue",
        "@demo/wrap is published after 2 attempts; expected: published after 3",
        "@demo/clock is cancelled after 0 attempts; expected: blocked after 0",
        "permit 3 is still held by @demo/text",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
}

#[test]
fn the_catalogue_is_expected_to_know_what_is_final_and_nothing_else() {
    let said = |name: &str, status: &str| json!({ "name": name, "status": status });
    let mut packages = vec![said("@demo/roman", "failed")];
    packages.extend(
        ["text", "case", "wrap", "banner", "egg", "hen"].map(|name| said(&format!("@demo/{name}"), "published")),
    );
    packages.extend(["clock"].map(|name| said(&format!("@demo/{name}"), "ready")));
    assert_eq!(expected::differences_in_catalogue(&packages), Vec::<String>::new());
    packages.remove(0);
    let lines = expected::differences_in_catalogue(&packages);
    assert_eq!(lines, ["the catalogue says nothing of @demo/roman; expected: failed"]);
}

#[test]
fn a_row_shows_who_builds_what_in_which_phase_and_for_how_long() {
    let mut board = Board::default();
    let building = json!({ "state": "building", "buildId": "demo/text.7", "permit": 0 });
    queue(&mut board, "@demo/text", &[], building);
    queue(&mut board, "@demo/case", &["@demo/text"], json!({ "state": "queued" }));
    let permit = json!({ "packageName": "@demo/text", "buildId": "demo/text.7", "attempt": 2, "grantedAt": time(10),
        "worker": "host-ab" });
    note(&mut board, "permits.0", &permit);
    let worker = json!({ "host": "host", "version": "0.1.0", "slots": 2, "claimMillis": 30_000, "since": time(0),
        "builds": [{ "buildId": "demo/text.7", "permit": 0, "phase": "install" }] });
    board.note_worker("host-ab", Some(worker.to_string().as_bytes())).unwrap();
    let rows = row::rows(expected::names(), &board, Timestamp::from_millis(T0 + 12_500));
    let lines: Vec<String> = rows.iter().take(3).map(|row| row.line(100)).collect();
    let expected = [
        "@demo/text    building      attempt 2   2.5 s  install, host-ab",
        "@demo/case    waiting                          waits for @demo/text",
        "@demo/wrap    not announced",
    ];
    assert_eq!(lines, expected);
    board.note_worker("host-ab", None).unwrap();
    assert_eq!(row::rows(expected::names(), &board, Timestamp::from_millis(T0))[0].phase, "");
}

#[test]
fn a_retrying_package_shows_what_went_wrong_last() {
    let mut board = Board::default();
    queue(&mut board, "@demo/wrap", &[], json!({ "state": "retrying", "until": time(9) }));
    tried(&mut board, "@demo/wrap", 2, Some("attempt 2: not today\nat line 3"));
    let rows = row::rows(expected::names(), &board, Timestamp::from_millis(T0));
    let row = rows.iter().find(|row| row.name == "@demo/wrap").unwrap();
    assert_eq!((row.state, row.attempt, row.reason.as_str()), ("retrying", 2, "test: attempt 2: not today"));
}

#[test]
fn what_follows_from_other_packages_is_blocked_waiting_or_a_cycle() {
    let mut board = Board::default();
    let queued = || json!({ "state": "queued" });
    queue(&mut board, "a", &["b", "unknown"], queued());
    queue(&mut board, "b", &["c"], queued());
    queue(&mut board, "c", &[], queued());
    queue(&mut board, "self", &["self"], queued());
    queue(&mut board, "after", &["self"], queued());
    let name = |text: &str| text.parse::<PackageName>().unwrap();
    assert_eq!(standing(&board, "a"), Standing::Waiting { on: name("b") });
    assert_eq!(standing(&board, "c"), Standing::Queued);
    assert_eq!(standing(&board, "self"), Standing::Unresolvable { cycle: vec![name("self")], length: 1 });
    assert_eq!(standing(&board, "after"), Standing::Blocked { on: name("self"), which_is: "unresolvable" });
    queue(&mut board, "c", &[], json!({ "state": "failed", "error": "" }));
    assert_eq!(standing(&board, "a"), Standing::Blocked { on: name("b"), which_is: "blocked" });
    assert_eq!(standing(&board, "c").to_string(), "no reason given");
    queue(&mut board, "c", &[], json!({ "state": "published" }));
    assert_eq!(standing(&board, "b"), Standing::Queued);
}
