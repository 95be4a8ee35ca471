//! Sentences for people: who commanded, and the one line of what may be long.

use crate::control::Origin;

/// The longest line, in characters.
const LINE: usize = 300;

/// `1 package`, `3 packages`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// What became of a package that ended as published, for people.
pub fn published(private: bool) -> &'static str {
    if private { "built (private)" } else { "published" }
}

/// ` by ops: reason`, as far as it is known.
pub fn by(origin: &Origin) -> String {
    let who = origin.by.as_ref().map(|by| format!(" by {}", one_line(by))).unwrap_or_default();
    let why = origin.reason.as_ref().map(|reason| format!(": {}", one_line(reason))).unwrap_or_default();
    who + &why
}

/// What an operator did to a package, as its last word: `cancelled by ops: reason`.
pub fn cancelled(origin: &Origin) -> String {
    match &origin.by {
        Some(_) => format!("cancelled{}", by(origin)),
        None => format!("cancelled by an operator{}", by(origin)),
    }
}

/// The first line that says something, cut.
pub fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut cut: String = line.chars().take(LINE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().nth(LINE).is_some() {
        cut.push('…');
    }
    cut
}
