//! How long the tests run that do the same many times, or go on at random.

use std::env;

/// Of two sizes of a test the short one, or the full one where `CAMPAIGN=full` is set.
///
/// # Panics
/// Where `CAMPAIGN` is set to anything else.
pub fn size<T>(short: T, full: T) -> T {
    match env::var("CAMPAIGN").as_deref() {
        Err(env::VarError::NotPresent) | Ok("short") => short,
        Ok("full") => full,
        other => panic!("CAMPAIGN is `short` or `full`, and not {other:?}"),
    }
}
