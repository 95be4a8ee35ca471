//! Which layers go, and how.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::{
    Bounds, Key, Store,
    draft::remove_file,
    lock::{self, Locked, Mode},
    remove::remove_tree,
    size,
    stamp::Stamp,
};

/// Layers of less than this part of what a store may keep are small.
const SMALL: u64 = 1000;
/// So long small layers may be added before all layers are looked at again.
const PAUSE: Duration = Duration::from_secs(5);

/// A layer that may be evicted.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    bytes: u64,
    used: SystemTime,
}

impl Store {
    /// Evicts layers after one of so many bytes was added. Not each time: to look at all layers takes longer with each.
    pub(crate) fn make_room(&self, bytes: u64, now: SystemTime) -> io::Result<()> {
        let looked = fs::metadata(self.evicting()).and_then(|found| found.modified());
        if is_due(looked.ok(), bytes, self.bounds(), now) { self.evict(now) } else { Ok(()) }
    }

    /// Evicts layers, those first that were used longest ago, until the rest is within the bounds. Never a layer that
    /// is in use. Blocks.
    pub(crate) fn evict(&self, now: SystemTime) -> io::Result<()> {
        // Two at once would evict twice as much. The other one is as good.
        let Locked::Got(evicting) = lock::created(&self.evicting(), Mode::Exclusive)? else { return Ok(()) };
        evict_by(self.entries()?, self.bounds(), now, |key| self.retire(key))?;
        evicting.set_modified(now)?;
        drop(evicting);
        for entry in fs::read_dir(self.trash())? {
            // Where it fails, the next one to open the store tries again.
            let _ = remove_tree(&entry?.path());
        }
        Ok(())
    }

    /// Its lock is of whoever evicts, and its time that of the last look at all layers.
    fn evicting(&self) -> PathBuf {
        self.inner("evicting")
    }

    /// All layers. Stamps without a layer are removed.
    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for kind in fs::read_dir(self.folder())? {
            let kind = kind?;
            let name = kind.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            for layer in fs::read_dir(kind.path()).into_iter().flatten() {
                let layer = layer?;
                let digest = layer.file_name();
                let Some(key) = digest.to_str().and_then(|digest| format!("{name}/{digest}").parse::<Key>().ok())
                else {
                    continue;
                };
                let stamp = self.stamp(&key);
                let written = fs::read(&stamp).ok().and_then(|bytes| Stamp::read(&bytes));
                let bytes = match written {
                    Some(stamp) => stamp.bytes,
                    None => size::of(&layer.path()).unwrap_or_default(),
                };
                let used = fs::metadata(&stamp).or_else(|_| layer.metadata()).and_then(|found| found.modified());
                entries.push(Entry { key, bytes, used: used.unwrap_or(SystemTime::UNIX_EPOCH) });
            }
        }
        for stamp in fs::read_dir(self.stamps())? {
            let name = stamp?.file_name();
            let Some(key) = name.to_str().and_then(Key::from_file_name) else { continue };
            if !self.layer(&key).exists() {
                self.retire(&key)?;
            }
        }
        Ok(entries)
    }

    /// Takes a layer out of sight, to be removed from the trash; false where it is in use.
    fn retire(&self, key: &Key) -> io::Result<bool> {
        let stamp = self.stamp(key);
        let Locked::Got(_lease) = lock::created(&stamp, Mode::Exclusive)? else { return Ok(false) };
        let layer = self.layer(key);
        if layer.exists() {
            // A folder that is closed to its owner cannot be moved.
            fs::set_permissions(&layer, fs::Permissions::from_mode(0o700))?;
            let place = tempfile::Builder::new().prefix(&key.file_name()).tempdir_in(self.trash())?.keep();
            fs::rename(layer, place.join("layer"))?;
        }
        remove_file(&self.note(key))?;
        remove_file(&stamp)?;
        Ok(true)
    }
}

/// Whether all layers are to be looked at after one of so many bytes was added.
fn is_due(looked: Option<SystemTime>, bytes: u64, bounds: Bounds, now: SystemTime) -> bool {
    // A clock that was set back says nothing.
    let since = looked.and_then(|looked| now.duration_since(looked).ok());
    bytes >= bounds.bytes / SMALL || since.is_none_or(|since| since >= PAUSE)
}

/// Calls `retire` for the layers to evict; it says whether it did so.
fn evict_by(
    mut entries: Vec<Entry>,
    bounds: Bounds,
    now: SystemTime,
    mut retire: impl FnMut(&Key) -> io::Result<bool>,
) -> io::Result<()> {
    entries.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.key.cmp(&b.key)));
    let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    for entry in entries {
        // A clock that was set back makes no layer old.
        let age = now.duration_since(entry.used).unwrap_or(Duration::ZERO);
        if (age > bounds.age || total > bounds.bytes) && retire(&entry.key)? {
            total -= entry.bytes;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn evicted(layers: &[(u64, u32)], bytes: u64, leased: &[usize]) -> Vec<usize> {
        let now = SystemTime::UNIX_EPOCH + HOUR * 1000;
        let keys: Vec<Key> = (0..layers.len()).map(|index| Key::of("x", [index.to_string()]).unwrap()).collect();
        let entries = layers.iter().zip(&keys);
        let entries = entries.map(|(&(bytes, hours), key)| Entry { key: key.clone(), bytes, used: now - HOUR * hours });
        let mut gone = Vec::new();
        evict_by(entries.collect(), Bounds { bytes, age: HOUR * 24 }, now, |key| {
            let index = keys.iter().position(|known| known == key).unwrap();
            let may = !leased.contains(&index);
            if may {
                gone.push(index);
            }
            Ok(may)
        })
        .unwrap();
        gone
    }

    #[test]
    fn those_go_first_that_were_used_longest_ago() {
        let layers = [(10, 1), (10, 3), (10, 2)];
        assert!(evicted(&layers, 30, &[]).is_empty(), "within the bounds");
        assert_eq!(evicted(&layers, 29, &[]), [1]);
        assert_eq!(evicted(&layers, 10, &[]), [1, 2]);
        assert_eq!(evicted(&layers, 0, &[]), [1, 2, 0]);
    }

    #[test]
    fn old_ones_go_whatever_their_size() {
        assert_eq!(evicted(&[(1, 23), (1, 25), (1, 24)], 1000, &[]), [1]);
    }

    #[test]
    fn small_layers_wait_for_the_next_look() {
        let now = SystemTime::UNIX_EPOCH + HOUR;
        let bounds = Bounds { bytes: 1000 * SMALL, age: HOUR };
        let is_due = |seconds, bytes| is_due(Some(now - Duration::from_secs(seconds)), bytes, bounds, now);
        assert!(!is_due(0, 999) && !is_due(4, 999));
        assert!(is_due(5, 0) && is_due(0, 1000));
        assert!(super::is_due(None, 0, bounds, now) && super::is_due(Some(now + HOUR), 0, bounds, now));
    }

    #[test]
    fn what_is_in_use_stays_and_the_next_one_goes() {
        assert_eq!(evicted(&[(10, 30), (10, 3), (10, 2)], 20, &[0]), [1]);
    }
}
