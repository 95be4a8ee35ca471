//! What an install reads of a workspace: manifests without what an install does not read, the lock file, settings.
//!
//! Installed from this, and not from the sources, node_modules depend on nothing else, so its digest is the key of the
//! installed layer. The scripts of the root and of members do not run, since no manifest has them; those of
//! dependencies do.

mod reads;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use packline_workspace::Manager;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::linked::leave_out;

pub(crate) use reads::{DEPENDENCIES, locks};
use reads::{below, file_targets, patches, programs, reduced, settings};

/// Stands for a program that is not built yet: managers link no program that is not there.
const STUB: &[u8] = b"#!/usr/bin/env node\n";

/// The longest lock file or vendored tarball that is read, in bytes.
const LONGEST: u64 = 256 * 1024 * 1024;

/// The files of one install, as paths below the root of the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skeleton {
    files: BTreeMap<PathBuf, Vec<u8>>,
    programs: BTreeSet<PathBuf>,
    manager: Manager,
    /// In which folder the manager is started.
    pub folder: PathBuf,
    /// Whether it installs what a lock file says.
    pub locked: bool,
    key: Input,
}

/// What the digest is made of, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Input(Vec<u8>);

impl Input {
    /// Each part with its length before it, so that no two lists of parts are one text.
    fn add(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u64).to_le_bytes());
        self.0.extend_from_slice(part);
    }
}

/// A member of the workspace, or its root.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Below the root; empty for the root.
    pub folder: &'a Path,
    /// Its `package.json`.
    pub manifest: &'a Map<String, Value>,
}

impl Skeleton {
    /// The skeleton for an install by `manager` in `folder` of the workspace whose sources are at `sources`. `parts` are
    /// those that this install is for, `links` what the manager links to what of them: who, whom, and `of_manager` what the
    /// manager's own file of settings says. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(
        sources: &Path,
        manager: Manager,
        of_manager: &Value,
        folder: &Path,
        parts: &[Part<'_>],
        links: &[(String, String)],
    ) -> io::Result<Self> {
        let mut skeleton = Self { folder: folder.to_owned(), manager, ..Self::default() };
        for part in parts {
            skeleton.add_part(part)?;
        }
        for part in parts {
            skeleton.add_targets(sources, part)?;
        }
        for (who, whom) in links {
            skeleton.key.add(who.as_bytes());
            skeleton.key.add(whom.as_bytes());
        }
        for name in locks(manager) {
            if skeleton.add_file(sources, &folder.join(name))? {
                skeleton.locked = true;
                break;
            }
        }
        for name in settings(manager) {
            skeleton.add_tree(sources, &folder.join(name))?;
        }
        let of_parts = parts.iter().flat_map(|part| patches(part.folder, part.manifest));
        let of_settings = of_manager.as_object().map(|settings| patches(folder, settings)).unwrap_or_default();
        for path in of_parts.chain(of_settings) {
            skeleton.add_file(sources, &path)?;
        }
        Ok(skeleton)
    }

    /// The key of the layer: the same for all states of the sources from which this is installed. `also` says what else
    /// the layer depends on: versions, platform, place.
    pub fn digest(&self, also: &[&str]) -> String {
        let mut input = self.key.clone();
        input.add(&[u8::from(self.locked)]);
        input.add(self.folder.as_os_str().as_encoded_bytes());
        for part in also {
            input.add(part.as_bytes());
        }
        hex::encode(Sha256::digest(&input.0))
    }

    /// The lock file.
    pub fn lock(&self) -> Option<&[u8]> {
        locks(self.manager).iter().find_map(|name| self.files.get(&self.folder.join(name))).map(Vec::as_slice)
    }

    /// Installs by this lock file instead. `parts` say what else it then depends on.
    pub fn replace_lock(&mut self, contents: Vec<u8>, parts: &[&str]) {
        let mut locks = locks(self.manager).iter();
        let Some(name) = locks.find(|name| self.files.contains_key(&self.folder.join(name))) else { return };
        self.files.insert(self.folder.join(name), contents);
        for part in parts {
            self.key.add(part.as_bytes());
        }
    }

