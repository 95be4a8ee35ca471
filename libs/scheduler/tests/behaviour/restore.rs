//! A scheduler from its records, and records that cannot be.

use std::time::Duration;

use packline_domain::{
    Outcome, Timestamp,
    record::{Ending, Key, Record, State},
};
use packline_scheduler::{Impossible, Scheduler, Standing, invariant};

use crate::line::{Line, name, package};

/// One package in each of several states.
fn busy() -> Line {
    let mut line = Line::of(2);
    line.announce(&[
        package("taken", 9, &[]),
        package("retrying", 5, &[]),
        package("blocked", 0, &["taken"]),
        package("x", 0, &["y"]),
        package("y", 0, &["x"]),
        package("ordered", 1, &[]),
    ]);
    line.dispatch();
    line.take_order("taken", "w");
    line.build("retrying", Outcome::Failed);
    line.dispatch();
    line
}

fn impossible(line: &Line, change: impl FnOnce(&mut std::collections::BTreeMap<Key, Record>)) -> Impossible {
    let mut records = line.bucket.clone();
    change(&mut records);
    Scheduler::restore(line.config.clone(), records, 0, line.now.at).unwrap_err()
}

#[test]
fn the_records_alone_give_back_the_same_line() {
    let line = busy();
    let restored = line.restored();
    invariant::check(&restored).unwrap();
    assert_eq!(restored.records().collect::<Vec<_>>(), line.scheduler.records().collect::<Vec<_>>());
    assert_eq!(restored.counts(), line.scheduler.counts());
    for text in ["taken", "retrying", "blocked", "x", "y", "ordered"] {
        assert_eq!(restored.standing(&name(text)), line.standing(text));
        assert_eq!(restored.priority(&name(text)), line.scheduler.priority(&name(text)));
    }
    assert_eq!(restored.serial(), line.scheduler.serial());
}

#[test]
fn times_too_far_ahead_are_read_as_the_longest_pause() {
    let mut line = busy();
    let far = Timestamp::from_millis(i64::MAX);
    let Some(Record::Queue(queue)) = line.bucket.get_mut(&Key::Queue(name("retrying"))) else { panic!() };
    queue.state = State::Retrying { until: far };
    queue.announced_at = far;
    let restored = line.restored();
    let longest = line.now.at.after(line.config.retry_max);
    assert_eq!(restored.retrying().collect::<Vec<_>>(), [(&name("retrying"), longest)]);
    assert_eq!(restored.package(&name("retrying")).unwrap().announced_at, longest);
}

#[test]
fn a_build_under_way_has_its_whole_time_from_the_restart() {
    let mut line = busy();
    line.now.at = line.now.at.after(Duration::from_secs(3000));
    line.scheduler = line.restored();
    line.pass(Duration::from_secs(3599));
    assert!(line.scheduler.plan_withdrawal(&line.now, 100).is_none());
    line.pass(Duration::from_secs(1));
    assert!(line.scheduler.plan_withdrawal(&line.now, 100).is_some());
}

#[test]
fn a_retry_that_came_due_meanwhile_is_ready() {
    let mut line = busy();
    line.now.at = line.now.at.after(Duration::from_secs(3600));
    assert_eq!(line.restored().standing(&name("retrying")), Some(Standing::Ready));
}

#[test]
fn an_impossible_record_is_named_by_its_key() {
    let line = busy();
    let permit = Key::Permit(line.permit_of("taken").unwrap());
    let queue = |text: &str| Key::Queue(name(text));
    let cases: Vec<(&str, Impossible)> = vec![
        ("control", impossible(&line, |records| drop(records.remove(&Key::Control)))),
        ("permits.0", impossible(&line, |records| drop(records.remove(&queue("taken"))))),
        ("queue.t/taken", impossible(&line, |records| drop(records.remove(&permit)))),
        ("retries.t/retrying", impossible(&line, |records| drop(records.remove(&queue("retrying"))))),
        (
            "queue.t/other",
            impossible(&line, |records| {
                let record = records.get(&queue("x")).unwrap().clone();
                records.insert(queue("other"), record);
            }),
        ),
        (
            "queue.t/x",
            impossible(&line, |records| {
                let record = records.get(&Key::Control).unwrap().clone();
                records.insert(queue("x"), record);
            }),
        ),
        (
            "permits.7",
            impossible(&line, |records| {
                let record = records.get(&permit).unwrap().clone();
                records.insert(Key::Permit(7), record);
            }),
        ),
        (
            "permits.0",
            impossible(&line, |records| {
                let Some(Record::Permit(record)) = records.get_mut(&permit) else { panic!() };
                record.worker = None;
                record.ending = Some(Ending::Stop);
            }),
        ),
        (
            "queue.t/taken",
            impossible(&line, |records| {
                let Some(Record::Permit(record)) = records.get_mut(&permit) else { panic!() };
                record.build_id.serial += 1;
            }),
        ),
        (
            "control",
            impossible(&line, |records| {
                let Some(Record::Control(record)) = records.get_mut(&Key::Control) else { panic!() };
                record.max_concurrent = 0;
            }),
        ),
        (
            "permits.4000000000",
            impossible(&line, |records| {
                let record = records.get(&permit).unwrap().clone();
                records.insert(Key::Permit(4_000_000_000), record);
            }),
        ),
    ];
    for (key, found) in cases {
        assert_eq!(found.key.to_string(), key, "{found}");
        assert!(
            found.to_string().starts_with(&format!("the record `{key}` of the bucket orchestrator is impossible: "))
        );
    }
}

#[test]
fn records_survive_their_json() {
    let line = busy();
    for (key, record) in &line.bucket {
        let json = record.encode().unwrap();
        assert_eq!(Record::decode(&key.to_string().parse().unwrap(), &json).unwrap().as_ref(), Some(record));
    }
}
