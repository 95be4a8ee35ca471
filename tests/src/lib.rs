//! The end-to-end tests, on real parts: what they share.
//!
//! A [`Scene`] is a whole line of its own: broker, registry, catalogue, programs, a workspace of
//! [`Fixture`] packages whose scripts stop at a [`Gate`] until the test opens it; a [`Bare`] line builds
//! nothing, or what a [`Workshop`] says. Tests sit at a [`Console`] and wait for records and messages, never
//! for time; what does not come within [`PATIENCE`] fails with the logs.

mod bare;
mod compose;
mod console;
mod fixture;
mod foreign;
mod hostile;
mod last_release;
mod notice;
mod operator;
mod scene;
mod workshop;

use std::time::Duration;

pub use bare::Bare;
pub use compose::{Container, Project};
pub use console::Console;
pub use fixture::{Fixture, Gate};
pub use foreign::{NatsPy, NatsTool, fixture};
pub use hostile::{hostile_names, is_token};
pub use last_release::{LastRelease, Recorded};
pub use notice::left_out;
pub use operator::{Operator, Said, until_shown};
pub use scene::Scene;
pub use workshop::{Alive, Workshop};

/// How long a test waits for one event on a loaded machine before it fails.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Loses a killed or frozen worker within 11 s, for tests that wait for that; for others it is a risk on a busy machine.
pub const SHORT_CLAIM: (&str, &str) = ("CLAIM", "6s");

/// Replaces a killed or frozen leader within seconds, and shows soon what is out.
const LEASE: (&str, &str) = ("LEASE", "2s");
