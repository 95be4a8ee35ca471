//! The words of Packline: packages, builds, outcomes, the messages and records, the key encoding.
//!
//! Everything that crosses a process border is defined here once, as JSON in camelCase; no I/O.

pub mod answer;
pub mod build;
pub mod control;
pub mod effect;
pub mod key;
pub mod log;
pub mod message;
pub mod package;
pub mod path;
pub mod phase;
pub mod record;
pub mod text;
pub mod time;
pub mod warning;
mod worker;

pub use build::{Attempt, BuildId, FailureClass, Outcome};
pub use control::{Command, Mode};
pub use effect::{Effect, Event};
pub use log::LogEntry;
pub use message::{Announcement, BuildOrder, BuildResult, PackageStatus, Refused, StatusKind};
pub use package::{Package, PackageName};
pub use path::PackagePath;
pub use time::Timestamp;

/// The version of the wire that this code writes; a message without `schema` is read as 1.
pub const SCHEMA: u32 = 1;

/// The largest payload of any message, in bytes.
pub const MAX_PAYLOAD: usize = 256 * 1024;

pub(crate) fn schema() -> u32 {
    SCHEMA
}
