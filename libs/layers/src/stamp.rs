//! The file beside a layer that says how large it is and when it was used last, and whose lock is the lease.

use std::{
    fs::File,
    io::{self, Seek, Write},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

/// What is written in a stamp. Its time of change is when the layer was used last.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// What the layer takes on disk.
    pub(crate) bytes: u64,
}

impl Stamp {
    pub(crate) fn write(self, mut file: &File) -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(&self)?)
    }

    /// `None` where it was not written to its end.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

pub(crate) fn used(file: &File, now: SystemTime) -> io::Result<()> {
    file.set_modified(now)
}
