//! The state of a workspace as a layer.
//!
//! In a git checkout sources are the files that git tracks, as they are on disk, and those that it neither tracks nor
//! ignores, also in submodules. In a folder that is no checkout they are all but `.env*` files, repositories,
//! `.packline`, and `node_modules` of root and members. Credentials in the settings of package managers, links that
//! lead out of the workspace, and what is neither file, folder nor link are left out of both.
//!
//! The layer of a checkout has a repository of its own: the same commit, branches, tags and index; no remotes,
//! credentials or hooks. It borrows the objects of the checkout.

mod checkout;
mod entry;
mod fill;
mod folder;
mod git;
mod left_out;
mod links;
mod list;
mod memory;
mod repository;
mod scan;
mod settings;
mod take;

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use entry::{File, Kind};
pub use left_out::LeftOut;
pub use take::take;

use crate::{Bounds, Key};

/// The kind of layers of sources.
pub const KIND: &str = "sources";

/// Which sources are taken, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The root of the workspace.
    pub root: PathBuf,
    /// The folder of the [`Store`](crate::Store).
    pub store: PathBuf,
    /// What the store may keep.
    pub bounds: Bounds,
    /// The folders of the members, below the root.
    pub members: Vec<PathBuf>,
    /// Folders that are no sources although they are in the workspace, such as those that builds work in. The store
    /// is always one.
    pub leave_out: Vec<PathBuf>,
}

/// The state of a workspace. Its layer is not leased: [`Store::find`](crate::Store::find) it by `key`, and take it
/// again where it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// What the layer is known by.
    pub key: Key,
    /// The layer's folder.
    pub path: PathBuf,
    /// The hash of all files and the commit, in hexadecimal digits. Layers with different keys can have the same:
    /// another branch or tag at the same commit changes the key alone.
    pub digest: String,
    /// The commit that is checked out.
    pub commit: Option<String>,
    /// The folder of the checkout's objects, outside of the layer, which git must be able to read there.
    pub objects: Option<PathBuf>,
    /// Whether the layer was there before.
    pub was_there: bool,
    /// What is not in the layer.
    pub left_out: LeftOut,
    /// Where the list of files is kept.
    list: PathBuf,
}

impl Sources {
    /// All that is in the layer but its repository, in the order of paths.
    ///
    /// # Errors
    /// When the list cannot be read, as where the layer was evicted.
    pub fn files(&self) -> io::Result<Vec<File>> {
        entry::parse(&fs::read(&self.list)?)
    }
}

/// Why there are no sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SourcesError {
    /// The root is no folder.
    #[error("there is no workspace at {}", .0.display())]
    NoFolder(PathBuf),
    /// The root is in a git checkout, and git cannot read it.
    #[error("git cannot read the checkout: {0}")]
    Git(String),
    /// A file changed each time that the sources were taken.
    #[error("{} changes while it is read, {} times in a row", .0.display(), take::TRIES)]
    Changing(PathBuf),
    /// The machine failed: the disk is full, a file cannot be read.
    #[error("failed to take the sources: {0}")]
    Machine(String),
}

impl From<io::Error> for SourcesError {
    fn from(error: io::Error) -> Self {
        Self::Machine(error.to_string())
    }
}
