//! The private copy: what a package needs, and no way back to the source.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use packline_builder_worker::workspace::{BuildFolder, WorkspaceError, remove_tree};
use packline_domain::BuildId;
use tempfile::TempDir;

struct Place {
    folder: TempDir,
}

impl Place {
    /// A workspace with a package `@acme/core`.
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.scratch()).unwrap();
        place.write(
            "package.json",
            r#"{"name": "root", "private": true, "workspaces": ["packages/*"], "type": "module"}"#,
        );
        place.write("packages/core/package.json", r#"{"name": "@acme/core"}"#);
        place.write("packages/core/src/index.js", "export {}");
        place
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn prepare(&self) -> Result<BuildFolder, WorkspaceError> {
        self.prepare_unless(false)
    }

    fn prepare_unless(&self, stop: bool) -> Result<BuildFolder, WorkspaceError> {
        let build = BuildId { package: "@acme/core".parse().unwrap(), serial: 1 };
        BuildFolder::prepare(&self.scratch(), &self.root(), &build, &AtomicBool::new(stop))
    }

    fn refusal(&self) -> String {
        match self.prepare() {
            Err(WorkspaceError::Refused(why)) => {
                assert_eq!(fs::read_dir(self.scratch()).unwrap().count(), 0, "nothing is left behind");
                why
            }
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_copy_has_what_the_package_needs_and_no_more() {
    let place = Place::new();
    for file in [
        "tsconfig.base.json",
        "package-lock.json",
        ".npmrc",
        ".env",
        "plans/core.md",
        "plans/other.md",
        "packages/core/.npmrc",
        "packages/core/node_modules/x/index.js",
        "packages/core/.git/config",
        "packages/core/lib/node_modules/y.js",
        "packages/core/.packline/z",
        "packages/other/package.json",
    ] {
        place.write(file, "{}");
    }
    let copy = place.prepare().unwrap();
    assert_eq!(
        files(&copy.root()),
        [
            "package.json",
            "packages/core/package.json",
            "packages/core/src/index.js",
            "plans/core.md",
            "tsconfig.base.json"
        ]
    );
    let root: serde_json::Value = serde_json::from_slice(&fs::read(copy.root().join("package.json")).unwrap()).unwrap();
    assert_eq!(root, serde_json::json!({"name": "root", "private": true, "type": "module"}));
    copy.remove();
    assert_eq!(fs::read_dir(place.scratch()).unwrap().count(), 0);
}

#[test]
fn no_write_to_the_copy_reaches_the_source() {
    let place = Place::new();
    place.write("packages/core/bin/run", "#!/bin/sh\n");
    fs::hard_link(place.root().join("packages/core/src/index.js"), place.root().join("packages/core/src/same.js"))
        .unwrap();
    fs::set_permissions(place.root().join("packages/core/bin/run"), fs::Permissions::from_mode(0o4555)).unwrap();
    symlink("src/index.js", place.root().join("packages/core/main.js")).unwrap();
    let copy = place.prepare().unwrap();
    for file in files(&copy.package) {
        let (inner, source) = (copy.package.join(&file), place.root().join("packages/core").join(&file));
        let (own, theirs) = (fs::metadata(&inner).unwrap(), fs::metadata(&source).unwrap());
        assert_ne!((own.dev(), own.ino()), (theirs.dev(), theirs.ino()), "{file}");
        assert_eq!(own.mode() & 0o111, theirs.mode() & 0o111, "{file}");
        assert_eq!(own.mode() & 0o6000, 0, "{file}");
        let before = fs::read(&source).unwrap();
        fs::write(&inner, "altered").unwrap();
        assert_eq!(fs::read(&source).unwrap(), before, "{file}");
    }
    assert!(fs::symlink_metadata(copy.package.join("main.js")).unwrap().is_symlink());
}

#[test]
fn links_that_lead_out_are_refused() {
    let targets = ["/etc/passwd", "../other", "../../..", "src/../../other/x", "../core-evil/x", "src/../../missing"];
    for target in targets {
        let place = Place::new();
        place.write("packages/other/x", "secret");
        place.write("packages/core-evil/x", "secret");
        symlink(target, place.root().join("packages/core/link")).unwrap();
        assert_eq!(place.refusal(), "link is a link that leads out of the package", "{target}");
    }
    // Up through the root of the machine and down again: that is the source, also from the copy.
    let place = Place::new();
    place.write("packages/core/src/index.js", "source");
    let round = format!("{}{}", "../".repeat(40), place.root().join("packages/core/src/index.js").display());
    symlink(round.replace("//", "/"), place.root().join("packages/core/link")).unwrap();
    assert_eq!(place.refusal(), "link is a link that leads out of the package");
    // Through another link, whose way up counts for more than it looks.
    let place = Place::new();
    symlink(".", place.root().join("packages/core/here")).unwrap();
    symlink("here/../../core/new", place.root().join("packages/core/link")).unwrap();
    assert_eq!(place.refusal(), "link is a link that leads out of the package");
    let place = Place::new();
    symlink("missing-yet", place.root().join("packages/core/link")).unwrap();
    symlink("../package.json", place.root().join("packages/core/src/up")).unwrap();
    place.prepare().unwrap();
}

#[test]
fn a_folder_that_is_missing_or_leads_out_is_refused() {
    let place = Place::new();
    fs::remove_dir_all(place.root().join("packages/core")).unwrap();
    assert_eq!(place.refusal(), "the workspace has no folder packages/core");
    symlink("/etc", place.root().join("packages/core")).unwrap();
    assert_eq!(place.refusal(), "packages/core leads out of the workspace");
    fs::remove_file(place.root().join("packages/core")).unwrap();
    place.write("packages/core", "a file");
    assert_eq!(place.refusal(), "packages/core is no folder");
    fs::remove_file(place.root().join("packages/core")).unwrap();
    place.write("elsewhere/package.json", "{}");
    symlink("../elsewhere", place.root().join("packages/core")).unwrap();
    assert_eq!(files(&place.prepare().unwrap().package), ["package.json"], "another place in the workspace is fine");
}

#[test]
fn pipes_are_left_out_and_hold_nobody_up() {
    let place = Place::new();
    nix::unistd::mkfifo(&place.root().join("packages/core/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let copy = place.prepare().unwrap();
    assert_eq!(copy.left_out, ["pipe is no file"]);
}

#[test]
fn a_copy_that_is_broken_off_leaves_nothing() {
    let place = Place::new();
    assert!(matches!(place.prepare_unless(true), Err(WorkspaceError::BrokenOff)));
    assert_eq!(fs::read_dir(place.scratch()).unwrap().count(), 0);
}

#[test]
fn what_a_build_closed_is_removed_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("a/b/c")).unwrap();
    symlink(folder.path(), tree.join("a/out")).unwrap();
    for closed in ["a/b/c", "a/b", "a"] {
        fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }
    remove_tree(&tree).unwrap();
    assert!(!tree.exists() && folder.path().exists());
}
