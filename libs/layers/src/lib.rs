//! Layers: read-only folders that builds of a workspace stack, and the snapshot of a workspace's sources.
//!
//! A [`Store`] is a folder that all workers of one user on one machine share. Each layer is made once, by whoever
//! needs it first, and becomes visible by one rename. Every lock is a lock on a file, so nothing that a killed process
//! held outlives it; a maker that is frozen is given up. [`sources::take`] makes the layer of a workspace's sources.

mod beat;
mod draft;
mod evict;
mod failures;
mod key;
mod layer;
mod lock;
mod records;
mod remove;
mod size;
pub mod sources;
mod stamp;
mod store;
mod tree;
mod unpack;

pub use draft::Draft;
pub use failures::{Failed, MEMORY};
pub use key::{BadKey, Key};
pub use layer::Layer;
pub use remove::remove_tree;
pub use store::{Begin, Bounds, Store, Waited};
pub use tree::{copy_tree, link_tree};
pub use unpack::{UnpackError, unpack};
