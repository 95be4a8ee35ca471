//! The values of the buckets: JSON for people, and all that survives a crash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Attempt, BuildId, Command, Mode, Package, PackageName, Timestamp,
    control::{LastControl, Origin},
    schema,
};

pub use crate::worker::{FIRST_PROTOCOL, LastPoll, PROTOCOL, Worker, WorkerBuild};

/// Key of [`Leader`] in the buckets `orchestrator` and `poller`.
pub const LEADER: &str = "leader";
/// Key of [`LastPoll`] in the bucket `poller`.
pub const LAST: &str = "last";
/// Key of [`Control`].
pub const CONTROL: &str = "control";
/// Key of [`Intention`].
pub const INTENTION: &str = "intention";

/// A key of the bucket `orchestrator`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `leader`
    Leader,
    /// `control`
    Control,
    /// `intention`
    Intention,
    /// `queue.<package>`
    Queue(PackageName),
    /// `retries.<package>`
    Retries(PackageName),
    /// `permits.<n>`
    Permit(u32),
    /// `effects.<i>`
    Effects(u32),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Leader => f.write_str(LEADER),
            Self::Control => f.write_str(CONTROL),
            Self::Intention => f.write_str(INTENTION),
            Self::Queue(name) => write!(f, "queue.{}", name.key()),
            Self::Retries(name) => write!(f, "retries.{}", name.key()),
            Self::Permit(n) => write!(f, "permits.{n}"),
            Self::Effects(i) => write!(f, "effects.{i}"),
        }
    }
}

/// A text that is no key of the bucket `orchestrator`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no key of the bucket orchestrator")]
pub struct UnknownKey(String);

impl std::str::FromStr for Key {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let unknown = || UnknownKey(text.to_owned());
        match text {
            LEADER => return Ok(Self::Leader),
            CONTROL => return Ok(Self::Control),
            INTENTION => return Ok(Self::Intention),
            _ => {}
        }
        let (kind, rest) = text.split_once('.').ok_or_else(unknown)?;
        let key = match kind {
            "queue" => PackageName::from_key(rest).ok().map(Self::Queue),
            "retries" => PackageName::from_key(rest).ok().map(Self::Retries),
            "permits" => rest.parse().ok().map(Self::Permit),
            "effects" => rest.parse().ok().map(Self::Effects),
            _ => None,
        };
        key.filter(|key| key.to_string() == text).ok_or_else(unknown)
    }
}

/// How far one stream has been applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// The stream's own `created` time, as the broker writes it; another one resets the position.
    pub created: String,
    /// The last sequence applied.
    pub sequence: u64,
}

/// `leader`: who leads, and how far the chain of commits has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leader {
    /// Version of the record.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Who leads; nobody after a clean stop.
    pub holder: Option<String>,
    /// Grows with every takeover.
    pub term: u64,
    /// Number of the last commit.
    pub commit: u64,
    /// Random identity of this try of the commit, by which an unknown one is recognised.
    #[serde(rename = "try")]
    pub attempt: String,
    /// The commit up to which all effects are out.
    pub effects_through: u64,
    /// How far each stream has been applied.
    pub positions: BTreeMap<String, Position>,
    /// The highest serial of a build so far.
    pub serial: u64,
    /// LEASE in force, in milliseconds.
    pub lease_millis: u64,
    /// CLAIM in force, in milliseconds.
    pub claim_millis: u64,
}

/// `control`: the mode and the limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// Version of the record.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Whether the line starts builds.
    pub mode: Mode,
    /// The most permits at a time.
    pub max_concurrent: u32,
    /// Who set the mode, and why.
    #[serde(flatten)]
    pub origin: Origin,
    /// Since when the mode is in force.
    pub since: Timestamp,
    /// Whether all that the mode withdraws is withdrawn.
    pub complete: bool,
    /// The commit that wrote `drained`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_commit: Option<u64>,
    /// The last command that was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastControl>,
}

/// Where a package stands in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "state")]
pub enum State {
    /// Waits for its turn.
    Queued,
    /// Holds a permit, or waits for an earlier build of it to end where that is `ending`.
    Building {
        /// Which build.
        build_id: BuildId,
        /// Which permit.
        permit: u32,
        /// Whether newer data came that is to be built afterwards.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// Failed, and waits for its next attempt.
    Retrying {
        /// Not before this.
        until: Timestamp,
    },
    /// The registry has it, unless it is private.
    Published {
        /// The version, where the worker said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// It was built, and not published.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private: bool,
    },
    /// It will not be tried again by itself.
    Failed {
        /// What went wrong.
        error: String,
        /// In which phase.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed_phase: Option<String>,
    },
    /// An operator dropped it.
    Cancelled {
        /// Who and why.
        #[serde(flatten)]
        origin: Origin,
    },
}

/// `queue.<package>`: a package and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Version of the record.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Newest data announced.
    pub package: Package,
    /// Where it stands.
    #[serde(flatten)]
    pub state: State,
    /// Its place among equals: grows with every package that is queued afresh.
    pub arrival: u64,
    /// When it was last queued afresh.
    pub queued_at: Timestamp,
    /// When it was last announced.
    pub announced_at: Timestamp,
    /// The commit that last wrote this record.
    pub commit: u64,
    /// The commit of its last `packages.status`; 0 before the first.
    #[serde(default)]
    pub status_commit: u64,
}

