//! The messages of one log in the order of their numbers, each once.

use std::collections::BTreeMap;

/// So many are held back for one that is missing.
const HELD: usize = 1024;

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<T> {
    /// The next message.
    Message(T),
    /// So many messages are not there.
    Missing(u64),
}

/// Puts right what was stored twice, or behind what follows it, after a worker had lost its broker.
#[derive(Debug)]
pub(super) struct Sorted<T> {
    next: u64,
    held: BTreeMap<u64, T>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { next: 1, held: BTreeMap::new() }
    }
}

impl<T> Sorted<T> {
    /// Takes a message; one without a number is the next.
    pub(super) fn push(&mut self, number: Option<u64>, message: T) -> Vec<Piece<T>> {
        let number = number.unwrap_or(self.next);
        if number < self.next {
            return Vec::new();
        }
        self.held.entry(number).or_insert(message);
        if self.held.len() > HELD { self.give_up() } else { self.ready() }
    }

    /// Whether one is waited for.
    pub(super) fn waits(&self) -> bool {
        !self.held.is_empty()
    }

    /// What is missing will not come: all that was held back for it.
    pub(super) fn give_up(&mut self) -> Vec<Piece<T>> {
        let mut pieces = Vec::new();
        while let Some(first) = self.held.first_key_value().map(|(number, _)| *number) {
            pieces.push(Piece::Missing(first - self.next));
            self.next = first;
            pieces.extend(self.ready());
        }
        pieces
    }

    fn ready(&mut self) -> Vec<Piece<T>> {
        let mut ready = Vec::new();
        while let Some(message) = self.held.remove(&self.next) {
            self.next += 1;
            ready.push(Piece::Message(message));
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_ones_come_once_and_late_ones_in_their_place() {
        let mut sorted = Sorted::default();
        let mut all = Vec::new();
        for number in [1, 2, 4, 5, 2, 3, 4, 5, 6] {
            all.extend(sorted.push(Some(number), number));
        }
        assert_eq!(all, [1, 2, 3, 4, 5, 6].map(Piece::Message));
        assert!(!sorted.waits());
    }

    #[test]
    fn what_will_not_come_is_counted() {
        let mut sorted = Sorted::default();
        assert_eq!(sorted.push(Some(3), 'c'), []);
        assert_eq!(sorted.push(Some(5), 'e'), []);
        assert!(sorted.waits());
        let given_up = [Piece::Missing(2), Piece::Message('c'), Piece::Missing(1), Piece::Message('e')];
        assert_eq!(sorted.give_up(), given_up);
        assert_eq!(sorted.push(None, 'f'), [Piece::Message('f')]);
    }
}
