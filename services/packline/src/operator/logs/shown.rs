//! Where a log goes: lines for a person, or objects for a program.

use packline_broker::Stored;
use packline_domain::{LogEntry, Outcome};
use serde_json::{Value, json};

use super::{
    fold::{Folded, Style},
    target::Build,
};
use crate::{operator::clean::Cleaner, say_as_it_is};

/// Prints one log.
pub(super) struct Shown {
    folded: Folded,
    /// Said with each object, where objects are wanted.
    of: Option<Value>,
    only: Option<String>,
    empty: bool,
}

impl Shown {
    pub(super) fn new(build: &Build, style: Style, objects: bool) -> Self {
        let only = style.only.clone();
        let of =
            objects.then(|| json!({"packageName": build.id.package, "buildId": build.id, "attempt": build.number}));
        Self { folded: Folded::new(style), of, only, empty: true }
    }

    /// Prints what is shown of the next message.
    pub(super) fn take(&mut self, entry: &LogEntry, message: &Stored) -> anyhow::Result<()> {
        self.empty = false;
        let lines = self.folded.take(entry, &message.payload);
        match &self.of {
            None => print(&lines),
            Some(of) => print(&objects(of, self.only.as_deref(), entry, message)),
        }
    }

    /// All of the past was said.
    pub(super) fn go_live(&mut self) -> anyhow::Result<()> {
        let lines = self.folded.go_live();
        if self.of.is_none() { print(&lines) } else { Ok(()) }
    }

    /// So many messages are not there.
    pub(super) fn missing(&mut self, count: u64) -> anyhow::Result<()> {
        let lines = self.folded.missing(count);
        match &self.of {
            None => print(&lines),
            Some(of) => print(&[with(of, json!({"missing": count}))]),
        }
    }

    /// Whether the log has nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    /// How the build ended, as the log says.
    pub(super) fn over(&self) -> Option<Outcome> {
        self.folded.over
    }

    /// The phases there were.
    pub(super) fn phases(&self) -> &[String] {
        &self.folded.phases
    }
}

/// Several lines are one write.
fn print(lines: &[String]) -> anyhow::Result<()> {
    if lines.is_empty() { Ok(()) } else { say_as_it_is(&lines.join("\n")) }
}

fn objects(of: &Value, only: Option<&str>, entry: &LogEntry, message: &Stored) -> Vec<String> {
    let at = message.stored_at;
    let wanted = |phase: &str| only.is_none_or(|only| only == phase);
    match entry {
        LogEntry::Lines { phase } if wanted(phase) => {
            let mut cleaner = Cleaner::new(false);
            let lines = message.payload.split(|byte| *byte == b'\n').map(|line| cleaner.line(line));
            lines.map(|line| with(of, json!({"at": at, "phase": phase, "line": line}))).collect()
        }
        LogEntry::Began { phase } if wanted(phase) => {
            vec![with(of, json!({"at": at, "phase": phase, "status": "running"}))]
        }
        LogEntry::Ended(report) if wanted(&report.name) => {
            let mut fields =
                json!({"at": at, "phase": report.name, "status": report.status, "seconds": report.seconds});
            if let Some(fields) = fields.as_object_mut() {
                fields.extend(report.exit_code.map(|code| ("exitCode".into(), json!(code))));
                fields.extend(report.reason.as_ref().map(|reason| ("reason".into(), json!(reason))));
                fields.extend(report.warning.then(|| ("warning".into(), json!(true))));
            }
            vec![with(of, fields)]
        }
        LogEntry::Over { outcome, private } => {
            let error = Cleaner::new(false).line(&message.payload);
            let error = if error.is_empty() { json!({}) } else { json!({"error": error}) };
            let mut fields = json!({"at": at, "outcome": outcome});
            if let (Some(fields), true) = (fields.as_object_mut(), private) {
                fields.insert("private".into(), true.into());
            }
            vec![with(&with_value(of, fields), error)]
        }
        LogEntry::Lines { .. } | LogEntry::Began { .. } | LogEntry::Ended(_) => Vec::new(),
    }
}

fn with_value(of: &Value, fields: Value) -> Value {
    let mut object = of.clone();
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        object.extend(fields);
    }
    object
}

fn with(of: &Value, fields: Value) -> String {
    with_value(of, fields).to_string()
}
