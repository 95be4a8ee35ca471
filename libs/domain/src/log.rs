//! What the messages of a build's log say beside its lines, in their headers.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Outcome,
    message::{PhaseReport, PhaseStatus},
    text::one_line,
};

/// The phase that a message is about.
pub const PHASE: &str = "Phase";
/// The number of a message in the log of its build, from 1. One that comes again has the number of before.
pub const NUMBER: &str = "Number";
/// `running` where a phase begins; how it ended where it ends.
pub const STATUS: &str = "Status";
/// How long a phase took.
pub const SECONDS: &str = "Seconds";
/// The exit status of a phase that ended by itself.
pub const EXIT_CODE: &str = "Exit-Code";
/// How the build ended: the log is complete.
pub const OUTCOME: &str = "Outcome";
/// `true` beside an outcome: the package is private, so it was built and not published.
pub const PRIVATE: &str = "Private";

/// Why a phase was skipped.
pub const REASON: &str = "Reason";
/// `true` beside the status of a phase that failed while its build went on.
pub const WARNING: &str = "Warning";

const RUNNING: &str = "running";

/// What one message of a build's log is.
#[derive(Clone, Debug, PartialEq)]
pub enum LogEntry {
    /// Lines, as a phase printed them.
    Lines {
        /// Which.
        phase: String,
    },
    /// A phase begins; no body.
    Began {
        /// Which.
        phase: String,
    },
    /// A phase is over; no body.
    Ended(PhaseReport),
    /// The build is over, and this is the last message; why it failed is the body.
    Over {
        /// How it ended.
        outcome: Outcome,
        /// It was built, and not published, because its package is private.
        private: bool,
    },
}

impl LogEntry {
    /// The headers of the message with this number.
    pub fn headers(&self, number: u64) -> Vec<(String, String)> {
        let mut headers = vec![(NUMBER, number.to_string())];
        match self {
            Self::Lines { phase } => headers.push((PHASE, phase.clone())),
            Self::Began { phase } => headers.extend([(PHASE, phase.clone()), (STATUS, RUNNING.to_owned())]),
            Self::Ended(report) => {
                headers.extend([(PHASE, report.name.clone()), (STATUS, word(&report.status))]);
                headers.push((SECONDS, report.seconds.to_string()));
                headers.extend(report.exit_code.map(|code| (EXIT_CODE, code.to_string())));
                headers.extend(report.reason.as_ref().map(|reason| (REASON, one_line(reason))));
                headers.extend(report.warning.then(|| (WARNING, true.to_string())));
            }
            Self::Over { outcome, private } => {
                headers.push((OUTCOME, word(outcome)));
                headers.extend(private.then(|| (PRIVATE, true.to_string())));
            }
        }
        headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Reads the headers of a message. What is not understood is lines of the phase that is named, if any.
    pub fn parse<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        if let Some(outcome) = header(OUTCOME).and_then(read) {
            return Self::Over { outcome, private: header(PRIVATE) == Some("true") };
        }
        let name = header(PHASE).unwrap_or_default().to_owned();
        match header(STATUS) {
            Some(RUNNING) => Self::Began { phase: name },
            Some(status) => match read::<PhaseStatus>(status) {
                Some(status) => Self::Ended(PhaseReport {
                    exit_code: header(EXIT_CODE).and_then(|code| code.parse().ok()),
                    seconds: header(SECONDS).and_then(|seconds| seconds.parse().ok()).unwrap_or_default(),
                    reason: header(REASON).map(str::to_owned),
                    warning: header(WARNING) == Some("true"),
                    ..PhaseReport::new(name, status)
                }),
                None => Self::Lines { phase: name },
            },
            None => Self::Lines { phase: name },
        }
    }
}

/// As the wire writes it.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(Value::String(word.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(entry: &LogEntry) -> LogEntry {
        let headers = entry.headers(7);
        let find = |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
        assert_eq!(find(NUMBER), Some("7"));
        LogEntry::parse(find)
    }

    #[test]
    fn what_headers_say_is_read_again() {
        let report = |status, exit_code| PhaseReport { exit_code, seconds: 1.25, ..PhaseReport::new("test", status) };
        for entry in [
            LogEntry::Lines { phase: "test".into() },
            LogEntry::Began { phase: "test".into() },
            LogEntry::Ended(report(PhaseStatus::Failed, Some(1))),
            LogEntry::Ended(report(PhaseStatus::TimedOut, None)),
            LogEntry::Ended(PhaseReport { warning: true, ..report(PhaseStatus::Failed, Some(1)) }),
            LogEntry::Ended(PhaseReport { reason: Some("cached".into()), ..report(PhaseStatus::Skipped, None) }),
            LogEntry::Over { outcome: Outcome::Published, private: false },
            LogEntry::Over { outcome: Outcome::Published, private: true },
            LogEntry::Over { outcome: Outcome::TimedOut, private: false },
        ] {
            assert_eq!(again(&entry), entry);
        }
    }

    #[test]
    fn a_header_has_one_line() {
        let reason = Some("package.json has no script a\r\nOutcome: published".into());
        let headers = LogEntry::Ended(PhaseReport { reason, ..PhaseReport::new("a", PhaseStatus::Skipped) }).headers(1);
        let reason = headers.iter().find(|(name, _)| name == REASON).map(|(_, value)| value.as_str());
        assert_eq!(reason, Some("package.json has no script a"));
    }

    #[test]
    fn what_is_not_understood_is_lines() {
        let lines = |phase: &str| LogEntry::Lines { phase: phase.into() };
        assert_eq!(LogEntry::parse(|_| None), lines(""));
        assert_eq!(LogEntry::parse(|name| (name == OUTCOME).then_some("whatever")), lines(""));
        let strange = |name: &str| [(PHASE, "test"), (STATUS, "new")].into_iter().find(|(n, _)| *n == name);
        assert_eq!(LogEntry::parse(|name| strange(name).map(|(_, value)| value)), lines("test"));
    }
}
