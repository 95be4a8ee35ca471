//! Sources are taken once per state.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    thread,
    time::Duration,
};

use packline_layers::{
    Bounds, Store,
    sources::{Sources, SourcesError, take},
};
use packline_testkit::campaign;

use crate::{
    helper,
    place::{Place, WIDE, names, put, tree},
};

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn an_unchanged_state_finds_its_layer() {
    for place in [Place::new(), Place::checkout()] {
        place.put("a", "1");
        let first = place.take();
        let second = place.take();
        assert!(!first.was_there && second.was_there);
        assert_eq!((&second.key, &second.path, &second.digest), (&first.key, &first.path, &first.digest));
        // Times alone are no state.
        put(&place.root().join("a"), "1");
        assert!(place.take().was_there);
        place.put("a", "2");
        let other = place.take();
        assert!(!other.was_there && other.digest != first.digest);
        place.put("a", "1");
        assert!(place.take().was_there, "the former state again");
    }
}

#[test]
fn each_change_is_another_state() {
    let place = Place::checkout();
    place.put("a", "1");
    place.commit("second");
    let mut digests = vec![place.take().digest];
    let mut next = |what: &str| {
        let digest = place.take().digest;
        assert!(!digests.contains(&digest), "{what}");
        digests.push(digest);
    };
    // Of another size: git looks at sizes and whole seconds.
    place.put("a", "22");
    next("content");
    place.git(&["commit", "-q", "-a", "-m", "third"]);
    next("commit");
    fs::set_permissions(place.root().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    next("mode");
    place.put("b", "");
    next("a new file");
    place.remove("a");
    next("a deleted file");
    std::os::unix::fs::symlink("b", place.root().join("a")).unwrap();
    next("a link");
    place.remove("a");
    std::os::unix::fs::symlink("c", place.root().join("a")).unwrap();
    next("a link's target");
}

#[test]
fn a_tag_or_branch_is_another_layer_of_the_same_state() {
    let place = Place::checkout();
    let first = place.take();
    place.git(&["tag", "v1"]);
    let tagged = place.take();
    assert_eq!(tagged.digest, first.digest);
    assert_ne!(tagged.key, first.key);
    place.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    assert_eq!(place.take().key, tagged.key, "nothing of it is in the layer");
}

#[test]
fn a_clone_has_a_layer_of_its_own_because_objects_are_borrowed() {
    let place = Place::checkout();
    let first = place.take();
    place.git(&["clone", "-q", ".", "../clone"]);
    let mut request = place.request();
    request.root = place.path().join("clone");
    let clone = take(&request).unwrap();
    assert_eq!(clone.digest, first.digest);
    assert_ne!(clone.key, first.key);
    assert_eq!(clone.objects, Some(request.root.canonicalize().unwrap().join(".git/objects")));
}

/// A file cannot be known by what is in it where it is not read: one is altered so that nothing else shows it.
#[test]
fn a_file_that_looks_the_same_is_not_read_again() {
    let place = Place::new();
    place.put("a", "1");
    place.put("b", "1");
    let first = place.take();
    let path = place.root().join("a");
    let times = fs::metadata(&path).unwrap();
    let memory = memory(&place);
    let before = fs::read_to_string(&memory).unwrap();
    fs::write(&path, "2").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(times.modified().unwrap()).unwrap();
    // The change of the inode itself gives it away: have it remembered.
    let stamp = |found: &fs::Metadata| format!("{}{:09}", found.ctime(), found.ctime_nsec());
    let now = fs::metadata(&path).unwrap();
    assert_ne!(place.take().digest, first.digest, "it is read because its inode changed");
    fs::write(&memory, before.replace(&stamp(&times), &stamp(&now))).unwrap();
    assert_eq!(place.take().digest, first.digest, "it was read");
}

/// The file that remembers the workspace.
fn memory(place: &Place) -> std::path::PathBuf {
    let mut files = fs::read_dir(place.store().join(".store/states")).unwrap();
    files.next().unwrap().unwrap().path()
}

#[test]
fn a_new_state_shares_unchanged_files_with_the_last_one() {
    for place in [Place::new(), Place::checkout()] {
        for name in ["same", "changed", "executable"] {
            place.put(name, "1");
        }
        let first = place.take();
        place.put("changed", "2");
        fs::set_permissions(place.root().join("executable"), fs::Permissions::from_mode(0o755)).unwrap();
        let second = place.take();
        let is_shared = |name: &str| inode(&first.path.join(name)) == inode(&second.path.join(name));
        assert!(is_shared("same") && !is_shared("changed") && !is_shared("executable"));
        assert_ne!(inode(&second.path.join("same")), inode(&place.root().join("same")), "never with the workspace");
        assert_eq!(fs::read_to_string(first.path.join("changed")).unwrap(), "1");
        let mode = |sources: &Sources| fs::metadata(sources.path.join("executable")).unwrap().mode() & 0o777;
        assert_eq!((mode(&first), mode(&second)), (0o644, 0o755));
    }
}

#[test]
fn a_layer_that_was_evicted_is_made_again() {
    let place = Place::checkout();
    let first = place.take();
    Store::open(place.store(), Bounds { bytes: 0, ..WIDE }).unwrap();
    assert!(!first.path.exists());
    let again = place.take();
    assert_eq!((again.was_there, again.key, again.path), (false, first.key, first.path));
}

#[test]
fn several_processes_take_one_state_once() {
    let place = Place::checkout();
    for number in 0..200 {
        place.put(&format!("packages/{number}/index.js"), &number.to_string());
    }
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let taking = helper::taking(&place.request());
            thread::spawn(move || helper::answer(taking).unwrap())
        })
        .collect();
    let taken: Vec<Sources> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
    assert_eq!(taken.iter().filter(|sources| !sources.was_there).count(), 1);
    assert!(taken.iter().all(|sources| sources.path == taken[0].path));
    assert_eq!(names(&taken[0].path).len(), 201);
}

