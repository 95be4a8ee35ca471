//! Builds: their identity, how they end, and what an end means for the next attempt.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{PackageName, Timestamp, phase::Tests};

/// One start of one build: `<package key>.<serial>`.
///
/// The serial grows with every start of any build and never repeats.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId {
    /// What is built.
    pub package: PackageName,
    /// Unique over all builds.
    pub serial: u64,
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.package.key(), self.serial)
    }
}

/// Why a text is not a [`BuildId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a build id is `<package key>.<serial>`")]
pub struct BuildIdError;

impl FromStr for BuildId {
    type Err = BuildIdError;

    fn from_str(text: &str) -> Result<Self, BuildIdError> {
        let (key, serial) = text.rsplit_once('.').ok_or(BuildIdError)?;
        let package = PackageName::from_key(key).map_err(|_| BuildIdError)?;
        let number: u64 = serial.parse().map_err(|_| BuildIdError)?;
        if number.to_string() == serial { Ok(Self { package, serial: number }) } else { Err(BuildIdError) }
    }
}

impl Serialize for BuildId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BuildId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How a worker says that a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// All phases passed, and the registry has it, unless its package is private.
    Published,
    /// A phase failed.
    Failed,
    /// A phase, or the build, took too long.
    TimedOut,
    /// Killed because it was told to be.
    Cancelled,
    /// The machine is at fault, not the package.
    Infrastructure,
    /// Handed back unfinished; counts for nothing.
    Returned,
}

/// What an end of an attempt means for the next one; each has its own budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureClass {
    /// The package's own failure: counts against `MAX_ATTEMPTS`.
    Own,
    /// Will fail every time: not retried.
    Permanent,
    /// The machine's failure: counts against `MAX_INFRASTRUCTURE`.
    Infrastructure,
    /// The worker was lost: counts against `MAX_LOST`.
    WorkerLost,
    /// Withdrawn by an operator: counts for nothing.
    Cancelled,
    /// Handed back: counts for nothing.
    Returned,
}

impl Outcome {
    /// The class of a build that ended so; `None` for the one that is no failure.
    pub fn class(self, retry: bool) -> Option<FailureClass> {
        match self {
            Self::Published => None,
            Self::Failed | Self::TimedOut if retry => Some(FailureClass::Own),
            Self::Failed | Self::TimedOut => Some(FailureClass::Permanent),
            Self::Cancelled => Some(FailureClass::Cancelled),
            Self::Infrastructure => Some(FailureClass::Infrastructure),
            Self::Returned => Some(FailureClass::Returned),
        }
    }
}

/// One finished attempt, as `retries.<package>` keeps the last ten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Which build it was.
    pub build_id: BuildId,
    /// Its number, from 1.
    pub attempt: u32,
    /// The worker that had it, where one had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When the permit was granted.
    pub started_at: Timestamp,
    /// When the orchestrator decided its end.
    pub finished_at: Timestamp,
    /// `None` when it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// What went wrong, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In which phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_phase: Option<String>,
    /// What its worker warned of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// It was built, and not published, because its package is private.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// What stands for the tests of its package, where that has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
}
