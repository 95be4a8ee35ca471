//! `orchestrator.state`: the whole at a glance.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::{BuildId, Mode, PackageName, Timestamp, control::LastControl, schema};

/// The answer; at most 200 entries in each list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the wire.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Whether the line starts builds.
    pub mode: Mode,
    /// Since when.
    pub since: Timestamp,
    /// Who set the mode.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The most builds at a time.
    pub max_concurrent: u32,
    /// Whether all that the mode withdraws is withdrawn.
    pub complete: bool,
    /// Slots of all live workers.
    pub slots: u64,
    /// How many packages stand where.
    pub counts: Counts,
    /// How long all that waits and can be built will take, in seconds, as far as the past tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<u64>,
    /// Nothing starts although it could, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<Stalled>,
    /// What is being built, by permit.
    #[serde(default)]
    pub active: Vec<Active>,
    /// What waits for the time of its next attempt, soonest first.
    #[serde(default)]
    pub retrying: Vec<Retrying>,
    /// The workers, by name; those that need a look first.
    #[serde(default)]
    pub workers: Vec<Worker>,
    /// How many workers there are, also those beyond the list.
    #[serde(default)]
    pub worker_counts: WorkerCounts,
    /// Who answers.
    pub leader: String,
    /// Grows with every takeover.
    pub term: u64,
    /// Number of the last commit.
    pub commit: u64,
    /// The last command that was applied.
    pub last_control: Option<LastControl>,
}

/// A build that holds a permit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Active {
    /// What is built.
    pub package_name: PackageName,
    /// Which build.
    pub build_id: BuildId,
    /// Its number, from 1.
    pub attempt: u32,
    /// Which permit.
    pub permit: u32,
    /// Where; none while no worker has taken the order.
    pub worker: Option<String>,
    /// The phase it is in, as its worker last said.
    pub phase: Option<String>,
    /// Since it was granted.
    pub seconds: u64,
    /// How long it takes by its own past, in seconds; none without a past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<u64>,
    /// It is withdrawn, and its worker has not said yet that it is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ending: bool,
}

/// A package that waits for the time of its next attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retrying {
    /// Which.
    pub package_name: PackageName,
    /// Failures of its own since it was last queued afresh.
    pub attempts: u32,
    /// Not before this.
    pub next_attempt_at: Timestamp,
}

/// Work that could start, and does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stalled {
    /// Since when nothing has moved.
    pub since: Timestamp,
    /// What does not move.
    pub kind: Stall,
    /// For a person.
    pub text: String,
}

/// What does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stall {
    /// Packages are ready, a permit and a slot are free, and nothing is started.
    NotStarted,
    /// Builds are handed out, and no worker takes them.
    NotTaken,
}

/// A worker process as the leader sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Its key in the bucket `workers`.
    pub name: String,
    /// The machine; none while nothing was heard of it.
    #[serde(default)]
    pub host: Option<String>,
    /// Of the program.
    #[serde(default)]
    pub version: Option<String>,
    /// How it stands.
    pub state: WorkerState,
    /// How many builds it takes at a time.
    pub slots: u32,
    /// When it started.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Why it rests, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting: Option<String>,
    /// Since its key last moved, as far as could be read.
    #[serde(default)]
    pub silent_seconds: u64,
    /// What it builds: the permits that it has taken.
    #[serde(default)]
    pub builds: Vec<WorkerBuild>,
}

/// How a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkerState {
    /// It never comes back; what it held is queued again.
    Lost,
    /// Its key has not moved for half of CLAIM: nothing is started there.
    Silent,
    /// Its machine failed several builds in a row: it takes nothing for a while.
    Resting,
    /// It was asked to stop, and finishes or hands back what it has.
    Stopping,
    /// Its key moves.
    Live,
}

/// As it is written in answers.
impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Resting => "resting",
            Self::Stopping => "stopping",
            Self::Live => "live",
        })
    }
}

/// How many workers stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WorkerCounts {
    /// [`WorkerState::Live`].
    pub live: usize,
    /// [`WorkerState::Silent`].
    pub silent: usize,
    /// [`WorkerState::Lost`], of the last hour.
    pub lost: usize,
    /// [`WorkerState::Resting`].
    pub resting: usize,
    /// [`WorkerState::Stopping`].
    pub stopping: usize,
}

impl WorkerCounts {
    /// The one that counts these.
    pub fn of(&mut self, state: WorkerState) -> &mut usize {
        match state {
            WorkerState::Lost => &mut self.lost,
            WorkerState::Silent => &mut self.silent,
            WorkerState::Resting => &mut self.resting,
            WorkerState::Stopping => &mut self.stopping,
            WorkerState::Live => &mut self.live,
        }
    }
}

/// A build of a [`Worker`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerBuild {
    /// What is built.
    pub package_name: PackageName,
    /// Which build.
    pub build_id: BuildId,
    /// Which permit.
    pub permit: u32,
    /// The phase it is in, as its worker last said.
    pub phase: Option<String>,
    /// Since it was granted.
    pub seconds: u64,
}
