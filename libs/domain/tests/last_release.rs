//! What programs of 766d1c3 write is read here, and what is written here is read by them.
//!
//! New things on the wire and in records are optional fields, never new values of an enum. A program of 766d1c3 that
//! rewrites a record drops the fields that it does not know, so any of them may be missing at any time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use packline_domain as new;
use packline_domain_766d1c3 as old;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What a program makes of JSON that it reads and writes again.
type Through = fn(&Value) -> Result<Value, String>;

fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, String> {
    let read: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(read).map_err(|error| error.to_string())
}

/// One kind of message, record or answer.
struct Kind {
    name: &'static str,
    new: Through,
    old: Through,
}

/// A line for each type: what the golden files of it begin with, and where it stands in both crates.
macro_rules! kinds {
    ($($name:literal $($path:ident)::+ $(<$life:lifetime>)?;)+) => {
        [$(Kind {
            name: $name,
            new: through::<new::$($path)::+ $(<$life>)?>,
            old: through::<old::$($path)::+ $(<$life>)?>,
        }),+]
    };
}

/// A type that 766d1c3 has. One that is new since then has no line: it is named in [`NEW`].
const KINDS: [Kind; 18] = kinds! {
    "poll" message::PollAnnouncement;
    "order" BuildOrder;
    "result" BuildResult;
    "status" PackageStatus;
    "event" Event;
    "leader" record::Leader;
    "control" record::Control;
    "queue" record::Queue;
    "permit" record::Permit;
    "retries" record::Retries;
    "intention" record::Intention;
    "effects" effect::EffectsRecord<'static>;
    "worker" record::Worker;
    "last_poll" record::LastPoll;
    "answers__state" answer::State;
    "answers__queue" answer::Queue;
    "answers__why" answer::Why;
    "answers__history" answer::History;
};

/// What the golden files of types begin with that 766d1c3 does not have.
const NEW: [&str; 0] = [];

/// The values of an enum as the error about one that it does not have lists them; the tag of the enum, where it has one.
macro_rules! enums {
    ($($tag:literal $($path:ident)::+;)+) => {
        [$((stringify!($($path)::+), $tag, values::<new::$($path)::+>($tag), values::<old::$($path)::+>($tag))),+]
    };
}

fn values<T: DeserializeOwned>(tag: &str) -> BTreeSet<String> {
    let nothing = if tag.is_empty() { json!("?") } else { json!({ tag: "?" }) };
    let error = serde_json::from_value::<T>(nothing).err().unwrap().to_string();
    let listed = error.split_once("expected ").unwrap_or_else(|| panic!("{error}")).1;
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn kind(golden: &str) -> Option<&'static Kind> {
    let is_of =
        |kind: &&Kind| golden.strip_prefix(kind.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    KINDS.iter().find(is_of)
}

/// Whether `whole` says all that `part` says.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(field, value)| whole.get(field).is_some_and(|other| contains(other, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        (whole, part) => whole == part,
    }
}

/// The golden values in a folder of snapshots, by the names of their files from `answers__` or behind `wire__` on.
fn golden(folder: &Path) -> BTreeMap<String, Value> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let snapshots = files.filter(|path| path.extension().is_some_and(|end| end == "snap"));
    let value = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        serde_json::from_str(text.splitn(3, "---\n").nth(2).unwrap()).unwrap()
    };
    let name = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (_, name) = name.split_once("wire__").or(name.find("answers__").map(|at| name.split_at(at))).unwrap();
        name.to_owned()
    };
    snapshots.map(|path| (name(&path), value(&path))).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn fixture() -> PathBuf {
    root().join("../../tests/fixtures/766d1c3")
}

/// What this release writes, and an example of what only `effects.<i>` holds.
fn ours() -> BTreeMap<String, Value> {
    let mut golden = golden(&root().join("tests/snapshots"));
    let sent = |name: &str| golden.get(name).unwrap_or_else(|| panic!("no golden {name}")).clone();
    let effects =
        json!([{"order": sent("order")}, {"status": sent("status")}, {"event": sent("event")}, {"wake": "w"}]);
    golden.insert("effects".into(), json!({"schema": 1, "commit": 3, "part": 0, "effects": effects}));
    golden
}

