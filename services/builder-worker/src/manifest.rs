//! `package.json`: what a build needs to know of it, from a folder or from a packed tarball.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Take},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::MultiGzDecoder;
use nix::fcntl::OFlag;
use packline_domain::PackageName;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha512};
use tar::Entry;

use crate::{
    entry::{self, Files, Findings},
    look::Look,
};

/// No honest `package.json` is larger.
const MANIFEST_LIMIT: u64 = 1024 * 1024;
/// No registry takes a package that is larger unpacked.
const UNPACKED_LIMIT: u64 = 4 * 1024 * 1024 * 1024;
const NO_MANIFEST: &str = "the packed tarball has no package.json";

/// What a build needs to know of a `package.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Not to be published.
    pub private: bool,
    /// What `npm run` knows.
    pub scripts: Map<String, Value>,
    /// Settings for publishing, as npm takes them.
    pub publish_config: Map<String, Value>,
    /// What it needs, and where each is taken from.
    pub dependencies: Value,
    /// The same, to be built.
    pub dev_dependencies: Value,
    /// The same, where it can be installed.
    pub optional_dependencies: Value,
}

/// A tarball as npm packed it.
#[derive(Clone, Debug)]
pub struct Tarball {
    /// Its hash, as npm writes it.
    pub integrity: String,
    /// What stands in it.
    pub manifest: Manifest,
    json: Value,
    files: Files,
}

impl Manifest {
    /// Reads the `package.json` of a folder of the package, which must be that of `name`.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn of_folder(look: &Look, folder: &Path, name: &PackageName) -> Result<Self, String> {
        Self::in_folder(look, folder)
            .map_err(|error| format!("package.json cannot be read: {error}"))
            .and_then(|bytes| Self::parse(&bytes, name))
    }

    /// The same where npm does not build: a folder without one is right, and so is one that names no package.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn of_folder_if_there(look: &Look, name: &PackageName) -> Result<Option<Self>, String> {
        let manifest = match Self::in_folder(look, Path::new("")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => Self::understood(&read.map_err(|error| format!("package.json cannot be read: {error}"))?)?,
        };
        if !manifest.name.is_empty() {
            manifest.check_name(name)?;
        }
        Ok(Some(manifest))
    }

    /// The `package.json` of the package, with everything in it.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn json_of_folder(look: &Look) -> Result<Value, String> {
        let bytes =
            Self::in_folder(look, Path::new("")).map_err(|error| format!("package.json cannot be read: {error}"))?;
        packline_json::parse(&bytes).map_err(|error| format!("package.json is not understood: {error}"))
    }

    fn in_folder(look: &Look, folder: &Path) -> io::Result<Vec<u8>> {
        look.read(&folder.join("package.json"), MANIFEST_LIMIT)
    }

    /// Reads a `package.json`, which must be that of `name`.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(bytes: &[u8], name: &PackageName) -> Result<Self, String> {
        let manifest = Self::understood(bytes)?;
        manifest.check_name(name)?;
        Ok(manifest)
    }

    fn understood(bytes: &[u8]) -> Result<Self, String> {
        let read = packline_json::parse(bytes).map_err(|error| error.to_string());
        let read = read.and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()));
        read.map_err(|error| format!("package.json is not understood: {error}"))
    }

    fn check_name(&self, name: &PackageName) -> Result<(), String> {
        if self.name == name.as_str() {
            return Ok(());
        }
        let found: String = self.name.chars().take(214).flat_map(char::escape_debug).collect();
        Err(format!("package.json is that of `{found}`, not of {name}"))
    }

    /// Whether `npm run` knows this script.
    pub fn has_script(&self, script: &str) -> bool {
        self.script(script).is_some()
    }

    /// A script that `npm run` knows.
    pub fn script(&self, name: &str) -> Option<&str> {
        self.scripts.get(name)?.as_str()
    }
}

