//! The content of a view as a plain folder, and what a build writes there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
};

use packline_builder_worker::{
    isolated::WorkspaceError,
    view::{Copied, Kind, Merged, Parts},
};
use rustix::fs::{XattrFlags, lsetxattr};

use crate::merged::changes;

static GO_ON: AtomicBool = AtomicBool::new(false);

/// All that is in a folder, with the content of files and the targets of links.
fn content(seen: &Merged) -> BTreeMap<String, String> {
    let mut content = BTreeMap::new();
    seen.walk(Path::new(""), |path, kind| {
        let text = match kind {
            Kind::File => String::from_utf8(seen.read(path, 1000).unwrap().unwrap()).unwrap(),
            Kind::Link => format!("-> {}", seen.target(path).unwrap().unwrap().display()),
            _ => "/".to_owned(),
        };
        content.insert(path.display().to_string(), text);
        true
    });
    content
}

#[test]
fn a_copy_of_a_view_has_its_content_and_links_to_what_is_installed() {
    let place = tempfile::tempdir().unwrap();
    let [sources, installed, published] = ["sources", "installed", "published"].map(|name| place.path().join(name));
    let write = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(sources.join("tsconfig.json"), "{}");
    write(sources.join("packages/a/index.ts"), "a");
    write(sources.join("packages/a/old.ts"), "old");
    write(sources.join("packages/b/index.ts"), "b");
    write(sources.join("packages/c/index.ts"), "c");
    write(sources.join("packages/c/package.json"), "{}");
    write(published.join("packages/a/index.js"), "built");
    write(published.join("packages/a/old.ts"), "");
    lsetxattr(published.join("packages/a/old.ts"), "user.overlay.whiteout", b"y", XattrFlags::empty()).unwrap();
    for package in ["one", "@x/two", "three"] {
        write(installed.join("node_modules").join(package).join("index.js"), package);
    }
    write(published.join("node_modules/three/more.js"), "more");
    write(installed.join("node_modules/.package-lock.json"), "lock");
    write(installed.join("packages/b/node_modules/one/index.js"), "another");
    fs::create_dir(installed.join("node_modules/.bin")).unwrap();
    symlink("../one/index.js", installed.join("node_modules/.bin/one")).unwrap();
    symlink("../../packages/a", installed.join("node_modules/@x/a")).unwrap();
    symlink("/at/packages/b", installed.join("node_modules/b")).unwrap();
    symlink("../../../..", sources.join("packages/a/out")).unwrap();
    fs::set_permissions(sources.join("packages/b/index.ts"), fs::Permissions::from_mode(0o555)).unwrap();
    let view = Merged::new("/at", [published, sources.clone(), installed.clone()]);
    let target = place.path().join("copy");
    let parts = Parts { left_out: [PathBuf::from("packages/c")].into(), linked: 1, ..Parts::default() };
    let mut copied = Copied::create(&target).unwrap();
    copied.update(&view, &parts, &GO_ON).unwrap();
    assert_eq!(copied.left_out(), &[PathBuf::from("packages/a/out")].into());
    let to = |path: &str| format!("-> {}", installed.join(path).display());
    let expected = [
        ("node_modules", "/".into()),
        ("node_modules/.bin", "/".into()),
        ("node_modules/.bin/one", "-> ../one/index.js".into()),
        ("node_modules/.package-lock.json", "lock".into()),
        ("node_modules/@x", "/".into()),
        ("node_modules/@x/a", "-> ../../packages/a".into()),
        ("node_modules/@x/two", to("node_modules/@x/two")),
        ("node_modules/b", format!("-> {}", target.join("packages/b").display())),
        ("node_modules/one", to("node_modules/one")),
        ("node_modules/three", "/".into()),
        ("node_modules/three/index.js", "three".into()),
        ("node_modules/three/more.js", "more".into()),
        ("packages", "/".into()),
        ("packages/a", "/".into()),
        ("packages/a/index.js", "built".into()),
        ("packages/a/index.ts", "a".into()),
        ("packages/b", "/".into()),
        ("packages/b/index.ts", "b".into()),
        ("packages/b/node_modules", "/".into()),
        ("packages/b/node_modules/one", to("packages/b/node_modules/one")),
        ("packages/c", "/".into()),
        ("packages/c/package.json", "{}".into()),
        ("tsconfig.json", "{}".into()),
    ];
    assert_eq!(content(&Merged::plain(&target)), expected.map(|(path, text)| (path.to_owned(), text)).into());
    assert_eq!(fs::read_to_string(target.join("node_modules/.bin/one")).unwrap(), "one");
    let (copied, source) = (target.join("packages/b/index.ts"), sources.join("packages/b/index.ts"));
    let (copied, source) = (fs::metadata(copied).unwrap(), fs::metadata(source).unwrap());
    assert_eq!(copied.permissions().mode() & 0o777, 0o755, "its build may write to it");
    assert_eq!(copied.modified().unwrap(), source.modified().unwrap());
    let mut stopped = Copied::create(place.path().join("stopped")).unwrap();
    let stopped = stopped.update(&view, &parts, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(WorkspaceError::BrokenOff)));
}