/// Each git that is run changes a file first.
#[test]
fn a_file_that_changes_all_the_time_is_named() {
    let place = Place::checkout();
    place.put("steady", "");
    place.put("log", "");
    let path = std::env::var("PATH").unwrap();
    let programs = place.path().join("programs");
    let log = place.root().join("log");
    put(&programs.join("git"), &format!("#!/bin/sh\necho x >> '{}'\nPATH='{path}' exec git \"$@\"\n", log.display()));
    fs::set_permissions(programs.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut taking = helper::taking(&place.request());
    taking.env("PATH", format!("{}:{path}", programs.display()));
    let taken = helper::answer(taking);
    assert_eq!(taken, Err(SourcesError::Changing("log".into())));
    assert_eq!(taken.unwrap_err().to_string(), "log changes while it is read, 6 times in a row");
    assert!(fs::read_dir(place.store().join(".store/drafts")).unwrap().next().is_none());
    place.take();
}

/// Two files always say the same, but for the moment between their writes; a state in which they differ by more than
/// one step is none that ever was.
#[test]
fn what_changes_once_in_a_while_is_taken_as_it_was_at_one_time() {
    let place = Place::new();
    let write = |number: u64| {
        for name in ["a", "z"] {
            let path = place.root().join(name);
            fs::write(place.path().join("new"), number.to_string()).unwrap();
            fs::rename(place.path().join("new"), path).unwrap();
        }
    };
    write(0);
    for number in 0..500 {
        place.put(&format!("middle/{number}"), &number.to_string());
    }
    let changes = campaign::size(20, 200);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 1..=changes {
                thread::sleep(Duration::from_millis(100));
                write(number);
            }
        });
        while !writer.is_finished() {
            // Where it changes faster than it can be taken, it is refused.
            let Ok(sources) = place.try_take() else { continue };
            let tree = tree(&sources.path);
            let number = |name: &str| tree[name].parse::<u64>().unwrap();
            assert!(number("a") - number("z") <= 1, "{} and {}", number("a"), number("z"));
        }
    });
    let tree = tree(&place.take().path);
    assert_eq!((&tree["a"], &tree["z"]), (&changes.to_string(), &changes.to_string()));
}

#[test]
fn a_taker_that_is_killed_leaves_nothing_that_blocks() {
    let place = Place::checkout();
    for number in 0..300 {
        place.put(&format!("packages/{number}/index.js"), &number.to_string());
    }
    let whole = names(&place.root());
    for step in 0..campaign::size(20, 200) {
        place.put("changing", &step.to_string());
        let mut taker = helper::taking(&place.request()).spawn().unwrap();
        // Somewhere in the middle: another place each time.
        thread::sleep(Duration::from_millis(step * 7 % 140));
        taker.kill().unwrap();
        taker.wait().unwrap();
        if step % 4 == 3 {
            let sources = place.take();
            assert_eq!(names(&sources.path).len(), whole.len() + 1);
            assert_eq!(tree(&sources.path)["changing"], step.to_string());
        }
    }
    place.take();
    for folder in ["drafts", "making", "trash"] {
        let left = fs::read_dir(place.store().join(".store").join(folder)).unwrap();
        assert_eq!(left.count(), 0, "{folder}");
    }
}

/// 2,000 packages of ten files. What is measured is processor time, which other work on the machine does not change;
/// only a release build is fast.
#[test]
fn a_large_workspace_that_did_not_change_is_taken_quickly() {
    let mut place = Place::checkout();
    place.put(".gitignore", "node_modules\ndist\n");
    let packages = campaign::size(100, 2000);
    for number in 0..packages {
        let package = format!("packages/p{number}");
        for file in 0..9 {
            place.put(&format!("{package}/src/{file}.js"), &format!("{number} {file}"));
        }
        place.put(&format!("{package}/package.json"), "{}");
        place.members.push(package.into());
    }
    place.commit("many");
    let take = || helper::measured(helper::taking(&place.request()));
    let (_, first) = take();
    place.put("packages/p1/src/1.js", "changed");
    let (_, changed) = take();
    let (sources, unchanged) = take();
    assert!(sources.unwrap().was_there);
    println!("{packages} packages: first {first:?}, one file changed {changed:?}, unchanged {unchanged:?}");
    let bound = if cfg!(debug_assertions) { Duration::from_secs(5) } else { Duration::from_millis(500) };
    assert!(unchanged < bound, "{unchanged:?}");
}
