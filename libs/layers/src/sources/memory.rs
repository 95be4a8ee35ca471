//! What is remembered of the files of a workspace since they were last taken.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::entry::os;
use crate::Key;

const VERSION: &[u8] = b"packline files 1";

/// A file that changed so short a time ago may change again without another time, on file systems that count in
/// seconds.
const RACY: i128 = 2_000_000_000;

/// How a file looks from outside. Times are in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) size: u64,
    pub(super) inode: u64,
    pub(super) mode: u32,
    pub(super) modified: i128,
    pub(super) changed: i128,
}

/// A file that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) look: Look,
    pub(super) digest: [u8; 32],
    pub(super) executable: bool,
    /// Whether the digest can be trusted as long as the look stays the same.
    pub(super) is_settled: bool,
}

/// All files of the last state, and its layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) layer: Option<Key>,
    pub(super) files: HashMap<PathBuf, Known>,
}

impl Look {
    pub(super) fn of(found: &Metadata) -> Self {
        let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Self {
            size: found.size(),
            inode: found.ino(),
            mode: found.mode(),
            modified: time(found.mtime(), found.mtime_nsec()),
            changed: time(found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether the file cannot change after `now` without looking different.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        i128::try_from(now).is_ok_and(|now| self.modified < now - RACY)
    }
}

impl Memory {
    /// A memory that is missing or damaged is empty.
    pub(super) fn read(path: &Path) -> Self {
        fs::read(path).ok().and_then(|bytes| Self::parse(&bytes)).unwrap_or_default()
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder)?;
        let file = tempfile::Builder::new().tempfile_in(folder)?;
        fs::write(file.path(), self.bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        bytes.push(0);
        bytes.extend(self.layer.as_ref().map(Key::to_string).unwrap_or_default().bytes());
        bytes.push(0);
        for (path, known) in &self.files {
            let Look { size, inode, mode, modified, changed } = known.look;
            let (digest, executable, is_settled) =
                (hex::encode(known.digest), u8::from(known.executable), u8::from(known.is_settled));
            let line = format!("{digest} {executable} {is_settled} {size} {inode} {mode} {modified} {changed}");
            bytes.extend(line.bytes());
            bytes.push(0);
            bytes.extend(path.as_os_str().as_bytes());
            bytes.push(0);
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut parts = bytes.strip_suffix(&[0])?.split(|byte| *byte == 0);
        if parts.next()? != VERSION {
            return None;
        }
        let layer = match parts.next()? {
            b"" => None,
            key => Some(std::str::from_utf8(key).ok()?.parse().ok()?),
        };
        let mut files = HashMap::new();
        while let Some(line) = parts.next() {
            let mut words = std::str::from_utf8(line).ok()?.split(' ');
            let mut digest = [0; 32];
            hex::decode_to_slice(words.next()?, &mut digest).ok()?;
            let (executable, is_settled) = (words.next()? == "1", words.next()? == "1");
            let look = Look {
                size: words.next()?.parse().ok()?,
                inode: words.next()?.parse().ok()?,
                mode: words.next()?.parse().ok()?,
                modified: words.next()?.parse().ok()?,
                changed: words.next()?.parse().ok()?,
            };
            files.insert(os(parts.next()?).into(), Known { look, digest, executable, is_settled });
        }
        Some(Self { layer, files })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_memory_is_read_as_it_was_written() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("states/x");
        assert_eq!(Memory::read(&path), Memory::default());
        let look = Look { size: 1, inode: 2, mode: 0o100_644, modified: -3, changed: 4 };
        let known = Known { look, digest: [9; 32], executable: true, is_settled: true };
        let files = [("a b".into(), known), (os(b"\xff\n").into(), Known { is_settled: false, ..known })];
        let memory = Memory { layer: Some(Key::of("sources", ["x"]).unwrap()), files: files.into() };
        memory.write(&path).unwrap();
        assert_eq!(Memory::read(&path), memory);
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, bytes.get(..length).unwrap()).unwrap();
            assert!(Memory::read(&path).files.len() < 2, "cut off at {length}");
        }
    }

    #[test]
    fn a_file_that_just_changed_is_not_settled() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let at = |modified| Look { size: 1, inode: 2, mode: 3, modified, changed: 0 }.is_settled(now);
        assert!(at(97_999_999_999));
        assert!(!at(98_000_000_000));
        assert!(!at(101_000_000_000));
    }
}
