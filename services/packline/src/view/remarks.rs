//! What to know of packages that are published: warnings, and what stood for tests.

use packline_domain::{Attempt, phase::Tests, text::counted};

use super::board::Board;

/// Of one package: `2 warnings, no tests`; empty where there is nothing to know.
pub(crate) fn of(name: &str, board: &Board) -> String {
    let Some(attempt) = published(name, board) else { return String::new() };
    let warnings = attempt.warnings.len();
    let warnings = (warnings > 0).then(|| counted(warnings, "warning"));
    warnings.into_iter().chain(attempt.tests.map(|tests| tests.to_string())).collect::<Vec<_>>().join(", ")
}

/// How many of these packages have no tests of their own, a line for each thing that stood for them.
pub(crate) fn untested<'a>(names: impl IntoIterator<Item = &'a str>, board: &Board) -> Vec<String> {
    const ALL: [Tests; 4] = [Tests::NoTest, Tests::RootNotRun, Tests::RootPassed, Tests::RootFailed];
    let told: Vec<Tests> = names.into_iter().filter_map(|name| published(name, board)?.tests).collect();
    let count = |tests: &Tests| told.iter().filter(|told| *told == tests).count();
    let counts = ALL.into_iter().map(|tests| (count(&tests), tests)).filter(|(count, _)| *count > 0);
    counts.map(|(count, tests)| format!("{}: {tests}.", counted(count, "package"))).collect()
}

/// The last attempt, where it was published.
fn published<'b>(name: &str, board: &'b Board) -> Option<&'b Attempt> {
    board.retries.get(name)?.attempts.last().filter(|attempt| attempt.class.is_none())
}

#[cfg(test)]
mod tests {
    use packline_domain::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn ended(board: &mut Board, name: &str, said: Value) {
        let at = Timestamp::from_millis(0);
        let mut attempt = json!({ "buildId": format!("{name}.1"), "attempt": 1, "startedAt": at, "finishedAt": at });
        attempt.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        let record = json!({ "attempts": [attempt] }).to_string();
        board.note(&format!("retries.{name}"), Some(record.as_bytes())).unwrap();
    }

    #[test]
    fn what_is_to_be_known_of_a_published_package_is_said_in_few_words() {
        let mut board = Board::default();
        ended(&mut board, "plain", json!({}));
        ended(&mut board, "warned", json!({ "warnings": ["lint: ended with status 1"] }));
        ended(&mut board, "stub", json!({ "warnings": ["a", "b"], "tests": "noTest" }));
        ended(&mut board, "root", json!({ "tests": "rootNotRun" }));
        ended(&mut board, "too", json!({ "tests": "rootNotRun" }));
        ended(&mut board, "failed", json!({ "class": "own", "warnings": ["a"], "tests": "rootFailed" }));
        let names = ["plain", "warned", "stub", "root", "failed", "unknown"];
        assert_eq!(
            names.map(|name| of(name, &board)),
            ["", "1 warning", "2 warnings, no tests", "tests only at the root, not run", "", ""]
        );
        assert_eq!(
            untested(names.into_iter().chain(["too"]), &board),
            ["1 package: no tests.", "2 packages: tests only at the root, not run."]
        );
        assert_eq!(untested(["plain", "failed", "unknown"], &board), [""; 0]);
    }
}
