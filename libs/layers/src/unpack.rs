//! Unpacking the tarball of a package.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use tar::{Archive, EntryType};

use crate::tree::{clear, make_folder};

const PIECE: usize = 64 * 1024;

/// Why a tarball is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It has more in it than it may.
    #[error("the tarball has more than {0} bytes in it")]
    TooLarge(u64),
    /// It is no tarball, or not all of one.
    #[error("the tarball is damaged: {0}")]
    Damaged(io::Error),
    /// The machine failed: the disk is full.
    #[error("failed to unpack the tarball: {0}")]
    Machine(#[from] io::Error),
}

/// Unpacks the tarball of a package over a folder as npm does: without the first folder of each path; files with mode
/// 0644, or 0755 where they can be executed or are a `bin` of the package; folders with mode 0755. Gives how many
/// entries were left out: links, and what would lie outside of the folder. Blocks.
///
/// # Errors
/// See [`UnpackError`]; part of it may be there then. `limit` is of the bytes of the archive, unpacked.
pub fn unpack(tarball: impl Read, to: &Path, limit: u64) -> Result<u64, UnpackError> {
    let mut left_out = 0;
    // One byte more tells too much from just enough.
    let stream = MultiGzDecoder::new(tarball).take(limit.saturating_add(1));
    let mut archive = Archive::new(stream);
    let unpacked = unpack_entries(&mut archive, to, &mut left_out);
    if archive.into_inner().limit() == 0 {
        return Err(UnpackError::TooLarge(limit));
    }
    unpacked?;
    make_bins_executable(to)?;
    Ok(left_out)
}

fn unpack_entries<R: Read>(archive: &mut Archive<R>, to: &Path, left_out: &mut u64) -> Result<(), UnpackError> {
    fs::create_dir_all(to)?;
    for entry in archive.entries().map_err(UnpackError::Damaged)? {
        let mut entry = entry.map_err(UnpackError::Damaged)?;
        let path = below(&entry.path().map_err(UnpackError::Damaged)?);
        let kind = entry.header().entry_type();
        match (kind, path) {
            (EntryType::XGlobalHeader, _) => {}
            (EntryType::Directory, Some(path)) => make_folders(to, &path)?,
            (EntryType::Regular | EntryType::Continuous, Some(path)) if path.file_name().is_some() => {
                if let Some(folder) = path.parent() {
                    make_folders(to, folder)?;
                }
                let mode = entry.header().mode().map_err(UnpackError::Damaged)?;
                write(&mut entry, &to.join(path), mode)?;
            }
            _ => *left_out += 1,
        }
    }
    Ok(())
}

/// A path without its first folder; `None` where it leads elsewhere.
fn below(path: &Path) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.into_iter().skip(1).collect())
}

fn make_folders(to: &Path, folder: &Path) -> io::Result<()> {
    let mut at = to.to_owned();
    folder.components().try_for_each(|part| {
        at.push(part);
        make_folder(&at)
    })
}

fn write(entry: &mut impl Read, at: &Path, mode: u32) -> Result<(), UnpackError> {
    clear(at)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(at)?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = entry.read(&mut piece).map_err(UnpackError::Damaged)?;
        match piece.get(..count) {
            Some(bytes) if !bytes.is_empty() => file.write_all(bytes)?,
            _ => break,
        }
    }
    file.set_permissions(Permissions::from_mode(0o644 | mode & 0o111))?;
    Ok(())
}

/// What stands in `bin` of the manifest can be executed.
fn make_bins_executable(to: &Path) -> io::Result<()> {
    let Ok(bytes) = fs::read(to.join("package.json")) else { return Ok(()) };
    let manifest: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let bins: Vec<&str> = match manifest.get("bin") {
        Some(Value::String(bin)) => vec![bin],
        Some(Value::Object(bins)) => bins.values().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    // As with the paths of entries, a first folder is taken off.
    for bin in bins.into_iter().filter_map(|bin| below(&Path::new("package").join(bin))) {
        let at = to.join(bin);
        if fs::symlink_metadata(&at).is_ok_and(|found| found.is_file()) {
            fs::set_permissions(at, Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}