/// Why a permit is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "why")]
pub enum Ending {
    /// Emergency stop: back to the queue, the attempt unspent.
    Stop,
    /// Cancelled: dropped when the build is gone.
    Cancel(Origin),
    /// The build took longer than it may: an own failure.
    Deadline,
}

/// `permits.<n>`: one build that is handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permit {
    /// Version of the record.
    #[serde(default = "schema")]
    pub schema: u32,
    /// What is built.
    pub package_name: PackageName,
    /// Which build.
    pub build_id: BuildId,
    /// As ordered.
    pub attempt: u32,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// Who has taken it; written by the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What it is about to publish; written by the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<String>,
    /// Why it is withdrawn; written by the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// `retries.<package>`: what its attempts have used up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Version of the record.
    #[serde(default = "schema")]
    pub schema: u32,
    /// Failures of its own since it was last queued afresh.
    #[serde(default)]
    pub failures: u32,
    /// Workers lost since then.
    #[serde(default)]
    pub lost: u32,
    /// Failures of machines since then.
    #[serde(default)]
    pub infrastructure: u32,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// Integrities that earlier attempts may have published.
    #[serde(default)]
    pub integrities: Vec<String>,
    /// The last ten attempts, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

/// `intention`: an input too large for one commit, and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intention {
    /// Version of the record.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The stream of the input.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// The commit that wrote this first; younger records are not touched.
    pub commit: u64,
    /// What is being done.
    #[serde(flatten)]
    pub what: Intended,
    /// What goes on when this is done: it was being worked off when this came. The last interrupted comes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interrupted: Vec<Intention>,
}

impl Intention {
    /// This one, and those that go on after it.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.interrupted)
    }

    /// The long announcement among them, and how many of its items are done.
    pub fn announcement(&self) -> Option<(&Self, usize)> {
        self.all().find_map(|intention| match intention.what {
            Intended::Announce { done } => Some((intention, done)),
            Intended::Control { .. } => None,
        })
    }

    /// Whether it withdraws permits: a few commits, in which no command is taken.
    pub fn withdraws(&self) -> bool {
        match &self.what {
            Intended::Control { command, .. } => *command != Command::RequeueFailed,
            Intended::Announce { .. } => false,
        }
    }
}

/// What an [`Intention`] is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "what")]
pub enum Intended {
    /// A long array of packages; read again from its stream.
    Announce {
        /// Items done so far.
        done: usize,
    },
    /// A command that withdraws permits, or touches many records.
    Control {
        /// Which.
        command: Command,
        /// Who and why.
        origin: Origin,
        /// The last package done, in the order of names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        done: Option<PackageName>,
        /// How many packages it has changed so far.
        #[serde(default)]
        changed: usize,
    },
}

/// A record of the bucket `orchestrator` that the scheduler decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// `control`
    Control(Box<Control>),
    /// `intention`
    Intention(Box<Intention>),
    /// `queue.<package>`
    Queue(Box<Queue>),
    /// `retries.<package>`
    Retries(Box<Retries>),
    /// `permits.<n>`
    Permit(Box<Permit>),
}

impl Record {
    /// Reads the value of a key that the scheduler decides; `None` for `leader` and `effects.<i>`.
    ///
    /// # Errors
    /// When the value is not what the key holds.
    pub fn decode(key: &Key, value: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        Ok(Some(match key {
            Key::Leader | Key::Effects(_) => return Ok(None),
            Key::Control => Self::Control(serde_json::from_slice(value)?),
            Key::Intention => Self::Intention(serde_json::from_slice(value)?),
            Key::Queue(_) => Self::Queue(serde_json::from_slice(value)?),
            Key::Retries(_) => Self::Retries(serde_json::from_slice(value)?),
            Key::Permit(_) => Self::Permit(serde_json::from_slice(value)?),
        }))
    }

    /// The JSON that is stored.
    ///
    /// # Errors
    /// Never for records made by this code; maps with keys that are no strings are the only cause.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Control(record) => serde_json::to_vec(record),
            Self::Intention(record) => serde_json::to_vec(record),
            Self::Queue(record) => serde_json::to_vec(record),
            Self::Retries(record) => serde_json::to_vec(record),
            Self::Permit(record) => serde_json::to_vec(record),
        }
    }
}
