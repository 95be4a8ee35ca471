//! Removing what builds left.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// Removes a folder, also where folders in it were closed to their owner, as the work folder of an overlay is. Links
/// are removed, never followed. A folder that is not there is removed. Blocks.
///
/// # Errors
/// When something in it cannot be removed.
pub fn remove_tree(folder: &Path) -> io::Result<()> {
    match remove(folder) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_all(folder);
            remove(folder)
        }
        removed => removed,
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound && is_gone(folder) => Ok(()),
        removed => removed,
    }
}

/// Whether it is gone, as it is where another process removes the same folder.
fn is_gone(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn open_all(folder: &Path) {
    let mut closed = vec![folder.to_owned()];
    while let Some(folder) = closed.pop() {
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                closed.push(entry.path());
            }
        }
    }
}
