//! What builds leave in the folders of their packages, for the builds that need these packages.
//!
//! A published tarball lacks what its build left outside of it: without `*.tsbuildinfo` a compiler builds a sibling
//! again over its published files. A private sibling has no tarball at all.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt, fs::FileTypeExt},
    path::Path,
    sync::Arc,
};

use packline_layers::{
    Begin, Key, Layer, Store,
    sources::{File, Kind},
};
use packline_workspace::Member;
use sha2::{Digest, Sha256};

use crate::phase::Failure;

use super::{making::machine, stack::Stack};

/// What the output of a build is known by.
#[derive(Clone, Debug)]
pub(crate) enum Built<'a> {
    /// A published version.
    Published { name: &'a str, version: &'a str, integrity: &'a str },
    /// A private member: its sources in one state, with one state of what is installed.
    Private { sources: String },
}

impl Built<'_> {
    fn key(&self) -> Result<Key, Failure> {
        let key = match self {
            Self::Published { name, version, integrity } => Key::of("output", ["published", name, version, integrity]),
            Self::Private { sources } => Key::of("output", ["private", sources]),
        };
        key.map_err(|error| Failure::infrastructure(error.to_string()))
    }
}

impl Stack {
    /// What the output of a private member is known by.
    ///
    /// # Errors
    /// When the list of sources cannot be read.
    pub(crate) async fn private(&self, member: &Member) -> Result<Built<'static>, Failure> {
        let (state, taken) = (Arc::clone(&self.state), Arc::clone(&self.taken));
        let folder = member.real_folder().to_owned();
        let installed: Vec<String> = self.installed.iter().map(|layer| layer.key().digest().to_owned()).collect();
        let read = tokio::task::spawn_blocking(move || Ok(digest_of(state.files(&taken)?, &folder, &installed))).await;
        let sources = read.map_err(io::Error::other).flatten().map_err(|error| machine(&error))?;
        Ok(Built::Private { sources })
    }
}

/// Keeps what the build left in the package's folder of `upper`. No error where that is not possible: it is only a help.
pub(crate) async fn keep(store: &Store, built: &Built<'_>, upper: &Path, package: &Path) {
    let Ok(key) = built.key() else { return };
    let (store, from) = (store.clone(), upper.join(package));
    let kept = tokio::task::spawn_blocking(move || try_keep(&store, &key, &from)).await;
    if let Err(error) = kept.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, "the output of a build is not kept");
    }
}

fn try_keep(store: &Store, key: &Key, from: &Path) -> io::Result<()> {
    let Begin::Make(draft) = store.begin(key)? else { return Ok(()) };
    copy_written(from, &draft.path())?;
    draft.finish().map(drop)
}

/// Links what was written: no packages of others, and no marks of what was removed.
fn copy_written(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if entry.file_name() == "node_modules" || kind.is_char_device() || kind.is_fifo() || kind.is_socket() {
            continue;
        }
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            copy_written(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else if fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The kept output, where this machine has it.
///
/// # Errors
/// When the cache cannot be read.
pub(crate) async fn find(store: &Store, built: &Built<'_>) -> Result<Option<Layer>, Failure> {
    let (store, key) = (store.clone(), built.key()?);
    let found = tokio::task::spawn_blocking(move || store.find(&key)).await;
    found.map_err(io::Error::other).flatten().map_err(|error| machine(&error))
}

/// The digest of what the sources have in a folder.
fn digest_of(files: &[File], folder: &Path, also: &[String]) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    also.iter().for_each(|part| add(part.as_bytes()));
    for file in files.iter().filter(|file| file.path.starts_with(folder)) {
        add(file.path.as_os_str().as_bytes());
        match &file.kind {
            Kind::File { digest, executable } => add(&[&digest[..], &[u8::from(*executable)]].concat()),
            Kind::Link { target } => add(target.as_os_str().as_bytes()),
            Kind::Folder => add(b"/"),
        }
    }
    hex::encode(hash.finalize())
}