#[test]
fn a_copy_of_all_of_a_view_is_the_same_as_the_view() {
    let place = tempfile::tempdir().unwrap();
    let layers = ["top", "bottom"].map(|name| place.path().join(name));
    for (n, layer) in layers.iter().enumerate() {
        for path in [format!("own-{n}/deep/er/file"), "both/file".to_owned()] {
            fs::create_dir_all(layer.join(&path).parent().unwrap()).unwrap();
            fs::write(layer.join(path), format!("{n}")).unwrap();
        }
    }
    let (view, target) = (Merged::new("/at", layers), place.path().join("copy"));
    let mut copied = Copied::create(&target).unwrap();
    copied.update(&view, &Parts::default(), &GO_ON).unwrap();
    assert_eq!(copied.left_out(), &BTreeSet::new());
    let files = ["both/file", "own-0/deep/er/file", "own-1/deep/er/file"];
    let content = content(&Merged::plain(&target));
    let copied: Vec<(&str, &str)> =
        content.iter().filter(|(_, text)| *text != "/").map(|(path, text)| (path.as_str(), text.as_str())).collect();
    assert_eq!(copied, [(files[0], "0"), (files[1], "0"), (files[2], "1")]);
}

/// Writes files, each with its text.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn texts<'t>(texts: &[(&'t str, &'t str)]) -> BTreeMap<String, String> {
    texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn of_folders_that_are_left_out_the_copy_has_package_json_and_what_is_named_in_them() {
    let place = tempfile::tempdir().unwrap();
    let (layer, target) = (place.path().join("layer"), place.path().join("copy"));
    for member in ["packages/a", "packages/b", "packages/b/plugins/c", "packages/b/plugins/d", "tools/e"] {
        let files = [format!("{member}/package.json"), format!("{member}/src/index.js")];
        files.iter().for_each(|file| write(&layer, &[(file, "")]));
    }
    write(&layer, &[("scripts/build.js", ""), ("packages/b/node_modules/x/index.js", "")]);
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
    let left_out = paths(&["packages/b", "packages/b/plugins/d", "tools/e"]);
    let parts = Parts { left_out, whole: paths(&["packages/a", "packages/b/plugins/c"]), ..Parts::default() };
    let view = Merged::new(&target, [layer]);
    let mut copied = Copied::create(&target).unwrap();
    copied.update(&view, &parts, &GO_ON).unwrap();
    let content = content(&Merged::plain(&target));
    let files: Vec<&str> = content.iter().filter(|(_, text)| *text != "/").map(|(path, _)| path.as_str()).collect();
    let expected = [
        "packages/a/package.json",
        "packages/a/src/index.js",
        "packages/b/package.json",
        "packages/b/plugins/c/package.json",
        "packages/b/plugins/c/src/index.js",
        "packages/b/plugins/d/package.json",
        "scripts/build.js",
        "tools/e/package.json",
    ];
    assert_eq!(files, expected);
    // A member that turns out to be needed is there from then on.
    copied.update(&view, &Parts { whole: paths(&["packages/b"]), left_out: BTreeSet::new(), ..parts }, &GO_ON).unwrap();
    assert!(target.join("packages/b/src/index.js").exists() && target.join("tools/e/src/index.js").exists());
}

