//! What a store promises to several makers at once.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use packline_layers::{Begin, Bounds, Draft, Key, Layer, MEMORY, Store, Waited};

use crate::{helper::Maker, place::WIDE};

const LONG: Duration = Duration::from_secs(600);

fn key(name: &str) -> Key {
    Key::of("test", [name]).unwrap()
}

fn begun(store: &Store, name: &str) -> Draft {
    match store.begin(&key(name)).unwrap() {
        Begin::Make(draft) => draft,
        other => panic!("{other:?}"),
    }
}

/// A layer with one file of that many bytes.
fn made(store: &Store, name: &str, bytes: usize) -> Layer {
    let draft = begun(store, name);
    fs::write(draft.path().join("file"), vec![b'x'; bytes]).unwrap();
    draft.finish().unwrap()
}

/// The names of all drafts.
fn drafts(folder: &Path) -> Vec<String> {
    let drafts = fs::read_dir(folder.join(".store/drafts")).unwrap();
    drafts.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_layer_is_there_for_everybody_once_it_is_finished() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (Store::open(place.path(), WIDE).unwrap(), Store::open(place.path(), WIDE).unwrap());
    let mut draft = begun(&one, "a");
    fs::write(draft.path().join("file"), "content").unwrap();
    draft.note(b"noted".to_vec());
    assert!(other.find(&key("a")).unwrap().is_none(), "it is not finished");
    assert!(matches!(other.begin(&key("a")).unwrap(), Begin::Busy));
    let layer = draft.finish().unwrap();
    assert_eq!(layer.path(), one.folder().join(key("a").to_string()));
    let found = other.find(&key("a")).unwrap().unwrap();
    assert_eq!(fs::read_to_string(found.path().join("file")).unwrap(), "content");
    assert_eq!(found.note().unwrap(), b"noted");
    assert!(matches!(other.begin(&key("a")).unwrap(), Begin::Found(_)));
    assert!(drafts(place.path()).is_empty());
}

#[test]
fn a_draft_that_is_dropped_is_gone_and_the_next_one_makes_the_layer() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), WIDE).unwrap();
    let draft = begun(&store, "a");
    let closed = draft.path().join("closed/in");
    fs::create_dir_all(&closed).unwrap();
    fs::write(closed.join("file"), "").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    drop(draft);
    assert!(drafts(place.path()).is_empty());
    begun(&store, "a");
}

#[test]
fn one_of_many_makes_a_layer_and_the_others_wait_for_it() {
    let place = tempfile::tempdir().unwrap();
    let start = Arc::new(Barrier::new(8));
    let makers: Vec<_> = (0..8)
        .map(|_| {
            let (folder, start) = (place.path().to_owned(), Arc::clone(&start));
            thread::spawn(move || {
                let store = Store::open(folder, WIDE).unwrap();
                start.wait();
                let mut was_maker = false;
                let layer = loop {
                    match store.begin(&key("a")).unwrap() {
                        Begin::Found(layer) => break layer,
                        Begin::Make(draft) => {
                            was_maker = true;
                            fs::write(draft.path().join("file"), "").unwrap();
                            break draft.finish().unwrap();
                        }
                        Begin::Busy => {
                            let waited = store.wait(&key("a"), &AtomicBool::new(false), LONG).unwrap();
                            assert_eq!(waited, Waited::Over);
                        }
                    }
                };
                assert!(layer.path().join("file").exists());
                was_maker
            })
        })
        .collect();
    let makers = makers.into_iter().map(|maker| maker.join().unwrap());
    assert_eq!(makers.filter(|was_maker| *was_maker).count(), 1);
}

#[test]
fn waiting_stops_when_it_is_told_to() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), WIDE).unwrap();
    let _draft = begun(&store, "a");
    assert_eq!(store.wait(&key("a"), &AtomicBool::new(true), LONG).unwrap(), Waited::Stopped);
    assert_eq!(store.wait(&key("b"), &AtomicBool::new(true), LONG).unwrap(), Waited::Over, "nobody makes it");
}

