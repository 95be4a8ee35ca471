//! The folders of one build, on this machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use packline_domain::{BuildId, PackagePath};
use packline_layers::remove_tree;

/// The folders of one build. [`BuildFolder::remove`] them when it is over.
#[derive(Clone, Debug)]
pub struct BuildFolder {
    base: PathBuf,
    temporary: PathBuf,
    /// The root of the workspace, as its commands see it.
    pub root: PathBuf,
    /// The package's folder in it.
    pub package: PathBuf,
    /// What was left out of it, for the log.
    pub left_out: Vec<String>,
    /// The commit that the workspace was at.
    pub commit: Option<String>,
}

impl BuildFolder {
    /// Makes a new folder below `scratch` for a build of the package at `path`. The workspace is not in it yet. Blocks.
    ///
    /// # Errors
    /// When it cannot be made; nothing is left behind.
    pub fn create(scratch: &Path, path: &PackagePath, build: &BuildId) -> io::Result<Self> {
        let base = scratch.join(format!("{}.{}", build.package.key().replace('/', "+"), build.serial));
        fs::create_dir(&base)?;
        // Tools put sockets there, whose paths have no more than 107 bytes.
        let temporary = tempfile::Builder::new().prefix("t").tempdir_in(scratch).map(tempfile::TempDir::keep);
        let temporary = temporary.inspect_err(|_| drop(remove_tree(&base)))?;
        let root = base.join("workspace");
        let package = root.join(path.below_root());
        let folder = Self { package, root, base, temporary, left_out: Vec::new(), commit: None };
        let own = [folder.home(), folder.tarball(), folder.settings()];
        match own.iter().try_for_each(fs::create_dir) {
            Ok(()) => Ok(folder),
            Err(error) => {
                folder.remove();
                Err(error)
            }
        }
    }

    /// HOME of the build.
    pub fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    /// TMPDIR of the build.
    pub fn temporary(&self) -> PathBuf {
        self.temporary.clone()
    }

    /// Where the packed tarball goes.
    pub fn tarball(&self) -> PathBuf {
        self.base.join("tarball")
    }

    /// For npm's configuration files.
    pub fn settings(&self) -> PathBuf {
        self.base.join("settings")
    }

    /// Takes what its commands write to a view of the workspace.
    pub fn upper(&self) -> PathBuf {
        self.base.join("upper")
    }

    /// Beside [`Self::upper`], for the kernel.
    pub fn work(&self) -> PathBuf {
        self.base.join("work")
    }

    /// The published files of other members, which lie over their sources.
    pub fn siblings(&self) -> PathBuf {
        self.base.join("siblings")
    }

    /// Published files of other members, of older versions, which lie below their sources.
    pub fn fallback(&self) -> PathBuf {
        self.base.join("fallback")
    }

    /// The same of the package itself, for tools that need it to build it.
    pub fn own_fallback(&self) -> PathBuf {
        self.base.join("own")
    }

    /// Where other builds and the worker itself have their folders.
    pub fn beside(&self) -> PathBuf {
        self.base.parent().map_or_else(|| self.base.clone(), Path::to_owned)
    }

    /// Removes all of it, whatever the build did to it. Blocks.
    pub fn remove(&self) {
        for folder in [&self.base, &self.temporary] {
            if let Err(error) = remove_tree(folder) {
                tracing::warn!("failed to remove {}: {error}", folder.display());
            }
        }
    }
}
