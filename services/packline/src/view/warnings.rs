//! What workers warn of, each thing once.

use std::collections::{BTreeMap, BTreeSet};

use packline_domain::{PackageName, Timestamp};

use super::board::Board;
use crate::operator::shown::plain;

/// What was said of which package since a time.
pub(crate) struct Warnings {
    since: Timestamp,
    said: BTreeMap<PackageName, BTreeSet<String>>,
}

impl Warnings {
    /// Of builds that end from then on.
    pub(crate) fn since(since: Timestamp) -> Self {
        Self { since, said: BTreeMap::new() }
    }

    /// What was not said before, a line each. A later attempt that is warned of the same is no news.
    pub(crate) fn news(&mut self, board: &Board) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, retries) in &board.retries {
            for attempt in retries.attempts.iter().filter(|attempt| attempt.finished_at >= self.since) {
                for warning in &attempt.warnings {
                    if self.said.entry(name.clone()).or_default().insert(warning.clone()) {
                        lines.push(format!("warning: {name}: {}", plain(warning)));
                    }
                }
            }
        }
        lines
    }

    /// How many packages were warned of; `None` where none was.
    pub(crate) fn summary(&self) -> Option<String> {
        match self.said.len() {
            0 => None,
            1 => Some("1 package had warnings, said above.".to_owned()),
            count => Some(format!("{count} packages had warnings, said above.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// The attempts of a package: when each ended, and what it was warned of.
    fn tried(board: &mut Board, name: &str, attempts: &[(i64, &[&str])]) {
        let attempts: Vec<_> = attempts
            .iter()
            .map(|(end, warnings)| {
                json!({ "buildId": format!("{name}.{end}"), "attempt": 1, "startedAt": at(0), "finishedAt": at(*end),
                    "warnings": warnings })
            })
            .collect();
        let record = json!({ "attempts": attempts }).to_string();
        board.note(&format!("retries.{name}"), Some(record.as_bytes())).unwrap();
    }

    #[test]
    fn each_warning_of_a_package_is_said_once_whatever_attempt_it_comes_from() {
        let (mut board, mut warnings) = (Board::default(), Warnings::since(at(10)));
        assert_eq!((warnings.news(&board), warnings.summary()), (vec![], None));
        tried(&mut board, "a", &[(9, &["before this start"]), (11, &["one\u{1b}[2J", "two"])]);
        assert_eq!(warnings.news(&board), ["warning: a: one [2J", "warning: a: two"]);
        assert_eq!(warnings.summary().unwrap(), "1 package had warnings, said above.");
        tried(&mut board, "a", &[(11, &["two"]), (20, &["two", "three", "three"])]);
        tried(&mut board, "b", &[(20, &["two"])]);
        tried(&mut board, "c", &[(20, &[])]);
        assert_eq!(warnings.news(&board), ["warning: a: three", "warning: b: two"]);
        assert_eq!(warnings.news(&board), [""; 0]);
        assert_eq!(warnings.summary().unwrap(), "2 packages had warnings, said above.");
    }
}
