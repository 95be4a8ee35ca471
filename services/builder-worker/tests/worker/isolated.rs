//! The private copy: what a package needs, and no way back to the source.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use packline_builder_worker::{
    folder::BuildFolder,
    isolated::{self, WorkspaceError},
};
use packline_domain::{BuildId, PackagePath};
use packline_layers::remove_tree;
use tempfile::TempDir;

pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// A workspace with a package `@acme/core`.
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.scratch()).unwrap();
        place.write(
            "package.json",
            r#"{"name": "root", "private": true, "workspaces": ["packages/*", "apps/*", "tools/cli"], "type": "module"}"#,
        );
        place.write("packages/core/package.json", r#"{"name": "@acme/core"}"#);
        place.write("packages/core/src/index.js", "export {}");
        place
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn prepare(&self) -> Result<BuildFolder, WorkspaceError> {
        self.prepare_unless(false)
    }

    fn prepare_unless(&self, stop: bool) -> Result<BuildFolder, WorkspaceError> {
        self.prepare_in(&self.scratch(), "packages/core", &AtomicBool::new(stop))
    }

    /// The same package in another folder.
    pub(crate) fn prepare_at(&self, path: &str) -> Result<BuildFolder, WorkspaceError> {
        self.prepare_in(&self.scratch(), path, &AtomicBool::new(false))
    }

    fn prepare_in(&self, scratch: &Path, path: &str, stop: &AtomicBool) -> Result<BuildFolder, WorkspaceError> {
        let build = BuildId { package: "@acme/core".parse().unwrap(), serial: 1 };
        let path: PackagePath = path.parse().unwrap();
        isolated::prepare(scratch, &self.root(), &path, &build, stop)
    }

    fn refusal(&self) -> String {
        self.refusal_at("packages/core")
    }

    pub(crate) fn refusal_at(&self, path: &str) -> String {
        match self.prepare_at(path) {
            Err(WorkspaceError::Refused(why)) => {
                assert_eq!(fs::read_dir(self.scratch()).unwrap().count(), 0, "nothing is left behind");
                why
            }
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// All files below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<String> {
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
        ".env.local",
        ".git/config",
        ".packline/nats/jetstream",
        ".cache/x",
        ".config/format.json",
        "node_modules/x/index.js",
        "scripts/build.js",
        "scripts/node_modules/x.js",
        "apps/site/package.json",
        "tools/lint.js",
        "tools/cli/package.json",
        "plans/core.md",
        "plans/other.md",
        "packages/core/.npmrc",
        "packages/core/node_modules/x/index.js",
        "packages/core/.git/config",
        "packages/core/.packline/z",
        "scripts/template/.npmrc",
        "packages/other/package.json",
    ] {
        place.write(file, "{}");
    }
    let copy = place.prepare().unwrap();
    assert_eq!(
        files(&copy.root),
        [
            ".config/format.json",
            "package.json",
            "packages/core/package.json",
            "packages/core/src/index.js",
            "plans/core.md",
            "scripts/build.js",
            "tools/lint.js",
            "tsconfig.base.json"
        ]
    );
    let root: serde_json::Value = serde_json::from_slice(&fs::read(copy.root.join("package.json")).unwrap()).unwrap();
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
fn only_the_packages_own_top_loses_node_modules_and_settings() {
    let place = Place::new();
    let kept = [
        "fixtures/node_modules/.bin/other.js",
        "fixtures/node_modules/dep/index.js",
        "fixtures/repo/.git/config",
        "template/.npmrc",
        "template/.packline/x",
    ];
    for file in kept.iter().chain(&["node_modules/x/index.js", ".git/config", ".npmrc", ".packline/x"]) {
        place.write(&format!("packages/core/{file}"), file);
    }
    symlink("../dep/index.js", place.root().join("packages/core/fixtures/node_modules/.bin/dep")).unwrap();
    let copy = place.prepare().unwrap();
    let mut expected: Vec<&str> =
        kept.into_iter().chain(["fixtures/node_modules/.bin/dep", "package.json", "src/index.js"]).collect();
    expected.sort_unstable();
    assert_eq!(files(&copy.package), expected);
    assert_eq!(
        fs::read_to_string(copy.package.join("fixtures/node_modules/.bin/dep")).unwrap(),
        "fixtures/node_modules/dep/index.js"
    );
    assert!(copy.left_out.is_empty(), "{:?}", copy.left_out);
}

#[test]
fn a_folder_beside_the_packages_that_is_large_is_left_out_and_that_is_said() {
    let place = Place::new();
    for n in 0..1001 {
        place.write(&format!("data/{}/{n}", n % 7), "");
    }
    place.write("video/one", "");
    fs::File::options().write(true).open(place.root().join("video/one")).unwrap().set_len(33 << 20).unwrap();
    place.write("scripts/build.js", "");
    let mut copy = place.prepare().unwrap();
    assert_eq!(
        files(&copy.root),
        ["package.json", "packages/core/package.json", "packages/core/src/index.js", "scripts/build.js"]
    );
    copy.left_out.sort();
    assert_eq!(copy.left_out, ["data has more than 1000 files or 32 MiB", "video has more than 1000 files or 32 MiB"]);
}

#[test]
fn scratch_inside_the_workspace_is_not_copied_into_itself() {
    let place = Place::new();
    for within in ["packages/core/tmp/builds", "tmp/builds"] {
        let scratch = place.root().join(within);
        fs::create_dir_all(&scratch).unwrap();
        place.write(&format!("{within}/others.1/workspace/x"), "");
        let copy = place.prepare_in(&scratch, "packages/core", &AtomicBool::new(false)).unwrap();
        assert_eq!(
            files(&copy.root),
            ["package.json", "packages/core/package.json", "packages/core/src/index.js"],
            "{within}"
        );
        fs::remove_dir_all(scratch.parent().unwrap()).unwrap();
    }
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
fn the_copy_of_one_huge_file_is_broken_off_as_well() {
    const HUGE: u64 = 4 << 30;
    let place = Place::new();
    place.write("packages/core/huge", "");
    let huge = place.root().join("packages/core/huge");
    fs::File::options().write(true).open(&huge).unwrap().set_len(HUGE).unwrap();
    let copied = place.scratch().join("acme+core.1/workspace/packages/core/huge");
    let stop = AtomicBool::new(false);
    let (ended, copied) = std::thread::scope(|threads| {
        let copying = threads.spawn(|| place.prepare_in(&place.scratch(), "packages/core", &stop));
        let mut most = 0;
        while !copying.is_finished() {
            most = fs::metadata(&copied).map_or(0, |file| file.len()).max(most);
            stop.store(most > 0, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1));
        }
        (copying.join().unwrap(), most)
    });
    match ended {
        Err(WorkspaceError::BrokenOff) => {
            assert!(copied < HUGE / 2, "{copied} bytes were copied");
            assert_eq!(fs::read_dir(place.scratch()).unwrap().count(), 0);
        }
        // Where blocks are shared there is nothing to break off.
        Ok(_) => reflink_copy::reflink(&huge, place.scratch().join("shared")).unwrap(),
        other => panic!("{other:?}"),
    }
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
