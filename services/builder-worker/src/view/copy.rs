//! The content of a view as a plain folder, for machines where no overlay works.
//!
//! A build writes to the folder itself, and the layers of its view change from phase to phase. So a copy remembers what
//! it was made of: what is as it was put there follows the view, and all else is the build's own.

mod content;
mod written;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::SystemTime,
};

use nix::fcntl::OFlag;

use super::Merged;
use crate::isolated::WorkspaceError;
pub use content::Parts;
use content::{Content, Source, go_on};

/// So much of a file is copied before the next look at whether to go on.
const PIECE: u64 = 8 * 1024 * 1024;

/// A folder with what a view shows, and with what was written there since.
#[derive(Debug)]
pub struct Copied {
    at: PathBuf,
    known: BTreeMap<PathBuf, Known>,
    left_out: BTreeSet<PathBuf>,
}

/// What was put at a path.
#[derive(Debug)]
struct Known {
    source: Source,
    stamp: Stamp,
}

/// How something was when it was put there. What has it still was not written to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stamp {
    Folder,
    Other { inode: u64, size: u64, mode: u32, modified: Option<SystemTime> },
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        if found.is_dir() {
            return Self::Folder;
        }
        Self::Other { inode: found.ino(), size: found.len(), mode: found.mode(), modified: found.modified().ok() }
    }
}

impl Known {
    fn is_untouched(&self, place: &Path) -> bool {
        fs::symlink_metadata(place).is_ok_and(|found| Stamp::of(&found) == self.stamp)
    }
}

impl Copied {
    /// An empty folder at `at`, where nothing is yet. Blocks.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(at: impl Into<PathBuf>) -> io::Result<Self> {
        let at = at.into();
        fs::create_dir(&at)?;
        Ok(Self { at, known: BTreeMap::new(), left_out: BTreeSet::new() })
    }

    /// Where it is.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// What was left out last: links that lead out of the view, sockets, pipes and devices.
    pub fn left_out(&self) -> &BTreeSet<PathBuf> {
        &self.left_out
    }

    /// Makes these parts of the view of the folder, but for what was written there since the last time, as an overlay
    /// covers its lower layers. No process may write to the folder meanwhile. The files share their blocks with those
    /// of the layers where the file system can. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read or written, and soon after `stop` is true. Nothing may work in the folder then.
    pub fn update(&mut self, view: &Merged, parts: &Parts, stop: &AtomicBool) -> Result<(), WorkspaceError> {
        let content = Content::of(view, &self.at, parts, stop)?;
        let Content { all, left_out, .. } = content;
        self.remove(&all)?;
        let mut folders = BTreeSet::new();
        for (path, source) in all {
            go_on(stop)?;
            if let Some(known) = self.known.get_mut(&path) {
                // It is that already, or the build has written to it.
                known.source = source;
            } else if self.is_folder(path.parent(), &mut folders) {
                self.put(path, source, stop)?;
            }
        }
        self.left_out = left_out;
        Ok(())
    }

    /// Removes what the view shows no more, or shows in another layer, where nobody has written to it.
    fn remove(&mut self, all: &BTreeMap<PathBuf, Source>) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        let old = self.known.iter().filter(|(path, known)| all.get(*path) != Some(&known.source));
        let old: Vec<PathBuf> = old.map(|(path, _)| path.clone()).collect();
        for path in old.into_iter().rev() {
            let place = self.at.join(&path);
            let is_there = self.is_folder(path.parent(), &mut folders);
            let is_untouched = is_there && self.known.get(&path).is_some_and(|known| known.is_untouched(&place));
            if is_untouched {
                match fs::symlink_metadata(&place)?.is_dir() {
                    // What the build has in it stays.
                    true => drop(fs::remove_dir(&place)),
                    false => fs::remove_file(&place)?,
                }
                folders.remove(&path);
            }
            if is_untouched || !all.contains_key(&path) {
                self.known.remove(&path);
            }
        }
        Ok(())
    }

    /// Whether this is a folder of the copy, and no link that a build has put in its place. `folders` are those that are.
    fn is_folder(&self, path: Option<&Path>, folders: &mut BTreeSet<PathBuf>) -> bool {
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else { return true };
        if folders.contains(path) {
            return true;
        }
        let is_folder = self.is_folder(path.parent(), folders)
            && fs::symlink_metadata(self.at.join(path)).is_ok_and(|found| found.is_dir());
        if is_folder {
            folders.insert(path.to_owned());
        }
        is_folder
    }

    /// Puts something where nothing was put before. What the build has there stays.
    fn put(&mut self, path: PathBuf, source: Source, stop: &AtomicBool) -> Result<(), WorkspaceError> {
        let place = self.at.join(&path);
        let stamp = match &source {
            Source::Folder => fs::create_dir(&place).map(|()| Stamp::Folder).map_err(WorkspaceError::from),
            Source::Link(target) => {
                let linked = symlink(target, &place).and_then(|()| fs::symlink_metadata(&place));
                linked.map(|found| Stamp::of(&found)).map_err(WorkspaceError::from)
            }
            Source::File(layer) => file(&layer.join(&path), &place, stop),
        };
        match stamp {
            Ok(stamp) => drop(self.known.insert(path, Known { source, stamp })),
            Err(WorkspaceError::Machine(error)) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Copies a file to where nothing is.
fn file(from: &Path, to: &Path, stop: &AtomicBool) -> Result<Stamp, WorkspaceError> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let source = OpenOptions::new().read(true).custom_flags(flags.bits()).open(from)?;
    let found = source.metadata()?;
    let mut copied = File::create_new(to)?;
    if reflink_copy::reflink_file(&source, &copied).is_err() {
        copied.set_len(0)?;
        while io::copy(&mut (&source).take(PIECE), &mut copied)? == PIECE {
            go_on(stop)?;
        }
    }
    // Incremental compilers compare times.
    copied.set_modified(found.modified()?)?;
    copied.set_permissions(Permissions::from_mode(0o600 | (found.permissions().mode() & 0o755)))?;
    Ok(Stamp::of(&copied.metadata()?))
}
