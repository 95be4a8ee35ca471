//! What each path of the sources is.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use super::{
    File, Kind, SourcesError,
    entry::folders,
    links,
    list::List,
    memory::{Known, Look, Memory},
    settings::{self, Syntax},
};

const PIECE: usize = 64 * 1024;

/// What was found at the paths of a list.
#[derive(Debug)]
pub(super) struct Scan {
    /// In the order of paths.
    pub(super) files: Vec<File>,
    /// Files that were read now or before.
    pub(super) memory: Memory,
    /// How many were read now.
    pub(super) read: u64,
    /// A file that changed while it was read.
    pub(super) changed: Option<PathBuf>,
}

/// Looks at all paths of a list; reads those files that do not look as they are remembered. Adds to what the list
/// leaves out.
pub(super) fn scan(
    root: &Path,
    list: &mut List,
    members: &BTreeSet<PathBuf>,
    last: &Memory,
) -> Result<Scan, SourcesError> {
    let mut scan = Scan { files: Vec::new(), memory: Memory::default(), read: 0, changed: None };
    scan.files.reserve(list.paths.len());
    scan.memory.files.reserve(list.paths.len());
    let mut real = HashMap::new();
    let now = SystemTime::now();
    for path in &list.paths {
        if !is_real(root, path, &mut real) {
            continue;
        }
        let at = root.join(path);
        let found = match fs::symlink_metadata(&at) {
            Ok(found) => found,
            // Deleted, and git has not been told.
            Err(error) if is_missing(&error) => continue,
            Err(error) => return Err(cannot_read(path, &error)),
        };
        let kind = found.file_type();
        let kind = if kind.is_symlink() {
            let target = fs::read_link(&at).map_err(|error| cannot_read(path, &error))?;
            match links::inside(root, path, &target) {
                Some(target) => Kind::Link { target },
                None => {
                    list.left_out.links += 1;
                    continue;
                }
            }
        } else if kind.is_file() {
            let look = Look::of(&found);
            let syntax = settings::syntax(path, members);
            let known = match last.files.get(path) {
                Some(known) if known.look == look && known.is_settled && syntax.is_none() => *known,
                _ => {
                    scan.read += 1;
                    let (digest, credentials) = match read(&at, syntax) {
                        Ok(read) => read,
                        Err(error) if is_missing(&error) => {
                            scan.changed.get_or_insert_with(|| path.clone());
                            continue;
                        }
                        Err(error) => return Err(cannot_read(path, &error)),
                    };
                    list.left_out.credentials += credentials;
                    let is_same = fs::symlink_metadata(&at).is_ok_and(|found| Look::of(&found) == look);
                    if !is_same {
                        scan.changed.get_or_insert_with(|| path.clone());
                    }
                    let executable = look.mode & 0o100 != 0;
                    Known { look, digest, executable, is_settled: is_same && look.is_settled(now) }
                }
            };
            scan.memory.files.insert(path.clone(), known);
            Kind::File { digest: known.digest, executable: known.executable }
        } else if kind.is_dir() {
            // In a checkout it replaced a file that git tracks; its own files are in the list.
            if !is_empty(&at) {
                continue;
            }
            Kind::Folder
        } else {
            list.left_out.special += 1;
            continue;
        };
        scan.files.push(File { path: path.clone(), kind });
    }
    Ok(scan)
}

/// Whether no folder above a path is a link: git tracks no files beyond links.
fn is_real<'p>(root: &Path, path: &'p Path, known: &mut HashMap<&'p Path, bool>) -> bool {
    let Some(folder) = folders(path).next() else { return true };
    if let Some(is_real) = known.get(folder) {
        return *is_real;
    }
    let real =
        is_real(root, folder, known) && fs::symlink_metadata(root.join(folder)).is_ok_and(|found| found.is_dir());
    known.insert(folder, real);
    real
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// The hash of a file's content without credentials, and how many there were.
fn read(path: &Path, syntax: Option<Syntax>) -> io::Result<([u8; 32], u64)> {
    let mut hash = Sha256::new();
    let mut credentials = 0;
    if let Some(syntax) = syntax {
        let (bytes, count) = settings::clean(&fs::read(path)?, syntax);
        hash.update(bytes);
        credentials = count;
    } else {
        pieces(path, |bytes| {
            hash.update(bytes);
            Ok(())
        })?;
    }
    Ok((hash.finalize().into(), credentials))
}

/// Reads a file piece by piece.
pub(super) fn pieces(path: &Path, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = fs::File::open(path)?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = file.read(&mut piece)?;
        match piece.get(..count) {
            Some(bytes) if !bytes.is_empty() => take(bytes)?,
            _ => return Ok(()),
        }
    }
}

/// Whether there is no such file, or no longer.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(super) fn cannot_read(path: &Path, error: &io::Error) -> SourcesError {
    SourcesError::Machine(format!("{}: {error}", path.display()))
}
