//! What is decided and not stored yet. It is taken back for as long as somebody looks: what is asked while a commit
//! is on its way is answered from what is stored, and waits for no disk.

use packline_domain::{
    Timestamp,
    record::{Key, Record},
};

use crate::Scheduler;

/// What is on the other side of a change: stored while memory is ahead, and memory's while it is taken back.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    record: Option<Record>,
    /// When the build of a permit has had its time: no record says it.
    expiry: Option<Timestamp>,
}

impl Scheduler {
    /// All that was decided so far is stored.
    pub fn stored(&mut self) {
        self.unstored.clear();
    }

    /// Whether memory is ahead of what is stored.
    pub fn is_ahead(&self) -> bool {
        !self.unstored.is_empty()
    }

    /// Looks at everything as it was when [`Self::stored`] was last said, or as it was restored. Who lives is always
    /// seen as it is. The cost grows with what is not stored.
    pub fn as_stored<T>(&mut self, now: Timestamp, look: impl FnOnce(&Self) -> T) -> T {
        self.exchange(now);
        let seen = look(self);
        self.exchange(now);
        seen
    }

    /// Remembers what a record was before its first change.
    pub(crate) fn keep_stored(&mut self, key: &Key) {
        if !self.unstored.contains_key(key) {
            let stored = self.this_side(key);
            self.unstored.insert(key.clone(), stored);
        }
    }

    fn this_side(&self, key: &Key) -> Other {
        let expiry = match key {
            Key::Permit(number) => self.permits.deadlines.get(number).copied(),
            Key::Control | Key::Intention | Key::Queue(_) | Key::Retries(_) | Key::Leader | Key::Effects(_) => None,
        };
        Other { record: self.record(key), expiry }
    }

    fn record(&self, key: &Key) -> Option<Record> {
        Some(match key {
            Key::Control => Record::Control(Box::new(self.control.clone())),
            Key::Intention => Record::Intention(Box::new(self.intention.clone()?)),
            Key::Queue(name) => Record::Queue(self.packages.find(name)?.queue.clone()?),
            Key::Retries(name) => Record::Retries(self.packages.find(name)?.retries.clone()?),
            Key::Permit(number) => Record::Permit(self.permits.held.get(number)?.clone()),
            Key::Leader | Key::Effects(_) => return None,
        })
    }

    /// Every index follows the records, so the order in which they change is of no account.
    fn exchange(&mut self, now: Timestamp) {
        let mut unstored = std::mem::take(&mut self.unstored);
        for (key, other) in &mut unstored {
            let here = self.this_side(key);
            let there = std::mem::replace(other, here);
            self.set(key, there.record, there.expiry.unwrap_or(now));
        }
        self.unstored = unstored;
        self.packages.ripen(now);
        // Nothing has become unresolvable that was not told.
        self.packages.entangled.clear();
    }
}
