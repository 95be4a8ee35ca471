//! What an operator commands.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    PackageName, SCHEMA, Timestamp,
    package::{kind, whole},
};

/// Whether the line starts builds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Starts what is ready.
    #[default]
    Running,
    /// Starts nothing; running builds go on.
    Paused,
    /// Starts nothing and waits for the running builds.
    Draining,
    /// Drained: every orchestrator that started before this exits.
    Drained,
    /// Starts nothing; every build was killed.
    Stopped,
}

/// As people read it, and as its event is called.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Stopped => "stopped",
        })
    }
}

/// Who commanded, and why, as far as the body said so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One command to the orchestrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "command")]
pub enum Command {
    /// Start nothing new.
    Pause,
    /// Go on; ends draining and stopped too.
    Resume,
    /// Start nothing new, finish, exit.
    Drain,
    /// Kill everything, keep everything.
    EmergencyStop,
    /// Change the global limit.
    AdjustConcurrency {
        /// 1 to 10000.
        max_concurrent: u32,
    },
    /// Drop a package, or kill its build.
    Cancel {
        /// Which.
        package_name: PackageName,
    },
    /// Queue one failed or cancelled package afresh.
    Requeue {
        /// Which.
        package_name: PackageName,
    },
    /// Queue all failed packages afresh.
    RequeueFailed,
    /// For the poller; nothing to do here.
    Poll,
}

/// The largest limit of concurrent builds.
pub const MAX_CONCURRENT: u32 = 10_000;

impl Command {
    /// Reads a command from the last token of its subject and its body.
    ///
    /// # Errors
    /// One line that says what is wrong and what would be right.
    pub fn parse(name: &str, body: &[u8]) -> Result<(Self, Origin), String> {
        let value = typed(body)?;
        let origin = origin(&value)?;
        let plain = |command: Self| match &value {
            Value::Object(_) => Ok(command),
            other => Err(format!("the body is empty or {{\"by\": …, \"reason\": …}}, not {}", kind(other))),
        };
        let command = match name {
            "pause" => plain(Self::Pause)?,
            "resume" => plain(Self::Resume)?,
            "drain" => plain(Self::Drain)?,
            "emergency-stop" | "emergencyStop" => plain(Self::EmergencyStop)?,
            "poll" => plain(Self::Poll)?,
            "adjust-concurrency" | "adjustConcurrency" | "concurrency" => {
                Self::AdjustConcurrency { max_concurrent: limit(&value)? }
            }
            "cancel" => Self::Cancel { package_name: package(&value)? },
            "requeue" => match value.get("all") {
                Some(Value::String(all)) if all == "failed" => Self::RequeueFailed,
                Some(_) => return Err("`all` is \"failed\"".into()),
                None => Self::Requeue { package_name: package(&value)? },
            },
            _ => {
                return Err("a command is one of pause, resume, drain, emergency-stop, adjust-concurrency, cancel, requeue, poll".into());
            }
        };
        Ok((command, origin))
    }
}

/// The wire: what [`Command::parse`] reads.
impl Command {
    /// The last token of its subject, `control.<name>`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Drain => "drain",
            Self::EmergencyStop => "emergency-stop",
            Self::AdjustConcurrency { .. } => "adjust-concurrency",
            Self::Cancel { .. } => "cancel",
            Self::Requeue { .. } | Self::RequeueFailed => "requeue",
            Self::Poll => "poll",
        }
    }

    /// Its body.
    pub fn body(&self, origin: &Origin) -> Value {
        let own = match self {
            Self::Pause | Self::Resume | Self::Drain | Self::EmergencyStop | Self::Poll => None,
            Self::AdjustConcurrency { max_concurrent } => Some(("maxConcurrent", json!(max_concurrent))),
            Self::Cancel { package_name } | Self::Requeue { package_name } => {
                Some(("packageName", json!(package_name)))
            }
            Self::RequeueFailed => Some(("all", json!("failed"))),
        };
        let by = origin.by.as_ref().map(|by| ("by", json!(by)));
        let reason = origin.reason.as_ref().map(|reason| ("reason", json!(reason)));
        let fields = [Some(("schema", json!(SCHEMA))), own, by, reason];
        fields.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A body as a person types it: JSON, or plain text, or nothing.
fn typed(body: &[u8]) -> Result<Value, String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    match packline_json::parse(text.as_bytes()) {
        _ if text.is_empty() => Ok(Value::Object(Map::new())),
        Ok(value) => Ok(value),
        Err(error) if text.starts_with(['{', '[', '"']) => Err(format!("the body is not JSON: {error}")),
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

/// The package that a body names as a person types it: `acme/core`, `"@acme/core"` or
/// `{"packageName": "@acme/core"}`.
///
/// # Errors
/// One line that says what is wrong and what would be right.
pub fn typed_package(body: &[u8]) -> Result<PackageName, String> {
    package(&typed(body)?)
}

fn origin(value: &Value) -> Result<Origin, String> {
    let text = |field: &str| match value.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.chars().take(500).collect())),
        Some(other) => Err(format!("`{field}` is a string, not {}", kind(other))),
    };
    Ok(Origin { by: text("by")?, reason: text("reason")? })
}

