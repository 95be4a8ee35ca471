//! What one state of the sources says, read once for all builds that see it: to read it takes longer with each member.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use packline_layers::sources::{File, Sources};
use packline_workspace::{Manager, Workspace};
use serde_json::Value;

use crate::{manifest, programs::Selection};

use super::skeleton::Skeleton;

/// The most bytes of npm's list of what it has installed.
const LIST: u64 = 256 * 1024 * 1024;

/// One state of the sources.
pub(crate) struct State {
    pub(crate) workspace: Arc<Workspace>,
    /// By the folder of the install.
    skeletons: Mutex<HashMap<PathBuf, Arc<Skeleton>>>,
    files: OnceLock<Vec<File>>,
    /// Which Node and manager it gets, once somebody has asked.
    pub(crate) programs: tokio::sync::OnceCell<Selection>,
    /// What npm says that it installed, by the folder of the layer.
    lists: Mutex<HashMap<PathBuf, Arc<Value>>>,
}

impl State {
    pub(crate) fn new(workspace: Workspace) -> Self {
        Self {
            workspace: Arc::new(workspace),
            skeletons: Mutex::default(),
            files: OnceLock::new(),
            programs: tokio::sync::OnceCell::new(),
            lists: Mutex::default(),
        }
    }

    /// What an install in `folder` reads. Blocks.
    ///
    /// # Errors
    /// See [`Skeleton::of`].
    pub(crate) fn skeleton(
        &self,
        folder: &Path,
        make: impl FnOnce() -> io::Result<Skeleton>,
    ) -> io::Result<Arc<Skeleton>> {
        // Held while it is made: builds that wait would make the same.
        let mut skeletons = self.skeletons.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(skeleton) = skeletons.get(folder) {
            return Ok(Arc::clone(skeleton));
        }
        let skeleton = Arc::new(make()?);
        skeletons.insert(folder.to_owned(), Arc::clone(&skeleton));
        Ok(skeleton)
    }

    /// The list of what is installed in a layer, as npm writes it there; for other managers by the lock file of the
    /// workspace. `None` where nobody knows it. It has a line for each member. Blocks.
    pub(crate) fn list(&self, layer: &Path) -> Option<Arc<Value>> {
        // Held while it is read: builds that wait would read the same.
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = lists.get(layer) {
            return Some(Arc::clone(list));
        }
        let list = match self.workspace.manager() {
            Manager::Npm => {
                let text = manifest::read_plain(&layer.join("node_modules/.package-lock.json"), LIST).ok()?;
                serde_json::from_slice(&text).ok()?
            }
            _ => self.workspace.installed()?,
        };
        let list = Arc::new(list);
        lists.insert(layer.to_owned(), Arc::clone(&list));
        Some(list)
    }

    /// The files of the sources; `taken` is this state. Blocks.
    ///
    /// # Errors
    /// See [`Sources::files`].
    pub(crate) fn files(&self, taken: &Sources) -> io::Result<&[File]> {
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        let files = taken.files()?;
        Ok(self.files.get_or_init(|| files))
    }
}