#[test]
fn what_was_used_longest_ago_is_evicted_and_what_is_in_use_stays() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), Bounds { bytes: 250_000, ..WIDE }).unwrap();
    let leased = made(&store, "leased", 100_000);
    drop(made(&store, "old", 100_000));
    set_used(&store, "leased", 3);
    set_used(&store, "old", 2);
    drop(made(&store, "new", 100_000));
    assert!(store.find(&key("old")).unwrap().is_none());
    assert!(leased.path().join("file").exists());
    assert!(store.find(&key("new")).unwrap().is_some());
    drop(leased);
    set_used(&store, "leased", 3);
    drop(Store::open(place.path(), Bounds { age: Duration::from_secs(7200), ..WIDE }).unwrap());
    assert!(store.find(&key("leased")).unwrap().is_none(), "it was used three hours ago");
    assert!(store.find(&key("new")).unwrap().is_some());
}

#[test]
fn small_layers_exceed_the_bounds_for_some_seconds_at_most() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), Bounds { bytes: 10_000_000, ..WIDE }).unwrap();
    drop(made(&store, "large", 9_999_000));
    set_used(&store, "large", 3);
    drop(made(&store, "a", 5_000));
    let looked = fs::File::options().write(true).open(store.folder().join(".store/evicting")).unwrap();
    looked.set_modified(SystemTime::now() - Duration::from_secs(5)).unwrap();
    drop(made(&store, "b", 5_000));
    assert!(!is_there(&store, "large"));
    drop(made(&store, "large again", 9_999_000));
    assert!(!is_there(&store, "a"), "a large one counts at once");
}

/// Whether a layer is there; that is no use of it.
fn is_there(store: &Store, name: &str) -> bool {
    store.folder().join(key(name).to_string()).exists()
}

/// Dates the last use of a layer back.
fn set_used(store: &Store, name: &str, hours: u32) {
    let stamp = store.folder().join(".store/stamps").join(key(name).to_string().replace('/', "."));
    let used = SystemTime::now() - Duration::from_secs(3600) * hours;
    fs::File::options().write(true).open(stamp).unwrap().set_modified(used).unwrap();
}

#[test]
fn a_failure_is_remembered_for_ten_minutes() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (Store::open(place.path(), WIDE).unwrap(), Store::open(place.path(), WIDE).unwrap());
    let now = SystemTime::now();
    assert_eq!(one.failed(&key("a"), now).unwrap(), None);
    one.note_failed_package(&key("a"), "early", "b1").unwrap();
    one.remember_failure(&key("a"), "E404 left-pad", now).unwrap();
    for package in ["@acme/core", "@acme/web", "@acme/core"] {
        other.note_failed_package(&key("a"), package, "b1").unwrap();
    }
    let failed = other.failed(&key("a"), now + MEMORY - Duration::from_secs(1)).unwrap().unwrap();
    assert_eq!((failed.reason.as_str(), failed.packages.join(" ")), ("E404 left-pad", "@acme/core @acme/web".into()));
    assert_eq!(other.failed(&key("a"), now + MEMORY).unwrap(), None);
    assert_eq!(other.failed(&key("b"), now).unwrap(), None);
    one.remember_failure(&key("a"), "again", now).unwrap();
    assert!(one.failed(&key("a"), now).unwrap().unwrap().packages.is_empty(), "it is another failure");
    other.forget_failure(&key("a")).unwrap();
    assert_eq!(one.failed(&key("a"), now).unwrap(), None);
}

#[test]
fn a_package_failed_before_where_another_build_of_it_did() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), WIDE).unwrap();
    let now = SystemTime::now();
    let failed = || store.failed(&key("a"), now).unwrap().unwrap();
    store.remember_failure(&key("a"), "E404 left-pad", now).unwrap();
    assert!(!failed().failed_before("core", "b1"));
    store.note_failed_package(&key("a"), "core", "b1").unwrap();
    assert!(!failed().failed_before("core", "b1"), "it looks for the second time");
    assert!(failed().failed_before("core", "b2"));
    assert!(!failed().failed_before("web", "b2"));
    store.note_failed_package(&key("a"), "core", "b2").unwrap();
    assert_eq!(failed().packages, ["core"]);
    assert!(!failed().failed_before("core", "b2") && failed().failed_before("core", "b3"));
    let older = r#"{"reason": "E404", "at": 1, "packages": ["core"]}"#;
    let older: packline_layers::Failed = serde_json::from_str(older).unwrap();
    assert!(older.failed_before("core", "b1") && !older.failed_before("web", "b1"));
}

