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
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use nix::errno::Errno;
use packline_domain::{BuildId, PackagePath};

use crate::git;

pub use links::{links, not_packed};
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

/// The folders of one build. [`BuildFolder::remove`] them when it is over.
#[derive(Clone, Debug)]
pub struct BuildFolder {
    base: PathBuf,
    /// The package's folder in the copy.
    pub package: PathBuf,
    /// What was left out of the copy, for the log.
    pub left_out: Vec<String>,
    /// The commit that the workspace was at when it was copied.
    pub commit: Option<String>,
}

impl BuildFolder {
    /// Copies what the package at `path` needs from the workspace at `root` to a new folder below `scratch`; breaks
    /// off soon, also within a file, once `stop` is true. Blocks.
    ///
    /// # Errors
    /// See [`WorkspaceError`]; nothing is left behind.
    pub fn prepare(
        scratch: &Path,
        root: &Path,
        path: &PackagePath,
        build: &BuildId,
        stop: &AtomicBool,
    ) -> Result<Self, WorkspaceError> {
        let base = scratch.join(format!("{}.{}", build.package.key().replace('/', "+"), build.serial));
        let mut folder = Self { package: base.join("workspace"), base, left_out: Vec::new(), commit: None };
        let copied = folder.fill(root, path, build, stop);
        if copied.is_err() {
            folder.remove();
        }
        copied.map(|()| folder)
    }

    /// The root of the copied workspace.
    pub fn root(&self) -> PathBuf {
        self.base.join("workspace")
    }

    /// Whether the package has this file or folder now.
    pub fn has(&self, file: &str) -> bool {
        let there = |path: &Path| path.canonicalize().ok();
        there(&self.package.join(file)).zip(there(&self.package)).is_some_and(|(file, folder)| file.starts_with(folder))
    }

    /// HOME of the build.
    pub fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    /// TMPDIR of the build.
    pub fn temporary(&self) -> PathBuf {
        self.base.join("tmp")
    }

    /// Where the packed tarball goes.
    pub fn tarball(&self) -> PathBuf {
        self.base.join("tarball")
    }

    /// For npm's configuration files.
    pub fn settings(&self) -> PathBuf {
        self.base.join("settings")
    }

    /// Where other builds and the worker itself have their folders.
    pub fn beside(&self) -> PathBuf {
        self.base.parent().map_or_else(|| self.base.clone(), Path::to_owned)
    }

    /// Removes all of it, whatever the build did to it. Blocks.
    pub fn remove(&self) {
        if let Err(error) = remove_tree(&self.base) {
            tracing::warn!("failed to remove {}: {error}", self.base.display());
        }
    }

    fn fill(
        &mut self,
        root: &Path,
        path: &PackagePath,
        build: &BuildId,
        stop: &AtomicBool,
    ) -> Result<(), WorkspaceError> {
        let (source, below) = (source(root, path)?, path.below_root());
        let root = root.canonicalize()?;
        let scratch = self.beside().canonicalize()?;
        fs::create_dir(&self.base)?;
        for folder in [self.root(), self.home(), self.temporary(), self.tarball(), self.settings()] {
            fs::create_dir(folder)?;
        }
        self.commit = git::head(&source);
        let manifest = shared::manifest(&root)?;
        let members = Members::of(&root, &manifest, below);
        let target = self.root();
        let copier =
            Copier { root: &root, package: below, members: &members, target: &target, scratch: &scratch, stop };
        if path.is_root() {
            return copier.copy_root(&manifest, &mut self.left_out);
        }
        self.package = target.join(below);
        let found = copier.list(&source)?;
        copier.copy(&source, below, found, Part::Package, &mut self.left_out)?;
        copier.copy_shared(&manifest, &mut self.left_out)?;
        copier.copy_plan(&build.package)
    }
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

/// Removes a folder, also where folders in it were closed to their owner. Links are removed, never followed.
///
/// # Errors
/// When something in it cannot be removed.
pub fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            let mut closed = vec![folder.to_owned()];
            while let Some(folder) = closed.pop() {
                let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
                for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        closed.push(entry.path());
                    }
                }
            }
            fs::remove_dir_all(folder)
        }
        Ok(()) => Ok(()),
    }
}
