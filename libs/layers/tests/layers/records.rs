//! Small things that are remembered beside layers.

use std::{
    fs::File,
    time::{Duration, SystemTime},
};

use packline_layers::{Bounds, Key, Store};

use crate::place::WIDE;

#[test]
fn what_was_remembered_last_is_recalled_until_it_is_too_old() {
    let place = tempfile::tempdir().unwrap();
    let key = Key::of("last", ["a"]).unwrap();
    let store = Store::open(place.path(), WIDE).unwrap();
    assert_eq!(store.recall(&key).unwrap(), None);
    store.remember(&key, b"one").unwrap();
    store.remember(&key, b"two").unwrap();
    let other = Store::open(place.path(), WIDE).unwrap();
    assert_eq!(other.recall(&key).unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(other.recall(&Key::of("last", ["b"]).unwrap()).unwrap(), None);

    let record = place.path().join(".store/records").join(key.to_string().replace('/', "."));
    File::open(record).unwrap().set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    let hour = Bounds { age: Duration::from_secs(3600), ..WIDE };
    assert_eq!(Store::open(place.path(), hour).unwrap().recall(&key).unwrap(), None);
}