#[test]
fn what_a_build_wrote_stays_when_the_view_changes_and_all_else_follows() {
    let place = tempfile::tempdir().unwrap();
    let [one, other, target, elsewhere] = ["one", "other", "copy", "elsewhere"].map(|name| place.path().join(name));
    let names = ["changed", "removed", "kept", "gone", "replaced", "touched/deep", "swept/deep", "linked/deep"];
    names.iter().for_each(|name| write(&one, &[(name, "one")]));
    write(&one, &[("only/gone", "one"), ("only/written", "one")]);
    for name in names.iter().filter(|name| **name != "gone") {
        write(&other, &[(name, "other")]);
    }
    write(&other, &[("new", "other"), ("made", "other"), ("swept/new", "other"), ("linked/new", "other")]);
    symlink("kept", one.join("link")).unwrap();
    symlink("new", other.join("link")).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let mut copied = Copied::create(&target).unwrap();
    copied.update(&Merged::new(&target, [one.clone()]), &Parts::default(), &GO_ON).unwrap();
    write(&target, &[("changed", "own"), ("made", "own"), ("touched/own", "own"), ("only/written", "own")]);
    fs::remove_file(target.join("removed")).unwrap();
    fs::remove_file(target.join("replaced")).unwrap();
    write(&target, &[("replaced/own", "own")]);
    for name in ["swept", "linked"] {
        fs::remove_dir_all(target.join(name)).unwrap();
    }
    symlink(&elsewhere, target.join("linked")).unwrap();
    let expected = [
        ("changed", "own"),
        ("kept", "other"),
        ("link", "-> new"),
        ("linked", &format!("-> {}", elsewhere.display())),
        ("made", "own"),
        ("new", "other"),
        ("only", "/"),
        ("only/written", "own"),
        ("replaced", "/"),
        ("replaced/own", "own"),
        ("touched", "/"),
        ("touched/deep", "other"),
        ("touched/own", "own"),
    ];
    for _ in 0..2 {
        copied.update(&Merged::new(&target, [other.clone()]), &Parts::default(), &GO_ON).unwrap();
        assert_eq!(content(&Merged::plain(&target)), texts(&expected));
    }
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing is written through a link");
    let upper = place.path().join("upper");
    copied.take_written(Path::new(""), &upper, Some(&Merged::new(&target, [other.clone()]))).unwrap();
    let changed = content(&Merged::plain(&upper)).into_iter().filter(|(_, text)| text == "own");
    let changed: Vec<String> = changed.map(|(path, _)| path).collect();
    assert_eq!(changed, ["changed", "made", "only/written", "replaced/own", "touched/own"]);
    assert_eq!(content(&Merged::new(&target, [upper, other])), texts(&expected));
}

#[test]
fn what_scripts_write_to_a_copy_is_told_apart_whatever_they_do() {
    for seed in 0..15 {
        let mut random = fastrand::Rng::with_seed(seed);
        let place = tempfile::tempdir().unwrap();
        // Links lead out of the copy, and none out of the place of this test.
        let own = place.path().join("own/own/own");
        write(&own, &[("atx/secret", "secret"), ("base/a/file", "base")]);
        let at = own.join("at");
        let mut lower = vec![own.join("base")];
        for round in 0..3 {
            let how = format!("seed {seed}, round {round}");
            let mut copied = Copied::create(&at).unwrap();
            copied.update(&Merged::new(&at, lower.clone()), &Parts::default(), &GO_ON).unwrap();
            let script = changes(&mut random, &at, &format!("{round}"));
            Command::new("sh").args(["-c", &script]).current_dir(&at).status().unwrap();
            let written = content(&Merged::plain(&at));
            let (left_out, upper) = (copied.left_out().clone(), own.join(format!("upper-{round}")));
            copied.take_written(Path::new(""), &upper, Some(&Merged::new(&at, lower.clone()))).unwrap();
            lower.insert(0, upper);
            let mut found = content(&Merged::new(&at, lower.clone()));
            // A link that leads out is not copied.
            found.retain(|path, _| written.contains_key(path) || !left_out.contains(Path::new(path)));
            assert_eq!(found, written, "{how}");
            fs::remove_dir_all(&at).unwrap();
        }
    }
}
