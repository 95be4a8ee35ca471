//! A layer that is there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Key, lock::Lock};

/// A finished layer. It is not evicted as long as this value lives.
#[derive(Debug)]
pub struct Layer {
    pub(crate) key: Key,
    pub(crate) path: PathBuf,
    pub(crate) note: PathBuf,
    /// Its shared lock is the lease.
    pub(crate) _lease: Lock,
}

impl Layer {
    /// What it is known by.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Its folder. Nobody writes to it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What [`Draft::note`](crate::Draft::note) was told; empty where it was told nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn note(&self) -> io::Result<Vec<u8>> {
        match fs::read(&self.note) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }
}
