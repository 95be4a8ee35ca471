//! Workspace mode: a build sees the whole workspace, with what its manager installed, as a stack of layers.

mod reach;
mod skeleton;

pub use reach::Installed;
pub use skeleton::{Part, Skeleton};
