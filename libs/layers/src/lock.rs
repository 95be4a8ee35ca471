//! Locks on files. A lock ends with the process that holds it, however that ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    ops::Deref,
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::Duration,
};

/// Between two looks at a lock that somebody else holds.
pub(crate) const POLL: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

/// A lock that is ours until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Deref for Lock {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a program that is just being started has the file open as well.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Whether the file is still at this path: the lock of a file without a name guards nothing.
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let opened = self.0.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (opened.dev(), opened.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Locked {
    Got(Lock),
    /// Somebody else has it.
    Held,
    /// There is no such file.
    Missing,
}

/// Locks a file that is there, without waiting.
pub(crate) fn existing(path: &Path, mode: Mode) -> io::Result<Locked> {
    lock(path, mode, OpenOptions::new().read(true).write(true))
}

/// Locks a file, without waiting; creates it where it is missing.
pub(crate) fn created(path: &Path, mode: Mode) -> io::Result<Locked> {
    lock(path, mode, OpenOptions::new().read(true).write(true).create(true).truncate(false))
}

/// Locks a file for a moment's work; creates it where it is missing. Waits as long as others have it.
pub(crate) fn waited(path: &Path, mode: Mode) -> io::Result<Lock> {
    loop {
        match created(path, mode)? {
            Locked::Got(file) => return Ok(file),
            Locked::Held | Locked::Missing => thread::sleep(POLL),
        }
    }
}

fn lock(path: &Path, mode: Mode, open: &OpenOptions) -> io::Result<Locked> {
    loop {
        let file = match open.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Locked::Missing),
            Err(error) => return Err(error),
        };
        let locked = match mode {
            Mode::Shared => file.try_lock_shared(),
            Mode::Exclusive => file.try_lock(),
        };
        match locked {
            Ok(()) => {
                let lock = Lock(file);
                // It may have been removed between opening and locking.
                if lock.is_at(path)? {
                    return Ok(Locked::Got(lock));
                }
            }
            Err(TryLockError::WouldBlock) => return Ok(Locked::Held),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
