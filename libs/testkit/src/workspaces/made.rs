//! What came of a package, beside what must.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use anyhow::Context;
use flate2::read::GzDecoder;

use super::{Member, Outcome};

/// What came of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was packed; its files, each with its text.
    Packed(BTreeMap<String, String>),
    /// It was built and not packed.
    Built,
    /// This phase failed, for this reason.
    Failed(String, String),
    /// It was not built.
    Left,
}

impl Made {
    /// The files of a tarball; what is no text is read as far as it can be.
    ///
    /// # Errors
    /// When it is no tarball of npm's kind.
    pub fn packed(tarball: &[u8]) -> anyhow::Result<Self> {
        let mut archive = tar::Archive::new(GzDecoder::new(tarball));
        let mut files = BTreeMap::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            // Yarn packs the folders as well.
            if entry.header().entry_type().is_dir() {
                continue;
            }
            let path = entry.path()?.to_string_lossy().into_owned();
            let (_, path) = path.split_once('/').context("a file stands beside the folder `package`")?;
            let (path, mut bytes) = (path.to_owned(), Vec::new());
            entry.read_to_end(&mut bytes)?;
            files.insert(path, String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(Self::Packed(files))
    }
}

impl Member {
    /// How what was made differs from what must come of it; `None` where it does not.
    pub fn problem(&self, made: &Made) -> Option<String> {
        let what = match (&self.outcome, made) {
            (Outcome::Published(wanted), Made::Packed(files)) => differs(wanted, files)?,
            (Outcome::Private, Made::Built) | (Outcome::Left, Made::Left) => return None,
            (Outcome::Fails(phase, says), Made::Failed(failed, reason)) if phase == failed && reason.contains(says) => {
                return None;
            }
            (wanted, made) => format!("{made:?}, and not {wanted:?}"),
        };
        Some(format!("{}: {what}", self.name()))
    }
}

fn differs(wanted: &BTreeMap<&str, Option<&str>>, files: &BTreeMap<String, String>) -> Option<String> {
    let paths: BTreeSet<&str> = wanted.keys().copied().chain(["package.json"]).collect();
    let found: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    if found != paths {
        return Some(format!("its files are {found:?}, and not {paths:?}"));
    }
    let other = |(path, text): (&&str, &Option<&str>)| {
        let found = files.get(*path)?;
        text.filter(|text| text != found).map(|text| format!("{path} holds {found:?}, and not {text:?}"))
    };
    wanted.iter().find_map(other)
}
