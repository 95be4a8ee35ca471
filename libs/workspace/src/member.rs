use std::path::{Path, PathBuf};

use crate::{Manager, Manifest};

/// A member within its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(usize);

impl MemberId {
    pub(crate) fn new(index: usize) -> Self {
        Self(index)
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// A package of a workspace. One without a name or a version is built by nobody, and linked all the same.
#[derive(Clone, Debug)]
pub struct Member {
    pub(crate) id: MemberId,
    pub(crate) folder: PathBuf,
    pub(crate) real_folder: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) link_name: Option<String>,
}

impl Member {
    /// Its identity in this workspace.
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// Its folder relative to the root; empty for the root itself. It may be a link to another folder of the workspace.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder with all links followed, relative to the root.
    pub fn real_folder(&self) -> &Path {
        &self.real_folder
    }

    /// Its package.json.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What it is called in `node_modules`: its name, else for npm that of its folder.
    pub fn link_name(&self) -> Option<String> {
        self.link_name.clone()
    }
}

/// What a package is called in `node_modules`. The others link none that has no name.
pub(crate) fn link_name(manager: Manager, folder: &Path, manifest: &Manifest) -> Option<String> {
    let of_folder = || if manager == Manager::Npm { of_folder(folder) } else { None };
    manifest.name().map(str::to_owned).or_else(of_folder)
}

/// The name that npm gives a package that has none.
fn of_folder(folder: &Path) -> Option<String> {
    let base = folder.file_name()?.to_str()?;
    let above = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    Some(if above.starts_with('@') { format!("{above}/{base}") } else { base.to_owned() })
}

/// A folder that the workspace names and that is no member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The folder, relative to the root.
    pub folder: PathBuf,
    /// Why, in one line.
    pub problem: String,
    /// Whether its package.json could be read and says that it is private.
    pub is_private: bool,
}
