//! Small things that are remembered beside layers.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    time::SystemTime,
};

use crate::{Key, Store, draft::remove_file};

impl Store {
    /// What was remembered last under a key, which need not be that of a layer.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn recall(&self, key: &Key) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.record(key)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Remembers something under a key, instead of what was remembered before. It is forgotten once it is older than
    /// layers may be.
    ///
    /// # Errors
    /// When the disk is full, or the machine fails otherwise; what was remembered before is there then.
    pub fn remember(&self, key: &Key, bytes: &[u8]) -> io::Result<()> {
        let mut written = tempfile::NamedTempFile::new_in(self.records())?;
        written.write_all(bytes)?;
        written.persist(self.record(key)).map(drop).map_err(|error| error.error)
    }

    /// Removes what is too old, and what killed processes left.
    pub(crate) fn forget_old_records(&self, now: SystemTime) -> io::Result<()> {
        for entry in fs::read_dir(self.records())? {
            let entry = entry?;
            let written = entry.metadata().and_then(|found| found.modified()).unwrap_or(now);
            if now.duration_since(written).unwrap_or_default() > self.bounds().age {
                remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    fn record(&self, key: &Key) -> PathBuf {
        self.records().join(key.file_name())
    }
}
