//! A package's folder, looked at from outside of its build.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{isolated, manifest};

/// How the worker itself reads what a build sees in the package's folder, and what its phases left there.
#[derive(Clone, Debug)]
pub enum Look {
    /// It is a folder.
    Folder(PathBuf),
    /// It is what these folders show, the first one above the others; the path is that of the package in them.
    Layers(Vec<PathBuf>, PathBuf),
}

impl Look {
    /// What stands in a file of the package, up to a limit in bytes; not what a link points to.
    ///
    /// # Errors
    /// When it is not there, or is no file.
    pub fn read(&self, file: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let place = self.find(file).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        manifest::read_plain(&place, limit)
    }

    /// Whether the package has this file or folder now.
    pub fn has(&self, file: &Path) -> bool {
        match self {
            Self::Folder(folder) => {
                let there = |path: &Path| path.canonicalize().ok();
                there(&folder.join(file)).zip(there(folder)).is_some_and(|(file, folder)| file.starts_with(folder))
            }
            Self::Layers(..) => self.find(file).is_some(),
        }
    }

    /// Whether this is a folder in the package.
    pub fn has_folder(&self, folder: &Path) -> bool {
        self.has(folder) && self.find(folder).is_some_and(|place| place.is_dir())
    }

    /// Lines for the log of a build about the links in a folder of the package, which npm does not pack. Blocks.
    pub fn not_packed(&self, folder: &Path) -> Vec<String> {
        self.find(folder).map(|place| isolated::not_packed(&place)).unwrap_or_default()
    }

    fn find(&self, file: &Path) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.join(file)),
            Self::Layers(layers, package) => {
                let places = layers.iter().map(|layer| layer.join(package).join(file));
                places.into_iter().find(|place| fs::symlink_metadata(place).is_ok())
            }
        }
    }
}
