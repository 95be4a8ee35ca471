//! Laying folders over others, and unpacking tarballs.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use packline_layers::{UnpackError, copy_tree, link_tree, remove_tree, unpack};
use tar::{Builder, EntryType, Header};

use crate::place::{names, put, tree};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_folder_is_laid_over_another_as_an_overlay_would() {
    for lay in [copy_tree, link_tree] {
        let place = tempfile::tempdir().unwrap();
        let (from, to, outside) = (place.path().join("from"), place.path().join("to"), place.path().join("outside"));
        for (path, content) in [
            ("from/both", "new"),
            ("from/run", "#!"),
            ("from/folder/new", "new"),
            ("from/was-file/in", "new"),
            ("from/was-link/in", "new"),
            ("from/was-folder", "new"),
            ("to/both", "old"),
            ("to/folder/old", "old"),
            ("to/was-file", "old"),
            ("to/was-folder/in", "old"),
            ("outside/in", "outside"),
            ("shared", "old"),
        ] {
            put(&place.path().join(path), content);
        }
        set_mode(&from.join("run"), 0o755);
        set_mode(&from.join("folder"), 0o700);
        symlink("nowhere", from.join("link")).unwrap();
        symlink(&outside, to.join("was-link")).unwrap();
        symlink(outside.join("in"), to.join("run")).unwrap();
        fs::hard_link(to.join("both"), place.path().join("other-name")).unwrap();
        lay(&from, &to).unwrap();
        let expected = [
            ("both", "new"),
            ("folder/new", "new"),
            ("folder/old", "old"),
            ("link", "-> nowhere"),
            ("run", "!#!"),
            ("was-file/in", "new"),
            ("was-folder", "new"),
            ("was-link/in", "new"),
        ];
        let expected: BTreeMap<String, String> = expected.map(|(name, content)| (name.into(), content.into())).into();
        assert_eq!(tree(&to), expected);
        assert_eq!(tree(&outside), BTreeMap::from([("in".to_owned(), "outside".to_owned())]));
        assert_eq!(fs::read_to_string(place.path().join("other-name")).unwrap(), "old");
        assert_eq!(mode(&to.join("folder")), 0o700);
        let found = |path: &Path| fs::metadata(path).unwrap();
        assert_eq!(found(&to.join("both")).modified().unwrap(), found(&from.join("both")).modified().unwrap());
        let is_shared = found(&to.join("both")).ino() == found(&from.join("both")).ino();
        assert_eq!(is_shared, lay as *const () == link_tree as *const ());
    }
}

#[test]
fn closed_folders_are_copied_and_removed() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    put(&from.join("a/b/file"), "");
    set_mode(&from.join("a/b"), 0o500);
    set_mode(&from.join("a"), 0o500);
    copy_tree(&from, &to).unwrap();
    assert_eq!((mode(&to.join("a")), mode(&to.join("a/b"))), (0o500, 0o500));
    for folder in [from, to] {
        set_mode(&folder.join("a/b"), 0o000);
        remove_tree(&folder).unwrap();
        assert!(!folder.exists());
        remove_tree(&folder).unwrap();
    }
}

struct Tarball(Builder<GzEncoder<Vec<u8>>>);

impl Tarball {
    fn new() -> Self {
        Self(Builder::new(GzEncoder::new(Vec::new(), Compression::fast())))
    }

    /// The path is written as it is, whatever it is.
    fn add(&mut self, path: &str, kind: EntryType, mode: u32, content: &str) {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(if kind == EntryType::Regular { content.len() as u64 } else { 0 });
        if kind != EntryType::Regular && !content.is_empty() {
            header.set_link_name_literal(content).unwrap();
        }
        header.set_cksum();
        let data = if kind == EntryType::Regular { content } else { "" };
        self.0.append(&header, data.as_bytes()).unwrap();
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap().finish().unwrap()
    }
}

#[test]
fn a_tarball_is_unpacked_as_npm_does() {
    let place = tempfile::tempdir().unwrap();
    let to = place.path().join("to");
    let mut tarball = Tarball::new();
    let file = EntryType::Regular;
    tarball.add("package/package.json", file, 0o600, r#"{"bin": {"a": "./bin/a.js", "b": "../../../out"}}"#);
    tarball.add("package/bin/a.js", file, 0o644, "a");
    tarball.add("package/run", file, 0o755, "run");
    tarball.add("package/plain", file, 0o666, "plain");
    tarball.add("another-root/deep/er/file", file, 0o644, "deep");
    tarball.add("package/folder/", EntryType::Directory, 0o700, "");
    tarball.add("package/link", EntryType::Symlink, 0o777, "/etc/passwd");
    tarball.add("package/hard", EntryType::Link, 0o644, "package/plain");
    tarball.add("package/../../out", file, 0o644, "out");
    tarball.add("/etc/out", file, 0o644, "out");
    tarball.add("package/pipe", EntryType::Fifo, 0o644, "");
    put(&place.path().join("out"), "mine");
    put(&to.join("plain"), "old");
    put(&to.join("sources"), "stay");
    assert_eq!(unpack(tarball.bytes().as_slice(), &to, 1 << 20).unwrap(), 5);
    let found = tree(&to);
    let found: Vec<(&str, &str)> = found.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    let manifest = r#"{"bin": {"a": "./bin/a.js", "b": "../../../out"}}"#;
    assert_eq!(
        found,
        [
            ("bin/a.js", "!a"),
            ("deep/er/file", "deep"),
            ("folder", "/"),
            ("package.json", manifest),
            ("plain", "plain"),
            ("run", "!run"),
            ("sources", "stay"),
        ]
    );
    assert_eq!((mode(&to.join("plain")), mode(&to.join("run")), mode(&to.join("folder"))), (0o644, 0o755, 0o755));
    assert_eq!(fs::read_to_string(place.path().join("out")).unwrap(), "mine");
    assert_eq!(mode(&place.path().join("out")), 0o644);
}

#[test]
fn a_tarball_that_is_too_large_or_damaged_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let mut tarball = Tarball::new();
    tarball.add("package/large", EntryType::Regular, 0o644, &"x".repeat(100_000));
    let bytes = tarball.bytes();
    let refused = |bytes: &[u8], limit: u64| unpack(bytes, place.path(), limit).unwrap_err();
    assert!(matches!(refused(&bytes, 50_000), UnpackError::TooLarge(50_000)));
    assert!(matches!(refused(&bytes[..bytes.len() / 2], 1 << 20), UnpackError::Damaged(_)));
    assert!(matches!(refused(b"no tarball", 1 << 20), UnpackError::Damaged(_)));
    let mut garbage = GzEncoder::new(Vec::new(), Compression::fast());
    garbage.write_all(&[b'x'; 2048]).unwrap();
    assert!(matches!(refused(&garbage.finish().unwrap(), 1 << 20), UnpackError::Damaged(_)));
    unpack(bytes.as_slice(), place.path(), 1 << 20).unwrap();
    assert_eq!(names(place.path()), ["large"]);
}