#[test]
fn what_is_written_now_is_read_by_766d1c3_and_what_that_writes_of_it_is_read_again() {
    for (name, value) in ours() {
        if NEW.iter().any(|new| name.starts_with(new)) {
            continue;
        }
        let kind = kind(&name).unwrap_or_else(|| panic!("{name}: give its type a line in KINDS"));
        let rewritten = (kind.old)(&value).unwrap_or_else(|error| panic!("766d1c3 does not read {name}: {error}"));
        assert!(contains(&value, &rewritten), "766d1c3 reads {name} as {rewritten}");
        let again = (kind.new)(&rewritten).unwrap_or_else(|error| panic!("{name} as 766d1c3 rewrites it: {error}"));
        assert!(contains(&again, &rewritten), "{name}: {rewritten} is read as {again}");
    }
}

#[test]
fn what_766d1c3_writes_is_read_now_and_what_is_written_of_it_says_the_same_to_766d1c3() {
    let frozen = golden(&fixture().join("golden"));
    assert_eq!(frozen.len(), 25, "every golden file of that commit");
    for (name, value) in frozen {
        both_ways(kind(&name).unwrap(), &name, &value);
    }
}

fn both_ways(kind: &Kind, what: &str, value: &Value) {
    let meant = (kind.old)(value).unwrap_or_else(|error| panic!("766d1c3 wrote {what} itself: {error}"));
    let written = (kind.new)(value).unwrap_or_else(|error| panic!("{what} of 766d1c3 cannot be read: {error}"));
    assert!(contains(&written, &meant), "{what}: of {value} only {written} is kept");
    let read = (kind.old)(&written).unwrap_or_else(|error| panic!("766d1c3 does not read {what}: {error}: {written}"));
    assert_eq!(read, meant, "{what}");
}

/// The kind of what was recorded on a subject; none where it is no JSON of ours.
fn recorded_kind(subject: &str) -> Option<&str> {
    let key = |bucket: &str| subject.strip_prefix("$KV.").and_then(|key| key.strip_prefix(bucket));
    if let Some(key) = key("orchestrator.") {
        assert_eq!(key.parse::<new::record::Key>().unwrap().to_string(), key);
        assert_eq!(key.parse::<old::record::Key>().unwrap().to_string(), key);
        let kind = key.split('.').next().unwrap();
        return Some(if kind == "permits" { "permit" } else { kind });
    }
    match (key("poller."), key("workers.")) {
        (Some("leader"), _) => return Some("leader"),
        (Some("last"), _) => return Some("last_poll"),
        // The record of a report that was refused is the poller's own.
        (Some(other), _) => return other.strip_prefix("refused.").map(|_| "refused"),
        (_, Some(_)) => return Some("worker"),
        (None, None) => {}
    }
    match subject {
        "builds.start" => Some("order"),
        "builds.result" => Some("result"),
        "packages.status" => Some("status"),
        event if event.starts_with("events.") => Some("event"),
        _ => None,
    }
}

