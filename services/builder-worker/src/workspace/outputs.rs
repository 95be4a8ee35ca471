//! What builds leave in the folders of their packages, for the builds that need these packages.
//!
//! A published tarball lacks what its build left outside of it: without `*.tsbuildinfo` a compiler builds a sibling
//! again over its published files. A private sibling has no tarball at all.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::FileTypeExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use packline_layers::{
    Begin, Key, Layer, Store,
    sources::{File, Kind},
};
use packline_workspace::Member;
use sha2::{Digest, Sha256};

use crate::{phase::Failure, table::Build, worker::Worker};

use super::{env, making::machine, siblings::declared, stack::Stack};

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
    /// What the output of a private member is known by, where the recipe of `build` builds it.
    ///
    /// # Errors
    /// When the list of sources cannot be read.
    pub(crate) async fn private(
        &self,
        member: &Member,
        worker: &Worker,
        build: &Build,
    ) -> Result<Built<'static>, Failure> {
        let (state, taken) = (Arc::clone(&self.state), Arc::clone(&self.taken));
        let folders = |members: &mut dyn Iterator<Item = &Member>| -> HashSet<PathBuf> {
            members.map(|member| member.real_folder().to_owned()).collect()
        };
        let workspace = &self.workspace;
        let all = folders(&mut workspace.members().iter());
        let needed = declared(workspace, member.id());
        let inputs = folders(&mut needed.iter().filter_map(|id| workspace.member(*id)).chain([member]));
        let of = member.real_folder().display().to_string();
        let installed = self.installed.iter().map(|layer| layer.key().digest().to_owned());
        let env = worker.recipe.of_file(&build.order).and_then(env::of_build);
        let also: Vec<String> = [of].into_iter().chain(installed).chain(env).collect();
        let read = tokio::task::spawn_blocking(move || Ok(digest_of(state.files(&taken)?, &all, &inputs, &also))).await;
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

/// The digest of what a build may read of the sources: what is in no member, and what is in one of these.
fn digest_of(files: &[File], members: &HashSet<PathBuf>, inputs: &HashSet<PathBuf>, also: &[String]) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    also.iter().for_each(|part| add(part.as_bytes()));
    let is_input = |file: &&File| {
        let mut above = file.path.ancestors().skip(1);
        above.find(|folder| members.contains(*folder)).is_none_or(|member| inputs.contains(member))
    };
    for file in files.iter().filter(is_input) {
        add(file.path.as_os_str().as_bytes());
        match &file.kind {
            Kind::File { digest, executable } => add(&[&digest[..], &[u8::from(*executable)]].concat()),
            Kind::Link { target } => add(target.as_os_str().as_bytes()),
            Kind::Folder => add(b"/"),
        }
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(changed: &str) -> String {
        let paths = ["tsconfig.json", "packages/tool/index.js", "packages/core/index.js", "packages/other/index.js"];
        let file = |path: &str| File {
            path: path.into(),
            kind: Kind::File { digest: [u8::from(path == changed); 32], executable: false },
        };
        let files: Vec<File> = paths.into_iter().map(file).collect();
        let folders = |names: &[&str]| names.iter().map(|name| Path::new("packages").join(name)).collect();
        digest_of(&files, &folders(&["tool", "core", "other"]), &folders(&["tool", "core"]), &["tool".to_owned()])
    }

    #[test]
    fn the_output_of_a_private_member_is_that_of_all_it_is_built_from() {
        let before = digest("nothing");
        for input in ["tsconfig.json", "packages/tool/index.js", "packages/core/index.js"] {
            assert_ne!(digest(input), before, "{input}");
        }
        assert_eq!(digest("packages/other/index.js"), before);
    }
}
