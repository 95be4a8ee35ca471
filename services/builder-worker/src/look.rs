//! A package's folder, looked at from outside of its build.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    isolated, manifest,
    view::{Kind, Merged},
};

/// How the worker itself reads what a build sees in the package's folder, and what its phases left there.
#[derive(Clone, Debug)]
pub enum Look {
    /// It is a folder.
    Folder(PathBuf),
    /// It is in a view, at this path.
    View(Merged, PathBuf),
}

impl Look {
    /// What stands in a file of the package, up to a limit in bytes; not what a link out of it points to.
    ///
    /// # Errors
    /// When it is not there, or is no file.
    pub fn read(&self, file: &Path, limit: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Folder(folder) => manifest::read_plain(&folder.join(file), limit),
            Self::View(merged, package) => {
                let read = merged.read(&package.join(file), limit)?;
                read.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            }
        }
    }

    /// Whether the package has this file or folder now.
    pub fn has(&self, file: &Path) -> bool {
        match self {
            Self::Folder(folder) => {
                let there = |path: &Path| path.canonicalize().ok();
                there(&folder.join(file)).zip(there(folder)).is_some_and(|(file, folder)| file.starts_with(folder))
            }
            Self::View(merged, package) => merged.exists(&package.join(file)),
        }
    }

    /// Whether this is a folder in the package.
    pub fn has_folder(&self, below: &Path) -> bool {
        match self {
            Self::Folder(folder) => self.has(below) && folder.join(below).is_dir(),
            Self::View(merged, package) => merged.entries(&package.join(below)).is_ok_and(|entries| entries.is_some()),
        }
    }

    /// Lines for the log of a build about the links in a folder of the package, which npm does not pack. Blocks.
    pub fn not_packed(&self, below: &Path) -> Vec<String> {
        match self {
            Self::Folder(folder) => isolated::not_packed(&folder.join(below)),
            Self::View(merged, package) => {
                let mut links = Vec::new();
                merged.walk(&package.join(below), |path, kind| {
                    if kind == Kind::Link {
                        links.push(path.to_owned());
                    }
                    path.parent() != Some(Path::new("")) || path.file_name().is_none_or(|name| name != "node_modules")
                });
                links.sort();
                isolated::not_packed_lines(&links)
            }
        }
    }
}
