//! A layer that is being made.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    Begin, Key, Layer, Store,
    beat::Beat,
    lock::{self, Lock, Mode},
    remove::remove_tree,
    size,
    stamp::{self, Stamp},
};

const LAYER: &str = "layer";
const WORK: &str = "work";
const NOTE: &str = "note";

/// A layer that this process is making, and no other. Removed when dropped.
#[derive(Debug)]
pub struct Draft {
    store: Store,
    key: Key,
    /// Holds the folder that becomes the layer, and room beside it.
    base: PathBuf,
    note: Option<Vec<u8>>,
    /// Its exclusive lock says that the maker is alive, unless the file is removed because the maker hung.
    making: Lock,
    _beat: Beat,
}

impl Draft {
    /// In a folder of its own; `making` is the lock of the key.
    pub(crate) fn create(store: &Store, key: &Key, making: Lock) -> io::Result<Self> {
        let beat = Beat::start(&making)?;
        let prefix = format!("{}.", key.file_name());
        let base = tempfile::Builder::new().prefix(&prefix).tempdir_in(store.drafts())?.keep();
        let draft = Self { store: store.clone(), key: key.clone(), base, note: None, making, _beat: beat };
        for folder in [draft.path(), draft.work()] {
            fs::create_dir(&folder)?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        }
        Ok(draft)
    }

    /// What the layer will be known by.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The folder that becomes the layer.
    pub fn path(&self) -> PathBuf {
        self.base.join(LAYER)
    }

    /// A folder on the same file system that goes away with the draft: for what an overlay needs, for caches.
    pub fn work(&self) -> PathBuf {
        self.base.join(WORK)
    }

    /// Has bytes kept beside the layer, see [`Layer::note`].
    pub fn note(&mut self, note: Vec<u8>) {
        self.note = Some(note);
    }

    /// Makes it visible by one rename, and evicts other layers until the store is within its bounds again; small
    /// layers may exceed them for a few seconds. Blocks.
    ///
    /// # Errors
    /// When the disk is full, or the machine fails otherwise; the draft is removed, and there is no layer.
    pub fn finish(self) -> io::Result<Layer> {
        let (layer, bytes) = self.publish()?;
        // The lock and what is left of the draft go before others are evicted: whoever waits goes on now.
        let store = self.store.clone();
        drop(self);
        // The layer is there whether or not others can be evicted.
        let _ = store.make_room(bytes, SystemTime::now());
        Ok(layer)
    }

    fn publish(&self) -> io::Result<(Layer, u64)> {
        self.check_is_maker()?;
        let draft = self.path();
        // A folder that is closed to its owner cannot be moved.
        let mode = fs::metadata(&draft)?.permissions().mode();
        fs::set_permissions(&draft, fs::Permissions::from_mode(mode | 0o700))?;
        let stamp = Stamp { bytes: size::of(&draft)? };
        let path = self.store.layer(&self.key);
        let note = self.store.note(&self.key);
        fs::create_dir_all(self.store.kind(&self.key))?;
        let lease = lock::waited(&self.store.stamp(&self.key), Mode::Shared)?;
        self.check_is_maker()?;
        if fs::symlink_metadata(&path).is_ok() {
            // Nobody else makes layers of this key now, so somebody put it there by hand.
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there already", path.display())));
        }
        stamp.write(&lease)?;
        match &self.note {
            Some(bytes) => {
                let written = self.base.join(NOTE);
                fs::write(&written, bytes)?;
                fs::rename(written, &note)?;
            }
            None => remove_file(&note)?,
        }
        stamp::used(&lease, SystemTime::now())?;
        fs::rename(draft, &path)?;
        let layer = Layer { key: self.key.clone(), path, note, _lease: lease };
        Ok((layer, stamp.bytes))
    }

    fn check_is_maker(&self) -> io::Result<()> {
        match self.making.is_at(&self.store.making(&self.key))? {
            true => Ok(()),
            false => Err(io::Error::other("its maker hung, and another one has taken over")),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Where it fails, whoever begins or opens next removes it.
        let _ = remove_tree(&self.base);
        let making = self.store.making(&self.key);
        // It is another one's where this maker hung.
        if self.making.is_at(&making).unwrap_or(false) {
            let _ = remove_file(&making);
        }
    }
}

/// Starts a layer, unless it is there or somebody else makes it.
pub(crate) fn begin(store: &Store, key: &Key) -> io::Result<Begin> {
    if let Some(layer) = store.find(key)? {
        return Ok(Begin::Found(layer));
    }
    let making = match lock::created(&store.making(key), Mode::Exclusive)? {
        lock::Locked::Got(file) => file,
        lock::Locked::Held | lock::Locked::Missing => return Ok(Begin::Busy),
    };
    // It may have been finished since.
    if let Some(layer) = store.find(key)? {
        remove_file(&store.making(key))?;
        return Ok(Begin::Found(layer));
    }
    remove_abandoned(store, key)?;
    Draft::create(store, key, making).map(Begin::Make)
}

/// Removes drafts of a key whose lock the caller holds: their makers are dead.
pub(crate) fn remove_abandoned(store: &Store, key: &Key) -> io::Result<()> {
    for entry in fs::read_dir(store.drafts())? {
        let entry = entry?;
        if entry.file_name().to_str().and_then(Key::from_file_name).as_ref() == Some(key) {
            // What still writes to it is on its way to be killed; the next look removes what it left.
            let _ = remove_tree(&entry.path());
        }
    }
    Ok(())
}

/// Removes a file that need not be there.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