impl Tarball {
    /// Reads a packed tarball. Blocks.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn read(path: &Path, name: &PackageName) -> Result<Self, String> {
        let integrity = integrity(path).map_err(unreadable)?;
        let (packed, files) = packed_files(open_plain(path).map_err(unreadable)?)?;
        let manifest = Manifest::parse(&packed, name)?;
        Ok(Self { integrity, manifest, json: json_of(&packed), files })
    }

    /// What a check finds in a tarball that anybody packed. Blocks.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn check_any(path: &Path) -> Result<Findings, String> {
        let mut files = Files::default();
        each_entry(open_plain(path).map_err(unreadable)?, |path, entry| {
            // npm takes off the first folder, whatever its name.
            let below = path.iter().position(|byte| *byte == b'/').and_then(|slash| path.get(slash + 1..));
            note(&mut files, below.unwrap_or_default(), entry).map(drop).map_err(unreadable)
        })?;
        let manifest = files.contents("package.json").ok_or(NO_MANIFEST)?;
        Ok(entry::check(&json_of(manifest), &files))
    }

    /// Whether its `package.json` says of which commit it is.
    pub fn names_commit(&self) -> bool {
        self.json.get("gitHead").is_some()
    }

    /// A dependency that only a workspace understands.
    pub(crate) fn unresolved(&self) -> Option<String> {
        ["dependencies", "peerDependencies", "optionalDependencies"].iter().find_map(|kind| {
            let mut named = self.json.get(kind)?.as_object()?.iter();
            named.find_map(|(name, value)| {
                let value =
                    value.as_str().filter(|value| value.starts_with("workspace:") || value.starts_with("catalog:"))?;
                Some(format!("{name} as `{}` in {kind}", value.escape_debug()))
            })
        })
    }

    /// What is missing in it.
    pub fn check(&self) -> Findings {
        entry::check(&self.json, &self.files)
    }
}

fn unreadable(error: io::Error) -> String {
    format!("the packed tarball cannot be read: {error}")
}

fn json_of(bytes: &[u8]) -> Value {
    packline_json::parse(bytes).unwrap_or_default()
}

/// The `package.json` of a tarball, and its files. Anybody who reads it must find the same one, so what npm does
/// not pack and others may read in another way is refused.
fn packed_files(tarball: File) -> Result<(Vec<u8>, Files), String> {
    let (mut files, mut found) = (Files::default(), None);
    each_entry(tarball, |path, entry| {
        if !is_below_package(path) {
            let shown: String = String::from_utf8_lossy(path).chars().take(200).flat_map(char::escape_debug).collect();
            return Err(format!("the packed tarball has `{shown}`, which is no plain path below package/"));
        }
        let below = path.strip_prefix(b"package/").unwrap_or_default();
        if below == b"package.json" && found.is_some() {
            return Err("the packed tarball has two files package.json".into());
        }
        let contents = note(&mut files, below, entry).map_err(unreadable)?;
        if below == b"package.json" {
            found = Some(contents.unwrap_or_default());
        }
        Ok(())
    })?;
    Ok((found.ok_or(NO_MANIFEST)?, files))
}

/// A tarball as it is read, up to a limit.
type Unpacked = Take<MultiGzDecoder<File>>;

fn each_entry(
    tarball: File,
    mut show: impl FnMut(&[u8], Entry<'_, Unpacked>) -> Result<(), String>,
) -> Result<(), String> {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(tarball).take(UNPACKED_LIMIT));
    // npm reads on after an empty block.
    archive.set_ignore_zeros(true);
    for entry in archive.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path_bytes().into_owned();
        show(&path, entry)?;
    }
    if archive.into_inner().limit() == 0 {
        return Err("the packed tarball is larger than 4 GiB when unpacked".into());
    }
    Ok(())
}

/// Adds an entry to the files, and answers what stands in the root's `package.json`.
fn note(files: &mut Files, path: &[u8], mut entry: Entry<'_, Unpacked>) -> io::Result<Option<Vec<u8>>> {
    if path == b"package.json" {
        let contents = limited(entry, MANIFEST_LIMIT)?;
        files.add("package.json".to_owned(), Some(contents.clone()));
        return Ok(Some(contents));
    }
    if !entry.header().entry_type().is_dir() && !path.is_empty() && !path.ends_with(b"/") {
        let path = String::from_utf8_lossy(path).into_owned();
        let (size, mut begin) = (entry.size(), Vec::new());
        (&mut entry).take(2).read_to_end(&mut begin)?;
        let wanted = files.wants(&path, size, &begin);
        let contents = wanted.map(|size| limited(begin.as_slice().chain(entry), size)).transpose()?;
        files.add(path, contents);
    }
    Ok(None)
}

/// npm takes off the first folder whatever its name, and follows what leads to a file by another way.
fn is_below_package(path: &[u8]) -> bool {
    let mut parts = path.strip_suffix(b"/").unwrap_or(path).split(|byte| *byte == b'/');
    parts.next() == Some(b"package") && parts.all(|part| !matches!(part, b"" | b"." | b".."))
}

/// The hash of a file as npm writes it. Blocks.
pub(crate) fn integrity(path: &Path) -> io::Result<String> {
    let mut file = open_plain(path)?;
    let mut hash = Hashing(Sha512::new());
    io::copy(&mut file, &mut hash)?;
    Ok(format!("sha512-{}", STANDARD.encode(hash.0.finalize())))
}

