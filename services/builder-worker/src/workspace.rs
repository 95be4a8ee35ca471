//! Workspace mode: a build sees the whole workspace, with what its manager installed, as a stack of layers.

mod install;
mod making;
mod reach;
mod siblings;
mod skeleton;
mod stack;

pub(crate) use install::{Means, SCRIPTS, install};
pub(crate) use making::Needs;
pub use reach::Installed;
pub(crate) use siblings::lay;
pub use skeleton::{Part, Skeleton};
pub(crate) use stack::Stack;