#[test]
fn all_that_a_pipeline_of_766d1c3_held_is_read_now_and_says_the_same_to_766d1c3_afterwards() {
    let mut seen = BTreeSet::new();
    for file in fs::read_dir(fixture().join("pipeline")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|end| end != "jsonl") {
            continue;
        }
        for line in fs::read_to_string(&file).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let (subject, data) = (line["subject"].as_str().unwrap(), line["data"].as_str().unwrap());
            let what = format!("{subject} at {}", line["seq"]);
            match recorded_kind(subject) {
                Some("refused") => {
                    let record: Value = serde_json::from_str(data).unwrap();
                    both_ways(kind("status").unwrap(), &what, &record["report"]);
                }
                Some(name) => {
                    seen.insert(name.to_owned());
                    both_ways(kind(name).unwrap(), &what, &serde_json::from_str(data).unwrap());
                }
                None if subject == "packages.new" => {
                    let (old, new) =
                        (old::Announcement::parse(data.as_bytes()), new::Announcement::parse(data.as_bytes()));
                    assert_eq!(json!(old.packages), json!(new.packages), "{what}");
                    assert_eq!(old.reported_through, new.reported_through, "{what}");
                    assert_eq!(old.refused.len(), new.refused.len(), "{what}");
                }
                None if subject.starts_with("control.") => {
                    let name = subject.strip_prefix("control.").unwrap();
                    let (old, new) = (
                        old::Command::parse(name, data.as_bytes()).map(|(command, who)| command.body(&who)),
                        new::Command::parse(name, data.as_bytes()).map(|(command, who)| command.body(&who)),
                    );
                    assert_eq!(old, new, "{what}");
                }
                None if subject.starts_with("builds.log.") => {
                    let header = |name: &str| line["headers"][name].as_str();
                    let (old, new) = (old::LogEntry::parse(header), new::LogEntry::parse(header));
                    assert_eq!(old.headers(1), new.headers(1), "{what}");
                }
                None => assert!(subject.starts_with("dead."), "{what} is of no kind"),
            }
        }
    }
    let kinds: Vec<_> = seen.iter().map(String::as_str).collect();
    let all = [
        "control",
        "effects",
        "event",
        "intention",
        "last_poll",
        "leader",
        "order",
        "permit",
        "queue",
        "result",
        "retries",
        "status",
        "worker",
    ];
    assert_eq!(kinds, all, "all kinds are recorded");
}

#[test]
fn no_enum_has_other_values_than_in_766d1c3() {
    let enums = enums! {
        "" Outcome;
        "" FailureClass;
        "" Mode;
        "" StatusKind;
        "" message::PhaseStatus;
        "" Effect;
        "command" Command;
        "state" record::State;
        "why" record::Ending;
        "what" record::Intended;
        "" answer::Standing;
        "" answer::Stall;
        "" answer::WorkerState;
        "kind" answer::Reason;
    };
    for (name, _, new, old) in enums {
        assert!(!old.is_empty(), "{name}");
        assert_eq!(new, old, "{name}: programs of 766d1c3 cannot read a new value, nor do without an old one");
    }
}

/// The fields of a value, each by its path.
fn fields(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(all) => {
            for (field, value) in all {
                let path = format!("{path}/{}", field.replace('~', "~0").replace('/', "~1"));
                fields(value, &path, into);
                into.insert(path);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| fields(item, &format!("{path}/{i}"), into))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn all_fields(value: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    fields(value, "", &mut all);
    all
}

fn without(value: &Value, path: &str) -> Value {
    let mut less = value.clone();
    let (parent, field) = path.rsplit_once('/').unwrap();
    let field = field.replace("~1", "/").replace("~0", "~");
    less.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(&field);
    less
}

/// A new field comes under this test when the golden value of its type has it, in `tests/wire.rs` or `tests/answers.rs`.
#[test]
fn each_field_that_766d1c3_does_not_know_may_be_missing() {
    let frozen = golden(&fixture().join("golden"));
    for (name, value) in ours() {
        let Some(kind) = kind(&name) else { continue };
        let known = (kind.old)(&value).map(|known| all_fields(&known)).unwrap_or_default();
        let before = frozen.get(&name).map(all_fields).unwrap_or_default();
        for field in all_fields(&value).into_iter().filter(|field| !known.contains(field) && !before.contains(field)) {
            let read = (kind.new)(&without(&value, &field));
            assert!(read.is_ok(), "{name} without {field}: {read:?}");
        }
    }
}

#[test]
fn a_field_is_found_by_its_path_and_taken_out() {
    let value = json!({"a": [{"b/c": 1, "d": 2}], "e": null});
    let all = all_fields(&value);
    assert_eq!(all.iter().map(String::as_str).collect::<Vec<_>>(), ["/a", "/a/0/b~1c", "/a/0/d", "/e"]);
    assert_eq!(without(&value, "/a/0/b~1c"), json!({"a": [{"d": 2}], "e": null}));
    assert!(contains(&value, &json!({"a": [{"d": 2}]})) && !contains(&value, &json!({"a": []})));
}
