//! A maker shows that it goes on, so that nobody waits for one that is frozen.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// So often a maker shows it.
const BEAT: Duration = Duration::from_secs(1);

/// Touches a file until it is dropped.
#[derive(Debug)]
pub(crate) struct Beat {
    _ends: mpsc::Sender<()>,
}

impl Beat {
    pub(crate) fn start(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (ends, ended) = mpsc::channel();
        thread::Builder::new().name("layer-beat".into()).spawn(move || {
            while ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                let _ = file.set_modified(SystemTime::now());
            }
        })?;
        Ok(Self { _ends: ends })
    }
}

/// What changes with each beat. No clock is compared, so nobody need set it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    file: (u64, u64),
    modified: (i64, i64),
}

impl Mark {
    /// `None` where there is no such file.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        let of =
            |found: Metadata| Self { file: (found.dev(), found.ino()), modified: (found.mtime(), found.mtime_nsec()) };
        match fs::symlink_metadata(path) {
            Ok(found) => Ok(Some(of(found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How long a maker has shown nothing.
#[derive(Debug)]
pub(crate) struct Stillness {
    mark: Option<Mark>,
    looked: Instant,
    still: Duration,
}

impl Stillness {
    pub(crate) fn new() -> Self {
        Self { mark: None, looked: Instant::now(), still: Duration::ZERO }
    }

    /// Looks again. Time in which nobody looked counts as one beat: the whole machine may have stood still.
    pub(crate) fn look(&mut self, mark: Option<Mark>) -> Duration {
        let (before, looked) = (self.looked, Instant::now());
        self.looked = looked;
        if self.mark == mark {
            self.still += looked.duration_since(before).min(BEAT);
        } else {
            (self.mark, self.still) = (mark, Duration::ZERO);
        }
        self.still
    }
}
