//! The folder of all layers.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    Draft, Key, Layer,
    beat::{Mark, Stillness},
    draft,
    lock::{self, Locked, Mode},
    remove::remove_tree,
    stamp,
};

/// What is not a layer is kept here. No kind begins with a dot.
const INNER: &str = ".store";

/// How much a store may keep. Layers that are in use are kept whatever the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// On disk, all layers together.
    pub bytes: u64,
    /// Since the last use.
    pub age: Duration,
}

/// A cache of layers in a folder, shared by all processes of one user on one machine. A layer is the folder
/// `<kind>/<digest>` in it.
#[derive(Clone, Debug)]
pub struct Store {
    folder: Arc<Path>,
    bounds: Bounds,
}

/// What [`Store::begin`] found.
#[derive(Debug)]
pub enum Begin {
    /// The layer is there.
    Found(Layer),
    /// The caller makes it.
    Make(Draft),
    /// Somebody else makes it, in this process or another. See [`Store::wait`].
    Busy,
}

/// How [`Store::wait`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Nobody makes the layer any longer: it is there, or its maker failed or hung.
    Over,
    /// `stop` became true.
    Stopped,
}

impl Store {
    /// Opens the store in a folder, which is created where it is missing; removes what killed processes left, and
    /// evicts what is beyond the bounds. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: impl AsRef<Path>, bounds: Bounds) -> io::Result<Self> {
        let store = Self::join(folder, bounds)?;
        store.evict(SystemTime::now())?;
        store.forget_old_records(SystemTime::now())?;
        Ok(store)
    }

    /// As [`Self::open`], for a moment's work in a store that another process has open: evicts nothing, because to look
    /// at all layers takes longer with each. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn join(folder: impl AsRef<Path>, bounds: Bounds) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let store = Self { folder: folder.as_ref().canonicalize()?.into(), bounds };
        let plain = [store.notes(), store.trash(), store.failures(), store.records()];
        for inner in [store.stamps(), store.makers(), store.drafts()].into_iter().chain(plain) {
            fs::create_dir_all(inner)?;
        }
        store.sweep()?;
        Ok(store)
    }

    /// The folder, resolved.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it may keep.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The layer, where it is there; counts as a use.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(&self, key: &Key) -> io::Result<Option<Layer>> {
        let path = self.layer(key);
        if !is_folder(&path)? {
            return Ok(None);
        }
        let lease = match lock::created(&self.stamp(key), Mode::Shared)? {
            Locked::Got(file) => file,
            // It is being evicted.
            Locked::Held | Locked::Missing => return Ok(None),
        };
        if !is_folder(&path)? {
            return Ok(None);
        }
        stamp::used(&lease, SystemTime::now())?;
        Ok(Some(Layer { key: key.clone(), path, note: self.note(key), _lease: lease }))
    }

    /// The layer, or a draft of it where nobody else makes it. Blocks where a killed maker left much to remove.
    ///
    /// # Errors
    /// When the disk is full, or the machine fails otherwise.
    pub fn begin(&self, key: &Key) -> io::Result<Begin> {
        draft::begin(self, key)
    }

    /// Waits until nobody makes the layer any longer, or `stop` is true. A maker whose process stands still for
    /// `timeout` is given up: it makes the layer no more, even if it goes on. Blocks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn wait(&self, key: &Key, stop: &AtomicBool, timeout: Duration) -> io::Result<Waited> {
        let making = self.making(key);
        let mut stillness = Stillness::new();
        loop {
            let mark = Mark::of(&making)?;
            match lock::existing(&making, Mode::Shared)? {
                Locked::Held => {}
                Locked::Got(_) | Locked::Missing => return Ok(Waited::Over),
            }
            if stillness.look(mark) >= timeout {
                self.give_up(&making, mark)?;
                return Ok(Waited::Over);
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(Waited::Stopped);
            }
            thread::sleep(lock::POLL);
        }
    }

    /// Removes the file whose lock a maker holds, if it is still the one that was looked at.
    fn give_up(&self, making: &Path, mark: Option<Mark>) -> io::Result<()> {
        // One at a time: another one may have begun in its place.
        let Locked::Got(_giving_up) = lock::created(&self.inner("giving-up"), Mode::Exclusive)? else { return Ok(()) };
        if Mark::of(making)? == mark {
            draft::remove_file(making)?;
        }
        Ok(())
    }

    /// Removes the drafts of makers that are gone, and what nobody removed to its end.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.drafts())?.chain(fs::read_dir(self.makers())?) {
            let name = entry?.file_name();
            let Some(key) = name.to_str().and_then(Key::from_file_name) else { continue };
            let Locked::Got(_making) = lock::created(&self.making(&key), Mode::Exclusive)? else { continue };
            draft::remove_abandoned(self, &key)?;
            draft::remove_file(&self.making(&key))?;
        }
        for entry in fs::read_dir(self.trash())? {
            let _ = remove_tree(&entry?.path());
        }
        Ok(())
    }

    pub(crate) fn kind(&self, key: &Key) -> PathBuf {
        self.folder.join(key.kind())
    }

    pub(crate) fn layer(&self, key: &Key) -> PathBuf {
        self.kind(key).join(key.digest())
    }

    pub(crate) fn stamp(&self, key: &Key) -> PathBuf {
        self.stamps().join(key.file_name())
    }

    pub(crate) fn note(&self, key: &Key) -> PathBuf {
        self.notes().join(key.file_name())
    }

    pub(crate) fn making(&self, key: &Key) -> PathBuf {
        self.makers().join(key.file_name())
    }

    pub(crate) fn stamps(&self) -> PathBuf {
        self.inner("stamps")
    }

    pub(crate) fn drafts(&self) -> PathBuf {
        self.inner("drafts")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.inner("trash")
    }

    pub(crate) fn failures(&self) -> PathBuf {
        self.inner("failures")
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.inner("records")
    }

    fn makers(&self) -> PathBuf {
        self.inner("making")
    }

    fn notes(&self) -> PathBuf {
        self.inner("notes")
    }

    /// A folder of what is not a layer.
    pub(crate) fn inner(&self, name: &str) -> PathBuf {
        self.folder.join(INNER).join(name)
    }
}

fn is_folder(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_dir()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
