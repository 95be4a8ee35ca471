//! What the leader answers when it is asked: the bodies of `orchestrator.<question>` and of their answers.

mod reason;
mod standing;
mod state;

pub use reason::{Holder, Outdated, Reason};
pub use standing::{Counts, Standing};
pub use state::{Active, Retrying, Stall, Stalled, State, Worker, WorkerBuild, WorkerCounts, WorkerState};

use serde::{Deserialize, Serialize};

use crate::{Attempt, PackageName, phase::Tests, schema};

/// The body of `orchestrator.queue`; empty asks for the first page of all that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueQuestion {
    /// Only those that stand so. Where nothing is said: all that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Standing>,
    /// The most packages of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The last package of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The answer to `orchestrator.queue`: one page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Version of the wire.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Those that wait in the order in which they will be built, all others in the order of names.
    pub packages: Vec<QueueRow>,
    /// Where the next page begins; none on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<PackageName>,
}

/// One package of a [`Queue`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueRow {
    /// Which.
    pub package_name: PackageName,
    /// Where it stands.
    pub state: Option<Standing>,
    /// Its own or the highest of those that wait for it.
    pub priority: i64,
    /// As announced.
    #[serde(default)]
    pub dependencies: Vec<PackageName>,
    /// Failures of its own since it was last queued afresh.
    pub attempts: u32,
    /// It is published in the words of this answer, but private: it was built, and the registry does not have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The first that `orchestrator.why` answers, for a person.
    pub reason: String,
    /// How long its build takes by its own past, in seconds; none without a past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<u64>,
}

/// The answer to `orchestrator.why`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// Version of the wire.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Which package.
    pub package_name: PackageName,
    /// None when the queue does not know it.
    pub state: Option<Standing>,
    /// The first is what would have to change first.
    pub reasons: Vec<Told>,
    /// What its last build was warned of, where it ended and nothing has been queued since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What stood for its tests in that build, where it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
    /// How long its build takes by its own past, in seconds; none without a past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<u64>,
}

impl Why {
    /// Whether it is published in the words of this answer, but private.
    pub fn is_private(&self) -> bool {
        self.reasons.iter().any(|told| matches!(told.reason, Reason::Published { private: true, .. }))
    }
}

/// A reason, and the same for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What it is.
    #[serde(flatten)]
    pub reason: Reason,
    /// For a person.
    pub text: String,
}

/// The answer to `orchestrator.history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Version of the wire.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Which package.
    pub package_name: PackageName,
    /// The last ten, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}
