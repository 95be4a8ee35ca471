//! The private copy of the workspace that a build works in: what its package needs, and no link
//! through which it could alter the source.
//!
//! A package needs:
//! - its own folder and its plan;
//! - the files at the root, of at most 1 MiB each: compiler settings and the like;
//! - the folders at the root that hold no packages (`scripts`, `config`, …), of at most 1,000 files and 32 MiB each;
//!   of those that begin with a dot only `.config`.
//!
//! It does not need its siblings: dependencies come from the registry. So neither the folder that holds the package,
//! nor `packages`, nor any other folder of members (`workspaces` of the root's `package.json`) is copied, or even
//! looked into, and a build costs the same however many packages there are. A package that is the root itself has all
//! of the root but members. `node_modules`, `.git`, `.packline` and `.npmrc` are left
//! out at the top of the package, at every level elsewhere; at the root also lock files and `.env`, and the folder
//! in which workers have their scratch. Deeper in the package they are fixtures and templates, which npm packs or
//! tests read. A link that leads out of what is copied is left out: npm packs no links, and the package may do
//! without it.
//!
//! Files share their blocks with the source where the file system can.

mod links;
mod members;
mod shared;
mod tree;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use nix::errno::Errno;
use packline_domain::{BuildId, PackageName, PackagePath};

use crate::{folder::BuildFolder, git};

pub use links::{links, not_packed, not_packed_lines};
use members::Members;
use tree::{Copier, Part, is_left_out};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The source is not fit to be built, now or later.
    #[error("{0}")]
    Refused(String),
    /// It was broken off.
    #[error("the copy of the workspace was broken off")]
    BrokenOff,
    /// This machine failed.
    #[error("failed to copy the workspace: {0}")]
    Machine(#[from] io::Error),
}

/// A new folder below `scratch`, with what the package at `path` needs from the workspace at `root`. Breaks off soon,
/// also within a file, once `stop` is true. Blocks.
///
/// # Errors
/// See [`WorkspaceError`]; nothing is left behind.
pub fn prepare(
    scratch: &Path,
    root: &Path,
    path: &PackagePath,
    build: &BuildId,
    stop: &AtomicBool,
) -> Result<BuildFolder, WorkspaceError> {
    let mut folder = BuildFolder::create(scratch, path, build)?;
    match copy(&mut folder, root, path, &build.package, stop) {
        Ok(()) => Ok(folder),
        Err(error) => {
            folder.remove();
            Err(error)
        }
    }
}

/// Copies what the package at `path` needs from the workspace at `root` to the folder of its build. Breaks off soon,
/// also within a file, once `stop` is true. Blocks.
///
/// # Errors
/// See [`WorkspaceError`].
pub fn copy(
    folder: &mut BuildFolder,
    root: &Path,
    path: &PackagePath,
    name: &PackageName,
    stop: &AtomicBool,
) -> Result<(), WorkspaceError> {
    let (source, below) = (source(root, path)?, path.below_root());
    let root = root.canonicalize()?;
    let scratch = folder.beside().canonicalize()?;
    let target = folder.root.clone();
    fs::create_dir(&target)?;
    folder.commit = git::head(&source);
    let manifest = shared::manifest(&root)?;
    let members = Members::of(&root, &manifest, below);
    let copier = Copier { root: &root, package: below, members: &members, target: &target, scratch: &scratch, stop };
    if path.is_root() {
        return copier.copy_root(&manifest, &mut folder.left_out);
    }
    let found = copier.list(&source)?;
    copier.copy(&source, below, found, Part::Package, &mut folder.left_out)?;
    copier.copy_shared(&manifest, &mut folder.left_out)?;
    copier.copy_plan(name)
}

/// The package's folder, resolved.
fn source(root: &Path, path: &PackagePath) -> Result<PathBuf, WorkspaceError> {
    let refuse = |why: String| Err(WorkspaceError::Refused(why));
    let below = path.below_root();
    if let Some(part) = below.iter().find(|part| is_left_out(part)) {
        return refuse(format!("no package is built in {path}: {} is never copied", part.display()));
    }
    match root.join(below).canonicalize() {
        Ok(resolved) if !resolved.starts_with(root.canonicalize()?) => {
            refuse(format!("{path} leads out of the workspace"))
        }
        Ok(resolved) if resolved.is_dir() => Ok(resolved),
        Ok(_) => refuse(format!("{path} is no folder")),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT) => refuse(format!("the workspace has no folder {path}")),
            Some(Errno::ENOTDIR | Errno::ELOOP) => refuse(format!("{path} is no folder")),
            Some(Errno::ENAMETOOLONG) => refuse(format!("{path} has a part that is longer than a file name may be")),
            _ => Err(error.into()),
        },
    }
}
