//! The private copy of the workspace that a build works in: what its package needs, and no link
//! through which it could alter the source.
//!
//! A package needs:
//! - its own folder and its plan;
//! - the files beside `packages`, of at most 1 MiB each: compiler settings and the like;
//! - the other folders beside `packages` (`scripts`, `config`, …), of at most 1,000 files and 32 MiB each;
//!   of those that begin with a dot only `.config`.
//!
//! It does not need its siblings: dependencies come from the registry. So neither `packages` nor any other
//! folder of members (`workspaces` of the root's `package.json`) is copied, or even looked into, and a build
//! costs the same however many packages there are. `node_modules`, `.git`, `.packline` and `.npmrc` are left
//! out at the top of the package, at every level elsewhere; at the root also lock files and `.env`, and the folder
//! in which workers have their scratch. Deeper in the package they are fixtures and templates, which npm packs or
//! tests read. A link that leads out of what is copied is left out: npm packs no links, and the package may do
//! without it.
//!
//! Files share their blocks with the source where the file system can.

mod links;
mod shared;
mod tree;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use packline_domain::{BuildId, PackageName};

use crate::git;

pub use links::{links, not_packed};
use tree::{Copier, Part};

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
    /// Copies what a package needs from the workspace at `root` to a new folder below `scratch`; breaks off
    /// soon, also within a file, once `stop` is true. Blocks.
    ///
    /// # Errors
    /// See [`WorkspaceError`]; nothing is left behind.
    pub fn prepare(scratch: &Path, root: &Path, build: &BuildId, stop: &AtomicBool) -> Result<Self, WorkspaceError> {
        let base = scratch.join(format!("{}.{}", build.package.key().replace('/', "+"), build.serial));
        let mut folder = Self { package: base.join("workspace"), base, left_out: Vec::new(), commit: None };
        let copied = folder.fill(root, &build.package, stop);
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

    fn fill(&mut self, root: &Path, name: &PackageName, stop: &AtomicBool) -> Result<(), WorkspaceError> {
        let (source, below) = source(root, name)?;
        let root = root.canonicalize()?;
        let scratch = self.beside().canonicalize()?;
        fs::create_dir(&self.base)?;
        for folder in [self.root(), self.home(), self.temporary(), self.tarball(), self.settings()] {
            fs::create_dir(folder)?;
        }
        self.package = self.root().join(&below);
        self.commit = git::head(&source);
        let copier = Copier { root: &root, package: &below, target: &self.root(), scratch: &scratch, stop };
        let found = copier.list(&source)?;
        copier.copy(&source, &below, found, Part::Package, &mut self.left_out)?;
        copier.copy_shared(&mut self.left_out)?;
        copier.copy_plan(name)
    }
}

/// The package's folder, resolved, and its path below the root.
fn source(root: &Path, name: &PackageName) -> Result<(PathBuf, PathBuf), WorkspaceError> {
    let below = Path::new("packages").join(name.unscoped());
    let folder = root.join(&below);
    match folder.canonicalize() {
        Ok(resolved) if !resolved.starts_with(root.canonicalize()?) => {
            Err(WorkspaceError::Refused(format!("{} leads out of the workspace", below.display())))
        }
        Ok(resolved) if resolved.is_dir() => Ok((resolved, below)),
        Ok(_) => Err(WorkspaceError::Refused(format!("{} is no folder", below.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(WorkspaceError::Refused(format!("the workspace has no folder {}", below.display())))
        }
        Err(error) => Err(error.into()),
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
