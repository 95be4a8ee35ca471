//! Laying one folder over another.

use std::{
    fs::{self, DirEntry, FileType, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::remove::remove_tree;

/// Lays a copy of all that is in one folder over another, as an overlay would: files and links hide what is there, and
/// so do folders but for other folders, which are merged. Modes and the times of files are kept, links say what they
/// said, and nothing is written through a link or into a file that has other names. Sockets, pipes and devices are not
/// copied. Files share their blocks where the file system can. Blocks.
///
/// # Errors
/// When something cannot be read or written; part of it may be there then.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    lay(from, to, &copy)
}

/// As [`copy_tree`], but files become other names of the same files where the file system allows it: nobody may write
/// to them then. Blocks.
///
/// # Errors
/// As [`copy_tree`].
pub fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    lay(from, to, &|from, to| match fs::hard_link(from, to) {
        // Another file system, too many names already, somebody else's file.
        Err(error) if error.kind() != ErrorKind::StorageFull => copy(from, to),
        linked => linked,
    })
}

fn lay(from: &Path, to: &Path, file: &dyn Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut open = vec![PathBuf::new()];
    // Folders may be closed to their owner, so their modes come last.
    let mut modes = Vec::new();
    while let Some(below) = open.pop() {
        for entry in fs::read_dir(from.join(&below))? {
            let entry = entry?;
            let (path, kind) = (below.join(entry.file_name()), entry.file_type()?);
            let target = to.join(&path);
            if kind.is_dir() {
                make_folder(&target)?;
                modes.push((target, entry.metadata()?.permissions()));
                open.push(path);
            } else {
                lay_one(&entry, kind, &target, file)?;
            }
        }
    }
    modes.into_iter().rev().try_for_each(|(folder, mode)| fs::set_permissions(folder, mode))
}

fn lay_one(
    entry: &DirEntry,
    kind: FileType,
    target: &Path,
    file: &dyn Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    if kind.is_symlink() {
        clear(target)?;
        symlink(fs::read_link(entry.path())?, target)
    } else if kind.is_file() {
        clear(target)?;
        file(&entry.path(), target)
    } else {
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::metadata(from)?;
    fs::copy(from, to)?;
    let file = fs::File::open(to)?;
    file.set_permissions(found.permissions())?;
    file.set_modified(found.modified()?)
}

/// Makes a folder that its owner can write to, or leaves one as it is; what else is there is removed.
pub(crate) fn make_folder(at: &Path) -> io::Result<()> {
    match fs::symlink_metadata(at) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(at)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir(at)?;
    fs::set_permissions(at, Permissions::from_mode(0o755))
}

/// Removes whatever is at a place.
pub(crate) fn clear(at: &Path) -> io::Result<()> {
    match fs::symlink_metadata(at) {
        Ok(found) if found.is_dir() => remove_tree(at),
        Ok(_) => fs::remove_file(at),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
