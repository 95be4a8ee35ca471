//! Sentences for people: durations and counts.

use std::time::Duration;

pub(crate) use packline_domain::text::{by, cancelled, one_line};

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
