//! What must become of each of the bundled packages.

use serde_json::Value;

use crate::view::{board::Board, standing::Standing, standings::Standings};

/// The bundled packages in the order of the story: name, what becomes of it, attempts.
pub(crate) const EXPECTED: [(&str, &str, u32); 8] = [
    ("@demo/text", "published", 1),
    ("@demo/case", "published", 1),
    ("@demo/wrap", "published", 3),
    ("@demo/banner", "published", 1),
    ("@demo/roman", "failed", 3),
    ("@demo/clock", "blocked", 0),
    ("@demo/egg", "published", 1),
    ("@demo/hen", "published", 1),
];

/// The names of the bundled packages, in that order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    EXPECTED.iter().map(|(name, ..)| *name)
}

/// Whether the line knows all bundled packages.
pub(crate) fn all_known(board: &Board) -> bool {
    EXPECTED.iter().all(|(name, ..)| board.queue.contains_key(*name))
}

/// What is not as it must be, a line each.
pub(crate) fn differences(board: &Board) -> Vec<String> {
    let expected = |name: &str| EXPECTED.iter().find(|(expected, ..)| name == *expected);
    let missing = EXPECTED.iter().filter(|(name, ..)| !board.queue.contains_key(*name));
    let mut lines: Vec<String> = missing.map(|(name, ..)| format!("{name} never reached the queue")).collect();
    for (name, standing) in Standings::of(board).iter() {
        let Some((_, word, attempts)) = expected(name) else {
            lines.push(format!("{name} is not of the demo"));
            continue;
        };
        let (found, tried) = (standing.word(), board.attempts(name));
        if (found, tried) != (*word, *attempts) {
            lines.push(format!("{name} is {found} after {tried} attempts; expected: {word} after {attempts}"));
        }
    }
    lines
        .extend(board.permits.iter().map(|(n, permit)| format!("permit {n} is still held by {}", permit.package_name)));
    lines
}

/// What the catalogue says that it should not, a line each. Only what is final is reported to it.
pub(crate) fn differences_in_catalogue(packages: &[Value]) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, word, _) in EXPECTED {
        let status = match word {
            "published" | "failed" => word,
            _ => "ready",
        };
        let entry = packages.iter().find(|package| package.get("name").and_then(Value::as_str) == Some(name));
        let found = entry.and_then(|entry| entry.get("status")).and_then(Value::as_str).unwrap_or("nothing");
        if found != status {
            lines.push(format!("the catalogue says {found} of {name}; expected: {status}"));
        }
    }
    lines
}

/// How many are published, and whether all is as it must be.
pub(crate) fn verdict(board: &Board) -> String {
    let standings = Standings::of(board);
    let published = standings.iter().filter(|(_, standing)| matches!(standing, Standing::Published { .. }));
    let end = if differences(board).is_empty() { "each outcome is the expected one" } else { "not as expected" };
    format!("{} of {} packages are published; {end}.", published.count(), EXPECTED.len())
}
