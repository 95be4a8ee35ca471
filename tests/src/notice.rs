//! What a test says past the harness, which hides what a test that passes prints.

use std::io::Write;

/// Says on stderr that a test is left out on this machine, and why. `.ci/run` gathers these lines.
pub fn left_out(test: &str, why: &str) {
    // Not by a macro: the test harness would hide it.
    let _ = writeln!(std::io::stderr(), "left out: {test}: {why}");
}
