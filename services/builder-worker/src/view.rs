//! Views: what the phases of a build see in place of the workspace, and the same read from outside.

mod copy;
mod layers;
mod merged;
mod probe;

pub use copy::{Copied, Parts};
pub use merged::{Entry, Kind, Merged};
pub use probe::{Support, probe};
