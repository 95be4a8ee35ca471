//! What a commit implies for the outside, stored with it ready to send.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{BuildId, BuildOrder, PackageName, PackageStatus, Timestamp, schema};

/// One message that a commit implies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// To `builds.start`; the revision of its permit is filled in when the commit is acknowledged.
    Order(Box<BuildOrder>),
    /// To `packages.status`.
    Status(Box<PackageStatus>),
    /// To `events.<kind>`.
    Event(Box<Event>),
    /// To `builds.stop.<worker>`: read your permits again.
    Wake(String),
}

/// One fact: what changed, why, in which commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Version of the wire.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The last token of its subject: `queued`, `started`, `published`, `failed`, `retrying`, …
    pub kind: String,
    /// When it was decided.
    pub at: Timestamp,
    /// The commit that decided it.
    pub commit: u64,
    /// About which package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_name: Option<PackageName>,
    /// About which build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<BuildId>,
    /// Who commanded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// A package was built, and not published, because it is private.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// Sequence in `CONTROL` of the command that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<u64>,
    /// What happened and why, in one line for people.
    pub message: String,
}

impl Event {
    /// The kind of the event of a command that changes nothing.
    pub const UNCHANGED: &str = "unchanged";
    /// The kind of the event that the line stalls.
    pub const STALLED: &str = "stalled";

    /// A fact about no package, build or command in particular.
    pub fn new(kind: &str, at: Timestamp, commit: u64, message: String) -> Self {
        Self {
            schema: schema(),
            kind: kind.to_owned(),
            at,
            commit,
            package_name: None,
            build_id: None,
            by: None,
            private: false,
            command: None,
            message,
        }
    }
}

/// The value of `effects.<i>`: what one commit implies and may not be out yet.
///
/// `i` is the lowest number whose commit is known to be out; the order is that of `commit`, then `part`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectsRecord<'a> {
    /// Version of the record.
    #[serde(default = "schema")]
    pub schema: u32,
    /// The commit that implied them.
    pub commit: u64,
    /// Which part, where they are too many for one value.
    pub part: u32,
    /// Ready to send, in order.
    pub effects: Cow<'a, [Effect]>,
}
