//! Writing sources to the folder that becomes their layer.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File as Opened, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use super::{
    File, Kind, SourcesError,
    memory::{Known, Look, Memory},
    scan::{self, cannot_read, is_missing},
    settings::{self, Syntax},
};
use crate::Layer;

/// From where to where sources are written.
pub(super) struct Fill<'a> {
    /// The root of the workspace.
    pub(super) root: &'a Path,
    pub(super) members: &'a BTreeSet<PathBuf>,
    /// What the scan found.
    pub(super) found: &'a Memory,
    /// The layer of the state before, and what was in it.
    pub(super) last: Option<(&'a Layer, &'a Memory)>,
    pub(super) target: &'a Path,
}

impl Fill<'_> {
    /// Writes all of it; gives the path of a file that is no longer as it was found.
    pub(super) fn write(&self, files: &[File]) -> Result<Option<PathBuf>, SourcesError> {
        let mut made = HashSet::new();
        for File { path, kind } in files {
            let target = self.target.join(path);
            if let Some(folder) = path.parent() {
                create(self.target, folder, &mut made)?;
            }
            match kind {
                Kind::Folder => create(self.target, path, &mut made)?,
                Kind::Link { target: says } => symlink(says, target)?,
                Kind::File { .. } => {
                    let Some(known) = self.found.files.get(path) else { return Ok(Some(path.clone())) };
                    if !self.link(path, known, &target) && !self.copy(path, known, &target)? {
                        return Ok(Some(path.clone()));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes a file from the layer of the state before; false where it is not there, or not the same.
    fn link(&self, path: &Path, known: &Known, target: &Path) -> bool {
        self.last.is_some_and(|(layer, memory)| {
            let is_same = |last: &Known| (last.digest, last.executable) == (known.digest, known.executable);
            // It fails where the file has as many links as it may have.
            memory.files.get(path).is_some_and(is_same) && fs::hard_link(layer.path().join(path), target).is_ok()
        })
    }

    /// Copies a file from the workspace; false where it is no longer as it was found.
    fn copy(&self, path: &Path, known: &Known, target: &Path) -> Result<bool, SourcesError> {
        let source = self.root.join(path);
        let syntax = settings::syntax(path, self.members);
        let written = match syntax {
            None if known.is_settled => copy_settled(&source, target, known),
            _ => write(&source, target, syntax, known),
        };
        match written {
            Ok(written) => Ok(written),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(cannot_read(path, &error)),
        }
    }
}

/// Copies a file that cannot have changed if it looks the same; true where it does. Blocks are shared where the file
/// system can.
fn copy_settled(source: &Path, target: &Path, known: &Known) -> io::Result<bool> {
    fs::copy(source, target)?;
    settle(&Opened::open(target)?, known)?;
    Ok(Look::of(&fs::symlink_metadata(source)?) == known.look)
}

/// Copies the content; true where it is what was found.
fn write(source: &Path, target: &Path, syntax: Option<Syntax>, known: &Known) -> io::Result<bool> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(target)?;
    let mut hash = Sha256::new();
    if let Some(syntax) = syntax {
        let (bytes, _) = settings::clean(&fs::read(source)?, syntax);
        hash.update(&bytes);
        file.write_all(&bytes)?;
    } else {
        scan::pieces(source, |bytes| {
            hash.update(bytes);
            file.write_all(bytes)
        })?;
    }
    settle(&file, known)?;
    Ok(<[u8; 32]>::from(hash.finalize()) == known.digest)
}

/// Gives a copy its mode and the time of its source.
fn settle(file: &Opened, known: &Known) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(if known.executable { 0o755 } else { 0o644 }))?;
    if let Some(time) = time(known.look.modified) {
        file.set_modified(time)?;
    }
    Ok(())
}

fn time(nanoseconds: i128) -> Option<SystemTime> {
    let since = std::time::Duration::from_nanos_u128(u128::try_from(nanoseconds).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Creates a folder and those above it.
fn create<'p>(root: &Path, folder: &'p Path, made: &mut HashSet<&'p Path>) -> io::Result<()> {
    if folder.as_os_str().is_empty() || made.contains(folder) {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        create(root, above, made)?;
    }
    let at = root.join(folder);
    fs::create_dir(&at)?;
    fs::set_permissions(&at, fs::Permissions::from_mode(0o755))?;
    made.insert(folder);
    Ok(())
}
