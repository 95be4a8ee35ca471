//! What a view shows, read from outside of it.
//!
//! Paths are relative to the view. A link is followed as inside of the view, and an absolute one where it leads below
//! the place of the view. What leads out is not there: a build may have left any link.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use rustix::fs::FileType;

use super::layers::{Folder, Node};
use crate::guard::View;

/// The kernel follows no more either.
const LINKS: usize = 40;

/// A view, or a plain folder, that no process writes to any more.
#[derive(Clone, Debug)]
pub struct Merged {
    at: PathBuf,
    pub(super) layers: Vec<PathBuf>,
}

/// What something in a view is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, wherever it leads.
    Link,
    /// A device, a pipe or a socket.
    Other,
}

/// One name in a folder of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// What it is; a link is not followed.
    pub kind: Kind,
}

/// Where a path leads.
struct Place {
    /// Below the view, without any link in it.
    path: PathBuf,
    node: Node,
    /// The folder that holds it; of the root itself, the root.
    parent: Folder,
}

impl Merged {
    /// The layers of a view that is seen at `at`, the first one on top.
    pub fn new(at: impl Into<PathBuf>, layers: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { at: at.into(), layers: layers.into_iter().collect() }
    }

    /// What phases with this view see.
    pub fn of(view: &View) -> Self {
        Self::new(&view.at, [&view.upper].into_iter().chain(&view.lower).cloned())
    }

    /// A folder that is no view.
    pub fn plain(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self::new(folder.clone(), [folder])
    }

    /// Where it is seen from inside.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// The file or folder to which a path leads, as it lies in a layer; of a folder, the topmost one. Links are
    /// followed. `None` where nothing is, where the path leads out, and where a folder on the way cannot be read.
    pub fn find(&self, path: &Path) -> Option<PathBuf> {
        let place = self.place(path, true).ok()??;
        let layer = match &place.node {
            Node::Folder(folder) => folder.top()?,
            Node::File(layer) | Node::Other(layer) => *layer,
            Node::Link(_) => return None,
        };
        Some(self.layers.get(layer)?.join(place.path))
    }

    /// Whether a path leads to something in the view.
    pub fn exists(&self, path: &Path) -> bool {
        self.place(path, true).is_ok_and(|place| place.is_some())
    }

    /// What is at a path; a link at its end is not followed.
    ///
    /// # Errors
    /// When a folder on the way cannot be read.
    pub fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        Ok(self.place(path, false)?.map(|place| match place.node {
            Node::Folder(_) => Kind::Folder,
            Node::Link(_) => Kind::Link,
            Node::File(_) => Kind::File,
            Node::Other(_) => Kind::Other,
        }))
    }

    /// Where the link at a path leads, as it is written; `None` where there is no link.
    ///
    /// # Errors
    /// When a folder on the way cannot be read.
    pub fn target(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        Ok(self.place(path, false)?.and_then(|place| match place.node {
            Node::Link(target) => Some(target.into()),
            _ => None,
        }))
    }

    /// Opens the file to which a path leads, for reading; `None` where there is no file.
    ///
    /// # Errors
    /// When it is there and cannot be opened.
    pub fn open(&self, path: &Path) -> io::Result<Option<File>> {
        let Some(place) = self.place(path, true)? else { return Ok(None) };
        match (place.node, place.path.file_name()) {
            (Node::File(layer), Some(name)) => place.parent.open(layer, name).map(Some),
            _ => Ok(None),
        }
    }

    /// The content of the file to which a path leads; `None` where there is no file.
    ///
    /// # Errors
    /// When it cannot be read, or is larger than `limit` bytes.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let mut content = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            let error = format!("{} is larger than {limit} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
        }
        Ok(Some(content))
    }

    /// What is in the folder to which a path leads, in the order of the names; `None` where there is no folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries(&self, path: &Path) -> io::Result<Option<Vec<Entry>>> {
        match self.place(path, true)?.map(|place| place.node) {
            Some(Node::Folder(folder)) => entries(&folder).map(Some),
            _ => Ok(None),
        }
    }

    /// Tells `visit` of all that is in the folder to which a path leads, as paths below it, and of what is in each
    /// folder for which it says true. No link is followed, and a folder that cannot be read counts as empty.
    pub fn walk(&self, path: &Path, mut visit: impl FnMut(&Path, Kind) -> bool) {
        let Ok(Some(Place { node: Node::Folder(folder), .. })) = self.place(path, true) else { return };
        let mut open = vec![(PathBuf::new(), folder)];
        while let Some((inner, folder)) = open.pop() {
            for entry in entries(&folder).unwrap_or_default() {
                let path = inner.join(&entry.name);
                if visit(&path, entry.kind)
                    && entry.kind == Kind::Folder
                    && let Ok(Some(Node::Folder(folder))) = folder.child(&entry.name)
                {
                    open.push((path, folder));
                }
            }
        }
    }

    /// Follows a path. `None` where nothing is, and where it leads out.
    fn place(&self, path: &Path, follow: bool) -> io::Result<Option<Place>> {
        let mut way = Way { root: Folder::root(self.layers.iter().map(PathBuf::as_path))?, steps: Vec::new() };
        let mut left: Vec<OsString> = Vec::new();
        let mut links = 0;
        if !push(&mut left, path) {
            return Ok(None);
        }
        while let Some(name) = left.pop() {
            if name == ".." {
                if way.steps.pop().is_none() {
                    return Ok(None);
                }
                continue;
            }
            match way.here().child(&name)? {
                None => return Ok(None),
                Some(Node::Folder(folder)) => way.steps.push((name, folder)),
                Some(Node::Link(target)) if follow || !left.is_empty() => {
                    links += 1;
                    let target = Path::new(&target);
                    let below = if target.is_absolute() {
                        way.steps.clear();
                        target.strip_prefix(&self.at).ok()
                    } else {
                        Some(target)
                    };
                    if links > LINKS || !below.is_some_and(|below| push(&mut left, below)) {
                        return Ok(None);
                    }
                }
                Some(_) if !left.is_empty() => return Ok(None),
                Some(node) => return Ok(Some(Place { path: way.path().join(name), node, parent: way.here().clone() })),
            }
        }
        let parent = way.steps.iter().rev().nth(1).map_or_else(|| way.root.clone(), |(_, folder)| folder.clone());
        Ok(Some(Place { path: way.path(), node: Node::Folder(way.here().clone()), parent }))
    }
}

/// The folders from the root of a view to where a path has led so far.
struct Way {
    root: Folder,
    steps: Vec<(OsString, Folder)>,
}

impl Way {
    fn here(&self) -> &Folder {
        self.steps.last().map_or(&self.root, |(_, folder)| folder)
    }

    fn path(&self) -> PathBuf {
        self.steps.iter().map(|(name, _)| name).collect()
    }
}

/// Puts the parts of a path on top of those that are left; false where it is absolute.
fn push(left: &mut Vec<OsString>, path: &Path) -> bool {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => left.push(name.to_owned()),
            Component::ParentDir => left.push("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

fn entries(folder: &Folder) -> io::Result<Vec<Entry>> {
    let kind = |kind| match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    Ok(folder.entries()?.into_iter().map(|(name, found)| Entry { name, kind: kind(found) }).collect())
}
