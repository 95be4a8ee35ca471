//! What was written to a copy.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, SFlag, mknod};
use packline_layers::remove_tree;

use super::{Copied, Stamp};
use crate::view::Merged;

impl Copied {
    /// Moves what was written in the folder `below` of the copy to `upper`. What is in `upper` already was part of the
    /// view, and what was removed is removed there. With `lower`, `upper` shows over that what the copy shows.
    /// The copy is of no use then. Blocks.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn take_written(self, below: &Path, upper: &Path, lower: Option<&Merged>) -> io::Result<()> {
        if !self.is_folder(Some(below), &mut BTreeSet::new()) {
            return Ok(());
        }
        let mut written = Vec::new();
        self.find_written(below, &mut written)?;
        fs::create_dir_all(upper)?;
        for path in self.removed(below) {
            let place = upper.join(&path);
            clear(&place)?;
            if let Some(lower) = lower
                && lower.kind(&path)?.is_some()
            {
                whiteout(&place);
            }
        }
        for path in written {
            let (from, to) = (self.at.join(&path), upper.join(&path));
            to.parent().map_or(Ok(()), fs::create_dir_all)?;
            if fs::symlink_metadata(&from)?.is_dir() {
                if !fs::symlink_metadata(&to).is_ok_and(|found| found.is_dir()) {
                    clear(&to)?;
                    fs::create_dir(&to)?;
                }
            } else {
                clear(&to)?;
                move_one(&from, &to)?;
            }
        }
        Ok(())
    }

    /// Files, links and folders that were not put there, or are not as they were, folders before what is in them.
    fn find_written(&self, folder: &Path, written: &mut Vec<PathBuf>) -> io::Result<()> {
        let entries = match fs::read_dir(self.at.join(folder)) {
            // Closed by the build itself.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let found = entry.metadata()?;
            let is_known = self.known.get(&path).is_some_and(|known| known.stamp == Stamp::of(&found));
            let is_kept = found.is_dir() || found.is_file() || found.is_symlink();
            if !is_known && is_kept {
                written.push(path.clone());
            }
            if found.is_dir() {
                self.find_written(&path, written)?;
            }
        }
        Ok(())
    }

    /// What was put into a folder and is not there now; of a folder, the folder alone.
    fn removed(&self, below: &Path) -> Vec<PathBuf> {
        let mut removed: BTreeSet<PathBuf> = BTreeSet::new();
        for path in self.known.keys().filter(|path| path.starts_with(below)) {
            let is_below = path.ancestors().skip(1).any(|above| removed.contains(above));
            if !is_below && fs::symlink_metadata(self.at.join(path)).is_err() {
                removed.insert(path.clone());
            }
        }
        removed.into_iter().collect()
    }
}

/// Moves a file or a link.
fn move_one(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        // Another file system, or a folder that the build has closed.
        Err(error) if matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::PermissionDenied) => {
            match fs::symlink_metadata(from)?.is_symlink() {
                true => symlink(fs::read_link(from)?, to),
                false => fs::copy(from, to).map(drop),
            }
        }
        moved => moved,
    }
}

/// Removes whatever is at a place.
fn clear(place: &Path) -> io::Result<()> {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => remove_tree(place),
        Ok(_) => fs::remove_file(place),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Hides what is at the same path of lower layers, as an overlay does it. Some file systems take none of these: what
/// was removed shows again then.
fn whiteout(place: &Path) {
    let made = place.parent().map_or(Ok(()), fs::create_dir_all);
    let made = made.and_then(|()| Ok(mknod(place, SFlag::S_IFCHR, Mode::empty(), 0)?));
    if let Err(error) = made {
        let name = place.file_name().unwrap_or(OsStr::new("")).display();
        tracing::warn!("a script has removed {name}, and this is not kept: {error}");
    }
}
