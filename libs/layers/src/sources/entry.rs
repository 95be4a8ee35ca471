//! What sources consist of, and how a list of it is written.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// One thing in the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Below the root.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What a thing in the sources is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File {
        /// The SHA-256 of its content.
        digest: [u8; 32],
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// What it says.
        target: PathBuf,
    },
    /// A folder that has nothing in it.
    Folder,
}

/// All of a list as bytes: for each thing its path, what it is, and what that needs, each ended by a NUL, which no
/// path can contain.
pub(super) fn write(files: &[File]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut push = |part: &[u8]| {
        bytes.extend_from_slice(part);
        bytes.push(0);
    };
    for file in files {
        push(file.path.as_os_str().as_bytes());
        match &file.kind {
            Kind::File { digest, executable } => {
                push(if *executable { b"executable" } else { b"file" });
                push(hex::encode(digest).as_bytes());
            }
            Kind::Link { target } => {
                push(b"link");
                push(target.as_os_str().as_bytes());
            }
            Kind::Folder => {
                push(b"folder");
                push(b"");
            }
        }
    }
    bytes
}

/// What [`write`] wrote.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Vec<File>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "the list of the sources is damaged");
    let mut parts = bytes.split(|byte| *byte == 0);
    let mut files = Vec::new();
    while let Some(path) = parts.next().filter(|path| !path.is_empty()) {
        let (kind, more) = parts.next().zip(parts.next()).ok_or_else(bad)?;
        let kind = match kind {
            b"file" | b"executable" => {
                let mut digest = [0; 32];
                hex::decode_to_slice(more, &mut digest).map_err(|_| bad())?;
                Kind::File { digest, executable: kind == b"executable" }
            }
            b"link" => Kind::Link { target: os(more).into() },
            b"folder" => Kind::Folder,
            _ => return Err(bad()),
        };
        files.push(File { path: os(path).into(), kind });
    }
    Ok(files)
}

/// The hash of files and the commit they belong to.
pub(super) fn digest(files: &[File], commit: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(b"packline sources 1\0");
    hash.update(commit.unwrap_or_default());
    hash.update([0]);
    hash.update(write(files));
    hex::encode(hash.finalize())
}

/// A path or name as git and the kernel say it.
pub(super) fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// The folders above a path, without the root itself.
pub(super) fn folders(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let file = |path: &[u8], kind| File { path: os(path).into(), kind };
        let files = vec![
            file(b"a\nb \xff", Kind::File { digest: [7; 32], executable: true }),
            file(b"b", Kind::File { digest: [8; 32], executable: false }),
            file(b"c", Kind::Link { target: "../x y".into() }),
            file(b"d", Kind::Folder),
        ];
        assert_eq!(parse(&write(&files)).unwrap(), files);
        assert!(parse(b"a\0file\0beef\0").is_err());
        assert!(parse(b"a\0file").is_err());
    }

    #[test]
    fn each_part_of_a_state_is_in_its_digest() {
        let one = |path: &str, kind: Kind| vec![File { path: path.into(), kind }];
        let file = |digest, executable| Kind::File { digest: [digest; 32], executable };
        let states = [
            digest(&one("a", file(1, false)), None),
            digest(&one("b", file(1, false)), None),
            digest(&one("a", file(2, false)), None),
            digest(&one("a", file(1, true)), None),
            digest(&one("a", file(1, false)), Some("c0ffee")),
            digest(&one("a", Kind::Link { target: "x".into() }), None),
            digest(&one("a", Kind::Link { target: "y".into() }), None),
            digest(&one("a", Kind::Folder), None),
            digest(&[], None),
        ];
        let different: std::collections::BTreeSet<&String> = states.iter().collect();
        assert_eq!(different.len(), states.len());
    }
}
