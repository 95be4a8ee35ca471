//! The values of the buckets `workers` and `poller`.

use serde::{Deserialize, Serialize};

use crate::{BuildId, Timestamp, schema};

/// `workers.<host>-<random>`: one worker process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Version of the record.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The machine.
    pub host: String,
    /// Of the program.
    pub version: String,
    /// How many builds it takes at a time; 0 while it stops or rests.
    pub slots: u32,
    /// CLAIM that it obeys, in milliseconds.
    pub claim_millis: u64,
    /// When it started.
    pub since: Timestamp,
    /// Why it rests, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting: Option<String>,
    /// What it builds.
    pub builds: Vec<WorkerBuild>,
}

/// One build of a [`Worker`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerBuild {
    /// Which.
    pub build_id: BuildId,
    /// Its permit.
    pub permit: u32,
    /// The phase it is in, where it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
}

/// `last` in the bucket `poller`: the last poll.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastPoll {
    /// Version of the record.
    #[serde(default = "schema")]
    pub schema: u32,
    /// When.
    pub at: Timestamp,
    /// How many packages it found.
    pub packages: usize,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Sequence in the stream of commands of the newest `control.poll` that came before it; 0 where none did.
    #[serde(default)]
    pub command: u64,
}
