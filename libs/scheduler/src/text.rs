//! Sentences for people: durations, and what all crates say alike.

use std::time::Duration;

pub(crate) use packline_domain::text::{by, cancelled, counted, one_line, published};

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
