//! Layers that cannot be made: their failures are remembered for a while.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    Key, Store,
    draft::remove_file,
    lock::{self, Lock, Mode},
};

/// So long a failure is remembered.
pub const MEMORY: Duration = Duration::from_secs(600);

/// A layer that failed by its own fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The packages that failed because of it, each once, in the order in which they did.
    pub packages: Vec<String>,
    /// The build in which each of them failed last. Older records have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub builds: BTreeMap<String, String>,
}

impl Failed {
    /// Whether a package failed because of it already, in another build than this one. A build is the same where its
    /// order is delivered again.
    pub fn failed_before(&self, package: &str, build: &str) -> bool {
        let is_noted = self.packages.iter().any(|known| known == package);
        is_noted && self.builds.get(package).is_none_or(|noted| noted != build)
    }
}

impl Store {
    /// The failure that is remembered of a layer; `None` when it was [`MEMORY`] or longer ago.
    ///
    /// # Errors
    /// When the memory cannot be read.
    pub fn failed(&self, key: &Key, now: SystemTime) -> io::Result<Option<Failed>> {
        let failed = self.read_failure(key)?;
        Ok(failed.filter(|failed| {
            let ago = milliseconds(now).saturating_sub(failed.at);
            u128::from(ago) < MEMORY.as_millis()
        }))
    }

    /// Remembers that a layer failed; what was remembered of it before is forgotten, with its packages.
    ///
    /// # Errors
    /// When the memory cannot be written.
    pub fn remember_failure(&self, key: &Key, reason: &str, now: SystemTime) -> io::Result<()> {
        let _lock = self.lock_failures()?;
        let failed =
            Failed { reason: reason.to_owned(), at: milliseconds(now), packages: Vec::new(), builds: BTreeMap::new() };
        self.write_failure(key, &failed)
    }

    /// Notes that a package failed because of a layer, in this build. Does nothing where no failure is remembered.
    ///
    /// # Errors
    /// When the memory cannot be written.
    pub fn note_failed_package(&self, key: &Key, package: &str, build: &str) -> io::Result<()> {
        let _lock = self.lock_failures()?;
        let Some(mut failed) = self.read_failure(key)? else { return Ok(()) };
        let noted = failed.builds.insert(package.to_owned(), build.to_owned());
        if noted.as_deref() == Some(build) {
            return Ok(());
        }
        if !failed.packages.iter().any(|known| known == package) {
            failed.packages.push(package.to_owned());
        }
        self.write_failure(key, &failed)
    }

    /// Forgets a failure: the layer is to be tried again.
    ///
    /// # Errors
    /// When the memory cannot be written.
    pub fn forget_failure(&self, key: &Key) -> io::Result<()> {
        let _lock = self.lock_failures()?;
        remove_file(&self.failure(key))
    }

    fn lock_failures(&self) -> io::Result<Lock> {
        lock::waited(&self.inner("failing"), Mode::Exclusive)
    }

    fn failure(&self, key: &Key) -> PathBuf {
        self.failures().join(key.file_name())
    }

    /// A memory that is no JSON is none: the layer is tried again.
    fn read_failure(&self, key: &Key) -> io::Result<Option<Failed>> {
        match fs::read(self.failure(key)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_failure(&self, key: &Key, failed: &Failed) -> io::Result<()> {
        // One writer at a time, because of the lock.
        let written = self.failures().join(".written");
        fs::write(&written, serde_json::to_vec(failed)?)?;
        fs::rename(written, self.failure(key))
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
