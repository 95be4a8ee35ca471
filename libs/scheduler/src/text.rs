//! Sentences for people: durations, counts, who commanded.

use std::time::Duration;

use packline_domain::control::Origin;

/// The longest error in an event or an attempt, in characters.
const LINE: usize = 300;

/// `0.4 s`, `12 s`, `5 min`, `1 h 30 min`.
pub(crate) fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 if duration.subsec_millis() >= 100 => format!("{}.{} s", seconds, duration.subsec_millis() / 100),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 package`, `3 packages`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// ` by ops: reason`, as far as it is known.
pub(crate) fn by(origin: &Origin) -> String {
    let who = origin.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let why = origin.reason.as_ref().map(|reason| format!(": {}", one_line(reason))).unwrap_or_default();
    who + &why
}

/// What an operator did to a package, as its last word: `cancelled by ops: reason`.
pub(crate) fn cancelled(origin: &Origin) -> String {
    match &origin.by {
        Some(_) => format!("cancelled{}", by(origin)),
        None => format!("cancelled by an operator{}", by(origin)),
    }
}

/// The first line that says something, cut.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut cut: String = line.chars().take(LINE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().nth(LINE).is_some() {
        cut.push('…');
    }
    cut
}
