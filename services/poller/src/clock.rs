//! What time it is, for records and messages; durations are measured elsewhere, by monotonic clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use packline_domain::Timestamp;

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