    /// Installs without these packages. `parts` say what is put in their place.
    pub(crate) fn leave_out(&mut self, names: &BTreeSet<String>, parts: &[&[u8]]) {
        let place = self.folder.join("package.json");
        let manifest = self.files.get(&place).and_then(|text| serde_json::from_slice(text).ok());
        if let Some(Value::Object(mut manifest)) = manifest {
            leave_out(&mut manifest, |name| names.contains(name));
            self.files.insert(place, Value::Object(manifest).to_string().into_bytes());
        }
        for part in names.iter().map(String::as_bytes).chain(parts.iter().copied()) {
            self.key.add(part);
        }
    }

    /// A text file that it has at the root of the install.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.files.get(&self.folder.join(name)).map(|contents| String::from_utf8_lossy(contents).into_owned())
    }

    /// The same install with these files at its root in place of its own. The layer does not depend on how they differ.
    #[must_use]
    pub(crate) fn with_settings(&self, files: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let mut skeleton = self.clone();
        skeleton.files.extend(files.into_iter().map(|(name, contents)| (self.folder.join(name), contents)));
        skeleton
    }

    /// Writes it to an empty folder. Blocks.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, to: &Path) -> io::Result<()> {
        for (path, contents) in &self.files {
            write(&to.join(path), contents, 0o644)?;
        }
        for path in self.programs.iter().filter(|path| !self.files.contains_key(*path)) {
            write(&to.join(path), STUB, 0o755)?;
        }
        Ok(())
    }

    fn add_part(&mut self, part: &Part<'_>) -> io::Result<()> {
        let mut reduced = reduced(part.manifest);
        let mut of_key = reduced.clone();
        // A version that no range rejects changes nothing: which links there are is in the key.
        of_key.remove("version");
        self.key.add(part.folder.as_os_str().as_encoded_bytes());
        self.key.add(Value::Object(of_key).to_string().as_bytes());
        if self.manager != Manager::Npm {
            // It is chosen already, and pnpm would look for all that the pinned one consists of.
            reduced.remove("packageManager");
            reduced.remove("devEngines");
        }
        let text = serde_json::to_vec_pretty(&Value::Object(reduced))?;
        self.files.insert(part.folder.join("package.json"), text);
        for program in programs(part.manifest) {
            if let Some(path) = below(part.folder, &program) {
                self.programs.insert(path);
            }
        }
        Ok(())
    }

    /// Adds what a manifest takes from files and folders in the workspace.
    fn add_targets(&mut self, sources: &Path, part: &Part<'_>) -> io::Result<()> {
        for (target, is_copied) in file_targets(part.manifest) {
            let Some(path) = below(part.folder, &target) else { continue };
            let manifest = path.join("package.json");
            match fs::symlink_metadata(sources.join(&path)) {
                Ok(there) if there.is_file() => drop(self.add_file(sources, &path)?),
                // pnpm and Yarn copy such a folder, npm links it.
                Ok(there) if there.is_dir() && is_copied && self.manager != Manager::Npm => {
                    self.add_tree(sources, &path)?;
                }
                Ok(there) if there.is_dir() => drop(self.add_file(sources, &manifest)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds a file, or a folder with all that is in it but for what is installed there.
    fn add_tree(&mut self, sources: &Path, path: &Path) -> io::Result<()> {
        if self.add_file(sources, path)? || !fs::symlink_metadata(sources.join(path)).is_ok_and(|there| there.is_dir())
        {
            return Ok(());
        }
        let names = fs::read_dir(sources.join(path))?.map(|entry| Ok(entry?.file_name()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names.into_iter().filter(|name| name != "node_modules") {
            self.add_tree(sources, &path.join(name))?;
        }
        Ok(())
    }

    /// Adds a file, unless it is there: manifests are, without what an install does not read.
    fn add_file(&mut self, sources: &Path, path: &Path) -> io::Result<bool> {
        if self.files.contains_key(path) {
            return Ok(true);
        }
        let place = sources.join(path);
        match fs::symlink_metadata(&place) {
            Ok(there) if there.is_file() && there.len() <= LONGEST => {
                let contents = fs::read(&place)?;
                self.key.add(path.as_os_str().as_encoded_bytes());
                self.key.add(&contents);
                self.files.insert(path.to_owned(), contents);
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn write(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    io::Write::write_all(&mut file, contents)?;
    // Whatever the umask says.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use serde_json::json;

    fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for (path, text) in files {
            write(&place.path().join(path), text.as_bytes(), 0o644).unwrap();
        }
        place
    }

    fn of(place: &tempfile::TempDir, root: &Value, member: &Value) -> Skeleton {
        let links = [("a".to_owned(), "b".to_owned())];
        let parts = [
            Part { folder: Path::new(""), manifest: root.as_object().unwrap() },
            Part { folder: Path::new("packages/a"), manifest: member.as_object().unwrap() },
        ];
        Skeleton::of(place.path(), Manager::Npm, &Value::Null, Path::new(""), &parts, &links).unwrap()
    }

    #[test]
    fn an_install_reads_no_scripts_and_finds_every_program() {
        let place =
            place(&[("package-lock.json", "{}"), ("packages/vendor/x.tgz", "tar"), ("vendor/y/package.json", "{}")]);
        let root = json!({"private": true, "workspaces": ["packages/*"], "scripts": {"prepare": "exit 1"}});
        let member = json!({
            "name": "a", "version": "1.0.0", "main": "dist/index.js", "bin": {"a": "./dist/cli.js", "out": "../../../x"},
            "dependencies": {"x": "file:../vendor/x.tgz", "y": "../../vendor/y", "z": "file:../../../../etc/passwd"},
        });
        let skeleton = of(&place, &root, &member);
        let to = tempfile::tempdir().unwrap();
        skeleton.write(to.path()).unwrap();
        let read = |path: &str| fs::read_to_string(to.path().join(path)).unwrap();
        assert!(skeleton.locked && !read("package.json").contains("scripts"));
        assert!(!read("packages/a/package.json").contains("main"));
        assert_eq!((read("packages/vendor/x.tgz"), read("vendor/y/package.json")), ("tar".into(), "{}".into()));
        let stub = to.path().join("packages/a/dist/cli.js");
        assert_eq!((fs::read(&stub).unwrap(), fs::metadata(&stub).unwrap().mode() & 0o777), (STUB.to_vec(), 0o755));
    }

    #[test]
    fn the_key_changes_with_what_an_install_reads_and_with_nothing_else() {
        let place = place(&[("package-lock.json", "{}")]);
        let root = json!({"workspaces": ["packages/*"]});
        let digest = |member: Value| of(&place, &root, &member).digest(&["npm 11", "linux"]);
        let first = digest(json!({"name": "a", "version": "1.0.0", "scripts": {"build": "tsc"}, "license": "MIT"}));
        assert_eq!(digest(json!({"name": "a", "version": "1.0.1", "scripts": {}, "files": ["dist"]})), first);
        for other in [
            json!({"name": "a", "dependencies": {"b": "^1.0.0"}}),
            json!({"name": "a", "bin": "cli.js"}),
            json!({"name": "a", "engines": {"node": ">=22"}}),
        ] {
            assert_ne!(digest(other.clone()), first, "{other}");
        }
        let member = json!({"name": "a"});
        assert_ne!(of(&place, &root, &member).digest(&["npm 12", "linux"]), first);
        fs::write(place.path().join("package-lock.json"), "{ }").unwrap();
        assert_ne!(digest(member.clone()), first);
        fs::remove_file(place.path().join("package-lock.json")).unwrap();
        assert!(!of(&place, &root, &member).locked);
    }
}
