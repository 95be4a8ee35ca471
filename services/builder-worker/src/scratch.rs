//! The folder of one worker process below SCRATCH, gone with it, or with the next one started there.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use packline_layers::remove_tree;

const PREFIX: &str = "packline-worker-";
const LOCK: &str = "lock";

/// This process's folder. Its lock says that the owner is alive, and no kill can leave it locked.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes a folder for this process below `base`, and removes what dead workers left there. Blocks.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn open(base: &Path, identity: &str) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        clear(base);
        let folder = base.join(format!("{PREFIX}{identity}"));
        // Locked before it gets its name: nobody ever sees it without an owner.
        let draft = tempfile::Builder::new().prefix(".draft-").tempdir_in(base)?;
        let lock = File::create_new(draft.path().join(LOCK))?;
        lock.lock()?;
        fs::create_dir(draft.path().join("caches"))?;
        fs::create_dir(draft.path().join("builds"))?;
        fs::rename(draft.path(), &folder)?;
        Ok(Self { folder: folder.canonicalize()?, _lock: lock })
    }

    /// All of it; resolved.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where builds have their folders.
    pub(crate) fn builds(&self) -> PathBuf {
        self.folder.join("builds")
    }

    /// npm's cache for a slot, kept from build to build.
    pub(crate) fn cache(&self, slot: u32) -> PathBuf {
        self.folder.join("caches").join(slot.to_string())
    }

    /// Removes it, with all copies in it. Blocks.
    pub(crate) fn remove(&self) {
        if let Err(error) = remove_tree(&self.folder) {
            tracing::warn!("failed to remove {}: {error}", self.folder.display());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes the folders whose owner is gone.
fn clear(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let abandoned = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Its removal was broken off.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if abandoned {
            tracing::info!("removing {}, left by a worker that died", entry.path().display());
            if let Err(error) = remove_tree(&entry.path()) {
                tracing::warn!("failed to remove {}: {error}", entry.path().display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_worker_left_goes_and_what_a_live_one_uses_stays() {
        let base = tempfile::tempdir().unwrap();
        let alive = Scratch::open(base.path(), "alive").unwrap();
        let dead = base.path().join("packline-worker-dead");
        fs::create_dir_all(dead.join("builds/x")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::create_dir(base.path().join("somebody-else")).unwrap();
        let next = Scratch::open(base.path(), "next").unwrap();
        assert!(!dead.exists());
        assert!(alive.builds().is_dir() && next.builds().is_dir());
        assert!(base.path().join("somebody-else").is_dir());
        drop((alive, next));
        let left: Vec<_> = fs::read_dir(base.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["somebody-else"]);
    }
}