#[test]
fn a_maker_that_is_killed_leaves_nothing_that_blocks() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), WIDE).unwrap();
    let maker = Maker::start(place.path(), &key("a"));
    assert!(matches!(store.begin(&key("a")).unwrap(), Begin::Busy));
    let waiter = {
        let store = store.clone();
        thread::spawn(move || store.wait(&key("a"), &AtomicBool::new(false), LONG).unwrap())
    };
    assert_eq!(drafts(place.path()).len(), 1);
    maker.kill();
    assert_eq!(waiter.join().unwrap(), Waited::Over);
    let draft = begun(&store, "a");
    assert_eq!(drafts(place.path()).len(), 1, "the other draft is removed");
    assert!(!draft.path().join("a").exists(), "nobody makes a layer where another one was made");
    drop(draft);
    Maker::start(place.path(), &key("b")).kill();
    assert_eq!(drafts(place.path()).len(), 1);
    let _living = begun(&store, "c");
    Store::open(place.path(), WIDE).unwrap();
    let left = drafts(place.path());
    assert!(left.len() == 1 && left[0].starts_with(&key("c").to_string().replace('/', ".")), "{left:?}");
}

#[test]
fn a_maker_that_is_frozen_is_given_up_and_one_that_goes_on_is_not() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), WIDE).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let timeout = Duration::from_secs(3);
    let _going_on = begun(&store, "a");
    let waiter = {
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        thread::spawn(move || store.wait(&key("a"), &stop, timeout).unwrap())
    };
    let frozen = Maker::start(place.path(), &key("b"));
    frozen.freeze();
    assert_eq!(store.wait(&key("b"), &AtomicBool::new(false), timeout).unwrap(), Waited::Over);
    let draft = begun(&store, "b");
    assert!(!draft.path().join("a").exists());
    assert_eq!(drafts(place.path()).len(), 2, "that of the frozen one is removed");
    frozen.kill();
    assert!(matches!(store.begin(&key("b")).unwrap(), Begin::Busy));
    draft.finish().unwrap();
    assert!(!waiter.is_finished());
    stop.store(true, Ordering::Relaxed);
    assert_eq!(waiter.join().unwrap(), Waited::Stopped);
}

#[test]
fn a_maker_that_was_given_up_makes_nothing_and_disturbs_no_other() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), WIDE).unwrap();
    let (late, idle) = (begun(&store, "a"), begun(&store, "b"));
    for name in ["a", "b"] {
        fs::remove_file(place.path().join(".store/making").join(key(name).to_string().replace('/', "."))).unwrap();
    }
    let (next, other) = (begun(&store, "a"), begun(&store, "b"));
    drop(idle);
    assert!(late.finish().unwrap_err().to_string().contains("another one has taken over"));
    for name in ["a", "b"] {
        assert!(matches!(store.begin(&key(name)).unwrap(), Begin::Busy), "{name}");
    }
    next.finish().unwrap();
    other.finish().unwrap();
    assert!(drafts(place.path()).is_empty());
}

#[test]
fn a_removal_that_was_broken_off_is_finished() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), WIDE).unwrap();
    let trash = place.path().join(".store/trash");
    fs::rename(made(&store, "a", 1).path(), trash.join("half")).unwrap();
    let stamps = place.path().join(".store/stamps");
    assert_eq!(fs::read_dir(&stamps).unwrap().count(), 1);
    assert!(store.find(&key("a")).unwrap().is_none());
    Store::open(place.path(), WIDE).unwrap();
    assert_eq!(fs::read_dir(trash).unwrap().count(), 0);
    assert_eq!(fs::read_dir(stamps).unwrap().count(), 0);
    made(&store, "a", 1);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_no_layer() {
    let place = tempfile::tempdir().unwrap();
    let Some(small) = SmallDisk::mount(place.path()) else {
        println!("left out: no small file system can be mounted here");
        return;
    };
    let store = Store::open(small.0, WIDE).unwrap();
    made(&store, "a", 1000);
    let draft = begun(&store, "b");
    let full = fs::write(draft.path().join("file"), vec![0; 4 << 20]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    let full = draft.finish().unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull, "even what is said of the layer has no room");
    assert!(store.find(&key("b")).unwrap().is_none());
    assert!(drafts(small.0).is_empty());
    assert!(store.find(&key("a")).unwrap().is_some());
}

/// One megabyte, unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(at);
        mount.output().is_ok_and(|mounted| mounted.status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(self.0).status();
    }
}
