//! Workspace mode: a build sees the whole workspace, with what its manager installed, as a stack of layers.

mod env;
pub(crate) mod fetch;
mod ground;
mod held;
mod install;
mod linked;
mod making;
mod outputs;
pub(crate) mod root;
mod show;
mod siblings;
mod skeleton;
pub(crate) mod sources;
mod stack;
mod state;

pub(crate) use ground::Ground;
pub(crate) use install::{Means, Siblings, install};
pub(crate) use making::{Needs, is_own};
pub(crate) use outputs::{Built, keep};
pub(crate) use siblings::{build_private, lay};
pub use skeleton::{Part, Skeleton};
pub(crate) use stack::Stack;
