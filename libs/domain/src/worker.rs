//! The values of the buckets `workers` and `poller`.

use serde::{Deserialize, Serialize};

use crate::{BuildId, Timestamp, schema};

/// The protocol that a worker speaks whose record names none: it builds packages in `packages/<unscoped name>` only.
pub const FIRST_PROTOCOL: u32 = 1;

/// The protocol that workers of this release speak. It grows only with orders that an older worker would build wrongly.
pub const PROTOCOL: u32 = 2;

fn first_protocol() -> u32 {
    FIRST_PROTOCOL
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_first(protocol: &u32) -> bool {
    *protocol == FIRST_PROTOCOL
}

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
    /// Which orders it understands: those that need this number or a lower one.
    #[serde(default = "first_protocol", skip_serializing_if = "is_first")]
    pub protocol: u32,
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
    /// What another build makes that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
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
