//! What of a view is to be in a copy of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::super::{
    Merged,
    layers::{Folder, Node},
};
use crate::isolated::WorkspaceError;

const NODE_MODULES: &str = "node_modules";
const MANIFEST: &str = "package.json";

/// What of a view is copied: all of it but for these. Paths are relative to the view.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Of these folders only `package.json` is copied, and the other folders in them that are named here.
    pub left_out: BTreeSet<PathBuf>,
    /// Folders that are copied, also where they lie in one of those.
    pub whole: BTreeSet<PathBuf>,
    /// How many layers, counted from the lowest one, hold installed packages. A package in a folder `node_modules` that
    /// one of these alone holds becomes a link to it: an install is too large to be copied for each build. What is
    /// written to such a package is written to the layer.
    pub linked: usize,
    /// Installed packages that are copied all the same.
    pub copied: BTreeSet<PathBuf>,
}

/// What is put at a path of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Folder,
    /// The file at the same path of this layer.
    File(Arc<Path>),
    /// A link that says this.
    Link(PathBuf),
}

/// How much of a folder is copied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    /// Its `package.json`.
    Manifest,
    /// It holds installed packages.
    Packages,
}

/// All that is put into a copy at `at`.
pub(super) struct Content<'a> {
    view: &'a Merged,
    layers: Vec<Arc<Path>>,
    at: &'a Path,
    parts: &'a Parts,
    /// The folders above those that are named.
    above: BTreeSet<&'a Path>,
    stop: &'a AtomicBool,
    pub(super) all: BTreeMap<PathBuf, Source>,
    pub(super) left_out: BTreeSet<PathBuf>,
}

impl<'a> Content<'a> {
    pub(super) fn of(
        view: &'a Merged,
        at: &'a Path,
        parts: &'a Parts,
        stop: &'a AtomicBool,
    ) -> Result<Self, WorkspaceError> {
        let named = parts.left_out.iter().chain(&parts.whole);
        let mut content = Self {
            view,
            layers: view.layers.iter().map(|layer| Arc::from(layer.as_path())).collect(),
            at,
            parts,
            above: named.flat_map(|folder| folder.ancestors().skip(1)).collect(),
            stop,
            all: BTreeMap::new(),
            left_out: BTreeSet::new(),
        };
        let root = Folder::root(view.layers.iter().map(PathBuf::as_path))?;
        content.folder(Path::new(""), &root, Extent::Whole)?;
        Ok(content)
    }

    fn folder(&mut self, path: &Path, folder: &Folder, extent: Extent) -> Result<(), WorkspaceError> {
        go_on(self.stop)?;
        for name in folder.entries()?.into_keys() {
            let below = path.join(&name);
            let is_wanted = extent != Extent::Manifest || name == MANIFEST;
            match folder.child(&name)? {
                Some(Node::Folder(inner)) => self.inner(below, &name, &inner, extent)?,
                Some(Node::File(layer)) if is_wanted => {
                    let layer = self.layers.get(layer).map(Arc::clone);
                    self.all.extend(layer.map(|layer| (below, Source::File(layer))));
                }
                Some(Node::Link(target)) if is_wanted => self.link(below, Path::new(&target)),
                Some(Node::Other(_)) if is_wanted => drop(self.left_out.insert(below)),
                _ => {}
            }
        }
        Ok(())
    }

    fn inner(&mut self, path: PathBuf, name: &OsStr, inner: &Folder, outer: Extent) -> Result<(), WorkspaceError> {
        let leads_on = self.above.contains(path.as_path());
        let extent = match outer {
            _ if self.parts.whole.contains(&path) => Extent::Whole,
            _ if self.parts.left_out.contains(&path) => Extent::Manifest,
            Extent::Manifest if leads_on => Extent::Manifest,
            Extent::Manifest => return Ok(()),
            _ if name == NODE_MODULES => Extent::Packages,
            Extent::Packages if name.as_encoded_bytes().starts_with(b"@") => Extent::Packages,
            // Others are links from one package to another, what tools keep, and clients that are generated in builds.
            Extent::Packages if !name.as_encoded_bytes().starts_with(b".") => {
                let installed = self.installed(inner).filter(|_| !self.parts.copied.contains(&path));
                if let Some(layer) = installed {
                    let link = Source::Link(layer.join(&path));
                    self.all.insert(path, link);
                    return Ok(());
                }
                Extent::Whole
            }
            _ => Extent::Whole,
        };
        self.all.insert(path.clone(), Source::Folder);
        self.folder(&path, inner, extent)
    }

    /// The layer of installed packages that alone holds a folder.
    fn installed(&self, folder: &Folder) -> Option<&Path> {
        let layer = folder.only().filter(|layer| *layer + self.parts.linked >= self.layers.len())?;
        self.layers.get(layer).map(|layer| &**layer)
    }

    /// A link that leads out of the view is left out.
    fn link(&mut self, path: PathBuf, target: &Path) {
        let source = match target.strip_prefix(self.view.at()) {
            Ok(below) if stays(Path::new(""), below) => Some(self.at.join(below)),
            Err(_) if path.parent().is_some_and(|folder| stays(folder, target)) => Some(target.to_owned()),
            _ => None,
        };
        match source {
            Some(target) => drop(self.all.insert(path, Source::Link(target))),
            None => drop(self.left_out.insert(path)),
        }
    }
}

/// Breaks off where `stop` is true.
pub(super) fn go_on(stop: &AtomicBool) -> Result<(), WorkspaceError> {
    if stop.load(Ordering::Relaxed) { Err(WorkspaceError::BrokenOff) } else { Ok(()) }
}

/// Whether a link in `folder` stays in the view, whatever other links there are on its way: its ways up come first.
fn stays(folder: &Path, link: &Path) -> bool {
    let mut up = 0;
    let mut down = false;
    for component in link.components() {
        match component {
            Component::Normal(_) => down = true,
            Component::CurDir => {}
            Component::ParentDir if !down => up += 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    up <= folder.components().count()
}
