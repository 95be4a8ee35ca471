//! The last root build of a workspace, on whose output the next one goes on.
//!
//! Only compilers that keep a state of their own gain from it, and only what they know to be up to date may stay: the
//! output of a source that is gone would be packed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use packline_layers::{
    Key, Layer, Store,
    sources::{File, Kind, Sources},
};
use serde::{Deserialize, Serialize};

/// Files in which `tsc --build` says what is up to date.
const STATE: &str = "tsbuildinfo";

/// What the output of a root build depends on beside the sources.
#[derive(Clone, Debug)]
pub(super) struct Like {
    /// The workspace and the script.
    of: Key,
    /// What the script says, and what is installed.
    state: String,
}

/// The root build that came to a good end last.
#[derive(Serialize, Deserialize)]
struct Record {
    layer: Key,
    state: String,
    /// When it ended, in milliseconds since 1970.
    at: u64,
    /// The sources, each with a hash.
    files: BTreeMap<String, String>,
}

impl Like {
    /// Of the script `script` of the workspace at `root`; `parts` are what it depends on.
    pub(super) fn new<'p>(root: &Path, script: &str, parts: impl IntoIterator<Item = &'p str>) -> Option<Self> {
        let of = Key::of("last", [root.as_os_str().as_encoded_bytes(), script.as_bytes()]).ok()?;
        let state = Key::of("state", parts).ok()?.digest().to_owned();
        Some(Self { of, state })
    }

    /// The layer of the last one, where the next one may go on with it. Blocks.
    pub(super) fn find(&self, store: &Store, sources: &Path, taken: &Sources) -> io::Result<Option<Layer>> {
        let Some(bytes) = store.recall(&self.of)? else { return Ok(None) };
        let Ok(last) = serde_json::from_slice::<Record>(&bytes) else { return Ok(None) };
        let Some(files) = hashes(&taken.files()?).filter(|_| last.state == self.state) else { return Ok(None) };
        if !follows(&last, &files, sources) {
            return Ok(None);
        }
        let Some(layer) = store.find(&last.layer)? else { return Ok(None) };
        Ok(has_state(layer.path()).then_some(layer))
    }

    /// Remembers a root build that came to a good end now. Blocks.
    pub(super) fn remember(&self, store: &Store, layer: &Key, taken: &Sources) -> io::Result<()> {
        let Some(files) = hashes(&taken.files()?) else { return Ok(()) };
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let record = Record { layer: layer.clone(), state: self.state.clone(), at, files };
        store.remember(&self.of, &serde_json::to_vec(&record)?)
    }
}

/// Whether nothing was removed, no setting of a compiler has changed, and what has changed is newer than the output:
/// compilers compare times.
fn follows(last: &Record, files: &BTreeMap<String, String>, sources: &Path) -> bool {
    let ended = SystemTime::UNIX_EPOCH + Duration::from_millis(last.at);
    let is_newer = |path: &str| {
        let found = fs::symlink_metadata(sources.join(path)).and_then(|found| found.modified());
        found.is_ok_and(|modified| modified > ended)
    };
    last.files.keys().all(|path| files.contains_key(path))
        && files
            .iter()
            .filter(|(path, hash)| last.files.get(*path) != Some(hash))
            .all(|(path, _)| !is_setting(path) && is_newer(path))
}

/// A file that may say where output goes.
fn is_setting(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    (name.starts_with("tsconfig") && name.ends_with(".json")) || name.contains(".config.") || name.ends_with("rc")
}

/// `None` where a path is no text.
fn hashes(files: &[File]) -> Option<BTreeMap<String, String>> {
    let kept = files.iter().filter(|file| file.kind != Kind::Folder);
    let hashed = kept.map(|file| {
        let hash = match &file.kind {
            Kind::File { digest, .. } => hex::encode(digest.get(..16).unwrap_or(digest)),
            Kind::Link { target } => format!("link {}", target.to_str()?),
            Kind::Folder => String::new(),
        };
        Some((file.path.to_str()?.to_owned(), hash))
    });
    hashed.collect()
}

/// Whether a compiler has left its state somewhere.
fn has_state(folder: &Path) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let is_state = || Path::new(&entry.file_name()).extension().is_some_and(|extension| extension == STATE);
        let kind = entry.file_type();
        kind.is_ok_and(|kind| (kind.is_file() && is_state()) || (kind.is_dir() && has_state(&entry.path())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(named: &[(&str, &str)]) -> BTreeMap<String, String> {
        named.iter().map(|(path, hash)| ((*path).to_owned(), (*hash).to_owned())).collect()
    }

    #[test]
    fn the_next_build_goes_on_where_files_were_added_and_changed_and_nothing_else() {
        let sources = tempfile::tempdir().unwrap();
        fs::create_dir_all(sources.path().join("packages/a")).unwrap();
        let hour = Duration::from_secs(3600);
        let at = u64::try_from((SystemTime::now() - hour).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis());
        let before = files(&[("a.ts", "1"), ("b.ts", "1"), ("tsconfig.json", "1")]);
        let layer = Key::of("root", ["x"]).unwrap();
        let last = Record { layer, state: String::new(), at: at.unwrap(), files: before.clone() };
        let write = |path: &str, age: Duration| {
            let file = fs::File::create(sources.path().join(path)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let goes_on = |changed: &[(&str, Option<&str>)]| {
            let mut after = before.clone();
            for (path, hash) in changed {
                match hash {
                    Some(hash) => drop(after.insert((*path).to_owned(), (*hash).to_owned())),
                    None => drop(after.remove(*path)),
                }
            }
            follows(&last, &after, sources.path())
        };
        write("a.ts", Duration::ZERO);
        write("c.ts", Duration::ZERO);
        write("old.ts", 2 * hour);
        write("packages/a/tsup.config.ts", Duration::ZERO);
        assert!(goes_on(&[]));
        assert!(goes_on(&[("a.ts", Some("2")), ("c.ts", Some("1"))]), "changed, and added");
        assert!(!goes_on(&[("b.ts", None)]), "removed");
        assert!(!goes_on(&[("b.ts", None), ("c.ts", Some("1"))]), "renamed");
        assert!(!goes_on(&[("old.ts", Some("1"))]), "added with the time that it has elsewhere");
        assert!(!goes_on(&[("tsconfig.json", Some("2"))]), "output may go elsewhere");
        assert!(!goes_on(&[("packages/a/tsup.config.ts", Some("1"))]), "the same, for one that is new");
        write("a.ts", 2 * hour);
        assert!(!goes_on(&[("a.ts", Some("2"))]), "a compiler that compares times takes it for up to date");
    }
}