fn limit(value: &Value) -> Result<u32, String> {
    let wanted = match value {
        Value::Object(fields) => fields.get("maxConcurrent").unwrap_or(&Value::Null),
        other => other,
    };
    let number = match wanted {
        Value::String(text) => text.trim().parse::<i64>().ok(),
        other => whole(other),
    };
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (1..=MAX_CONCURRENT).contains(number))
        .ok_or_else(|| format!("the body is a whole number from 1 to {MAX_CONCURRENT}, or {{\"maxConcurrent\": it}}"))
}

fn package(value: &Value) -> Result<PackageName, String> {
    let wanted = match value {
        Value::Object(fields) => fields.get("packageName").unwrap_or(&Value::Null),
        other => other,
    };
    match wanted {
        Value::String(name) => PackageName::from_typed(name).map_err(|error| error.to_string()),
        _ => Err("the body is a package: acme/core, \"@acme/core\" or {\"packageName\": \"@acme/core\"}".into()),
    }
}

/// The last command that was applied, for `orchestrator.state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastControl {
    /// What.
    #[serde(flatten)]
    pub command: Command,
    /// Who and why.
    #[serde(flatten)]
    pub origin: Origin,
    /// When it was applied.
    pub at: Timestamp,
    /// Its sequence in `CONTROL`.
    #[serde(default)]
    pub sequence: u64,
    /// What it did, in one line for people.
    #[serde(default)]
    pub effect: String,
    /// Whether it changed nothing, as `effect` says why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchanged: bool,
    /// Whether all that it withdraws is withdrawn.
    pub complete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core() -> PackageName {
        "@acme/core".parse().unwrap()
    }

    fn ada() -> Origin {
        Origin { by: Some("ada".into()), reason: Some("release".into()) }
    }

    #[test]
    fn every_command_is_read_as_it_is_written() {
        let name = core();
        for command in [
            Command::Pause,
            Command::Resume,
            Command::Drain,
            Command::EmergencyStop,
            Command::AdjustConcurrency { max_concurrent: 8 },
            Command::Cancel { package_name: name.clone() },
            Command::Requeue { package_name: name },
            Command::RequeueFailed,
            Command::Poll,
        ] {
            for who in [Origin::default(), ada()] {
                let body = command.body(&who).to_string();
                assert_eq!(Command::parse(command.name(), body.as_bytes()), Ok((command.clone(), who)), "{body}");
            }
        }
    }

    #[test]
    fn commands_are_read_as_people_type_them() {
        let limit = |body: &str| Command::parse("adjust-concurrency", body.as_bytes()).map(|(command, _)| command);
        for body in ["8", "\"8\"", " 8\n", "{\"maxConcurrent\": 8}", "{\"maxConcurrent\": \"8\"}", "8.0"] {
            assert_eq!(limit(body), Ok(Command::AdjustConcurrency { max_concurrent: 8 }), "{body}");
        }
        for body in ["", "0", "-1", "10001", "8.5", "lots", "[8]", "{}", "1e99"] {
            assert!(limit(body).unwrap_err().contains("1 to 10000"), "{body}");
        }
        let cancel = Command::Cancel { package_name: "@acme/core".parse().unwrap() };
        for body in ["acme/core", "\"@acme/core\"", "{\"packageName\": \"@acme/core\", \"by\": \"ada\"}"] {
            assert_eq!(Command::parse("cancel", body.as_bytes()).unwrap().0, cancel, "{body}");
        }
        assert_eq!(Command::parse("requeue", b"{\"all\": \"failed\"}").unwrap().0, Command::RequeueFailed);
        assert!(Command::parse("requeue", b"{\"all\": \"x\"}").is_err());
        assert_eq!(Command::parse("emergencyStop", b"").unwrap().0, Command::EmergencyStop);
        let (command, who) = Command::parse("pause", b"{\"by\": \"ada\", \"reason\": \"release\"}").unwrap();
        assert_eq!((command, who), (Command::Pause, ada()));
        for (name, body) in
            [("pause", "{"), ("pause", "[1]"), ("pause", "{\"by\": 3}"), ("stop", ""), ("cancel", "../x")]
        {
            let reason = Command::parse(name, body.as_bytes()).unwrap_err();
            assert!(!reason.contains('\n'), "{reason}");
        }
    }
}