/// What stands in a file, up to a limit in bytes; not what a link points to.
pub(crate) fn read_plain(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    open_plain(path).and_then(|file| limited(file, limit))
}

/// Opens a file; not what a link points to, and no pipe that would have to be waited for.
fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
}

fn limited(source: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {} MiB", limit / (1024 * 1024))));
    }
    Ok(bytes)
}

struct Hashing(Sha512);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    const MANIFEST: &[u8] = br#"{"name": "@acme/core", "version": "1.0.0"}"#;
    const END: [u8; 1024] = [0; 1024];

    /// One entry of a tarball, without an end.
    fn entry(path: &str, text: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        // Not by `set_path`, which refuses what an attacker would write.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(text.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        let mut block = header.as_bytes().to_vec();
        block.extend_from_slice(text);
        block.resize(block.len().next_multiple_of(512), 0);
        block
    }

    fn packed(parts: &[&[u8]]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for part in parts {
            io::Write::write_all(&mut encoder, part).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Tarball, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Tarball::read(file.path(), &"@acme/core".parse().unwrap())
    }

    #[test]
    fn a_tarball_as_npm_packs_it_is_read() {
        let ours = entry("package/package.json", MANIFEST);
        let tarball = read(&packed(&[&entry("package/lib/index.js", b"1"), &ours, &END])).unwrap();
        assert_eq!(tarball.manifest.version.as_deref(), Some("1.0.0"));
        assert!(tarball.integrity.starts_with("sha512-"));
    }

    #[test]
    fn a_tarball_tells_its_files_and_what_stands_in_scripts() {
        let ours = entry("package/package.json", MANIFEST);
        let folder = {
            let mut header = tar::Header::new_gnu();
            header.set_path("package/lib/").unwrap();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            header.set_cksum();
            header.as_bytes().to_vec()
        };
        let large = vec![b' '; 1024 * 1024 + 1];
        let parts = [
            entry("package/lib/Index.js", b"1"),
            folder,
            entry("package/lib/index.d.ts", b"2"),
            entry("package/cli", b"#!/usr/bin/env node\n3"),
            entry("package/empty", b""),
            entry("package/large.js", &large),
            entry("package/lib/package.json", b"{}"),
        ];
        let mut parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        parts.extend([ours.as_slice(), &END]);
        let files = read(&packed(&parts)).unwrap().files;
        let expected = [
            ("cli", Some(&b"#!/usr/bin/env node\n3"[..])),
            ("empty", Some(b"")),
            ("large.js", None),
            ("lib/Index.js", Some(b"1")),
            ("lib/index.d.ts", None),
            ("lib/package.json", Some(b"{}")),
            ("package.json", Some(MANIFEST)),
        ];
        assert_eq!(files.paths().map(|path| (path, files.contents(path))).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_tarball_of_somebody_else_is_checked_whatever_its_first_folder() {
        let manifest = br#"{"name": "@acme/core", "version": "1.0.0", "main": "a.js"}"#;
        let bytes = packed(&[&entry("node/package.json", manifest), &entry("node/b.js", b"1"), &END]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let missing = Tarball::check_any(file.path()).unwrap().missing;
        assert_eq!(missing.iter().map(|missing| missing.file.as_str()).collect::<Vec<_>>(), ["a.js"]);
    }

    #[test]
    fn a_tarball_in_which_npm_could_find_another_manifest_is_refused() {
        let ours = entry("package/package.json", MANIFEST);
        let other = br#"{"name": "@acme/core", "version": "1.0.0", "publishConfig": {"proxy": "http://x"}}"#;
        for path in [
            "another/package.json",
            "package.json",
            "./package/package.json",
            "package/./package.json",
            "package//package.json",
            "package/lib/../package.json",
            "/package/package.json",
        ] {
            let refusal = read(&packed(&[&ours, &entry(path, other), &END])).unwrap_err();
            assert!(refusal.contains(path), "{refusal}");
        }
        let second = entry("package/package.json", other);
        let after_an_empty_block = packed(&[&ours, &END[..512], &second, &END]);
        let in_a_second_member = [packed(&[&ours]), packed(&[&second, &END])].concat();
        for bytes in [packed(&[&ours, &second, &END]), after_an_empty_block, in_a_second_member] {
            assert_eq!(read(&bytes).unwrap_err(), "the packed tarball has two files package.json");
        }
        assert_eq!(read(&packed(&[&END])).unwrap_err(), "the packed tarball has no package.json");
    }
}
