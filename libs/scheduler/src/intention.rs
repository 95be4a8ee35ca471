//! What is being worked off: the latest first, and what it interrupted after it.
//!
//! A command does not wait for a long announcement or for the requeueing of all that failed: a stop must not. What it
//! interrupts goes on afterwards. Only a command that withdraws permits holds up the next one.

use packline_domain::record::{Intention, Key};

use crate::step::Step;

impl Step<'_> {
    /// This is to be worked off first.
    pub(crate) fn interrupt(&mut self, mut intention: Intention) {
        if let Some(mut standing) = self.intention().cloned() {
            intention.interrupted = std::mem::take(&mut standing.interrupted);
            intention.interrupted.insert(0, standing);
        }
        self.put_intention(intention);
    }

    /// The first that is worked off is done; the next goes on.
    pub(crate) fn end_intention(&mut self) {
        if let Some(first) = self.intention().cloned() {
            self.forget(&first);
        }
    }

    /// This one is done, wherever it stands.
    pub(crate) fn forget(&mut self, done: &Intention) {
        let Some(mut standing) = self.intention().cloned() else { return };
        standing.interrupted.retain(|one| !is_same(one, done));
        if !is_same(&standing, done) {
            return self.put_intention(standing);
        }
        let mut others = standing.interrupted.into_iter();
        match others.next() {
            Some(next) => self.put_intention(Intention { interrupted: others.collect(), ..next }),
            None => self.delete(Key::Intention),
        }
    }

    /// This one has come so far, wherever it stands.
    pub(crate) fn advance(&mut self, changed: &Intention) {
        let Some(mut standing) = self.intention().cloned() else { return };
        if is_same(&standing, changed) {
            standing.what.clone_from(&changed.what);
        } else if let Some(it) = standing.interrupted.iter_mut().find(|one| is_same(one, changed)) {
            it.what.clone_from(&changed.what);
        }
        self.put_intention(standing);
    }
}

/// Whether both are of one input; a stream that was made anew repeats its sequences.
fn is_same(one: &Intention, other: &Intention) -> bool {
    (&one.stream, one.sequence, one.commit) == (&other.stream, other.sequence, other.commit)
}
