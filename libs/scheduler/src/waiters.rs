//! Those that wait directly for one package, lowest passed priority first: a short list for most, a tree
//! for the package that everybody needs.

use std::collections::BTreeSet;

use crate::node::Id;

/// Up to so many are a list, at a third of a tree's memory.
const FEW: usize = 16;

/// A set of waiters, each with the priority that it passes on.
#[derive(Clone, Debug)]
pub(crate) enum Waiters {
    Few(Vec<(i64, Id)>),
    Many(BTreeSet<(i64, Id)>),
}

impl Waiters {
    pub(crate) const NONE: Self = Self::Few(Vec::new());

    pub(crate) fn insert(&mut self, waiter: (i64, Id)) {
        match self {
            Self::Few(few) => {
                let Err(at) = few.binary_search(&waiter) else { return };
                if few.len() < FEW {
                    few.insert(at, waiter);
                } else {
                    *self = Self::Many(few.drain(..).chain([waiter]).collect());
                }
            }
            Self::Many(many) => drop(many.insert(waiter)),
        }
    }

    pub(crate) fn remove(&mut self, waiter: (i64, Id)) {
        match self {
            Self::Few(few) => {
                if let Ok(at) = few.binary_search(&waiter) {
                    few.remove(at);
                }
                if few.is_empty() {
                    *self = Self::NONE;
                }
            }
            Self::Many(many) => {
                many.remove(&waiter);
                if many.len() <= FEW / 2 {
                    *self = Self::Few(many.iter().copied().collect());
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest priority that any of them passes on.
    pub(crate) fn highest(&self) -> Option<i64> {
        self.iter().next_back().map(|(priority, _)| *priority)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &(i64, Id)> {
        let (few, many) = match self {
            Self::Few(few) => (few.as_slice(), None),
            Self::Many(many) => (&[][..], Some(many)),
        };
        few.iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_and_a_tree_hold_the_same(steps in prop::collection::vec((any::<bool>(), 0_i64..6, 0_u32..9), 0..200)) {
            let (mut waiters, mut model) = (Waiters::NONE, BTreeSet::new());
            for (comes, priority, id) in steps {
                let waiter = (priority, Id::of(id));
                if comes {
                    waiters.insert(waiter);
                    model.insert(waiter);
                } else {
                    waiters.remove(waiter);
                    model.remove(&waiter);
                }
                prop_assert_eq!(waiters.len(), model.len());
                prop_assert!(waiters.iter().eq(model.iter()));
                prop_assert_eq!(waiters.highest(), model.last().map(|(priority, _)| *priority));
            }
        }
    }
}
