//! How much room a layer takes.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// A block of `st_blocks`.
const BLOCK: u64 = 512;

/// The bytes that a folder takes on disk. A file with more than one link counts nothing: layers of sources share
/// the files that did not change, and the first of them has counted them. So what remains of a layer that was removed
/// is not counted: at most the sources of each workspace once.
pub(crate) fn of(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() {
                open.push(entry.path());
            }
            if found.is_dir() || found.nlink() == 1 {
                bytes += found.len().max(found.blocks() * BLOCK);
            }
        }
    }
    Ok(bytes)
}
