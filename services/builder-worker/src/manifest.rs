//! `package.json`: what a build needs to know of it, from a folder or from a packed tarball.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use nix::fcntl::OFlag;
use packline_domain::PackageName;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha512};

/// No honest `package.json` is larger.
const MANIFEST_LIMIT: u64 = 1024 * 1024;
/// No registry takes a package that is larger unpacked.
const UNPACKED_LIMIT: u64 = 4 * 1024 * 1024 * 1024;

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
}

/// A tarball as npm packed it.
#[derive(Clone, Debug)]
pub struct Tarball {
    /// Its hash, as npm writes it.
    pub integrity: String,
    /// What stands in it.
    pub manifest: Manifest,
}

impl Manifest {
    /// Reads the `package.json` of `folder`, which must be that of `name`.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn of_folder(folder: &Path, name: &PackageName) -> Result<Self, String> {
        let bytes = open_plain(&folder.join("package.json"))
            .and_then(|file| limited(file, MANIFEST_LIMIT))
            .map_err(|error| format!("package.json cannot be read: {error}"))?;
        Self::parse(&bytes, name)
    }

    /// Reads a `package.json`, which must be that of `name`.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(bytes: &[u8], name: &PackageName) -> Result<Self, String> {
        // npm takes files that begin with a byte order mark.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("package.json is not understood: {error}"))?;
        if manifest.name != name.as_str() {
            let found: String = manifest.name.chars().take(214).flat_map(char::escape_debug).collect();
            return Err(format!("package.json is that of `{found}`, not of {name}"));
        }
        Ok(manifest)
    }

    /// Whether `npm run` knows this script.
    pub fn has_script(&self, script: &str) -> bool {
        self.scripts.get(script).is_some_and(Value::is_string)
    }
}

impl Tarball {
    /// Reads a packed tarball. Blocks.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn read(path: &Path, name: &PackageName) -> Result<Self, String> {
        let unreadable = |error: io::Error| format!("the packed tarball cannot be read: {error}");
        let mut file = open_plain(path).map_err(unreadable)?;
        let mut hash = Hashing(Sha512::new());
        io::copy(&mut file, &mut hash).map_err(unreadable)?;
        let integrity = format!("sha512-{}", STANDARD.encode(hash.0.finalize()));
        let unpacked = GzDecoder::new(open_plain(path).map_err(unreadable)?).take(UNPACKED_LIMIT);
        let mut archive = tar::Archive::new(unpacked);
        let mut manifest = None;
        for entry in archive.entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path_bytes().into_owned();
            // npm takes off the first folder whatever its name: another one could hold another manifest.
            if !path.starts_with(b"package/") {
                let shown =
                    String::from_utf8_lossy(&path).chars().take(200).flat_map(char::escape_debug).collect::<String>();
                return Err(format!("the packed tarball has `{shown}`, which is not below package/"));
            }
            if path == b"package/package.json" {
                if manifest.is_some() {
                    return Err("the packed tarball has two files package.json".into());
                }
                let bytes = limited(entry, MANIFEST_LIMIT).map_err(unreadable)?;
                manifest = Some(Manifest::parse(&bytes, name)?);
            }
        }
        let manifest = manifest.ok_or("the packed tarball has no package.json")?;
        Ok(Self { integrity, manifest })
    }
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
    if bytes.len() as u64 > limit { Err(io::Error::other("it is larger than 1 MiB")) } else { Ok(bytes) }
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
