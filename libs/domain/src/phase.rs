//! How the phases of a build went, and what stands for tests where a package has none.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How one phase went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub status: PhaseStatus,
    /// Where it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How long it took.
    pub seconds: f64,
    /// Why it was skipped, in one line; [`CACHED`] where its result was there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It failed, and its build went on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
}

/// The reason of a phase whose result an earlier build has left.
pub const CACHED: &str = "cached";

/// How a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PhaseStatus {
    /// Status 0.
    Passed,
    /// Any other status, or a limit.
    Failed,
    /// There was nothing to do.
    Skipped,
    /// Its time was over.
    TimedOut,
    /// It was killed on order.
    Killed,
}

impl PhaseReport {
    /// Of a phase that took no time, and of which nothing else is known.
    pub fn new(name: impl Into<String>, status: PhaseStatus) -> Self {
        Self { name: name.into(), status, exit_code: None, seconds: 0.0, reason: None, warning: false }
    }
}

/// What stands for the tests of a package that has none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tests {
    /// Its script `test` only prints and fails, and the root has no tests either.
    NoTest,
    /// Tests are at the root of the workspace only, and were not run.
    RootNotRun,
    /// Those of the root have passed.
    RootPassed,
    /// Those of the root have failed.
    RootFailed,
}

/// For people.
impl fmt::Display for Tests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTest => "no tests",
            Self::RootNotRun => "tests only at the root, not run",
            Self::RootPassed => "tests only at the root, passed",
            Self::RootFailed => "tests only at the root, failed",
        })
    }
}
