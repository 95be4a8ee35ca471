//! The order of building: who is ready, and who comes first.

use std::cmp::Reverse;

use packline_domain::{
    answer::Standing,
    record::{Queue, State},
};

use crate::node::{Hold, Id, Node};

/// The place of a waiting package: smaller is sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Its own priority or the highest that it inherits, whichever is higher.
    pub(crate) priority: Reverse<i64>,
    /// How many packages wait directly for it.
    pub(crate) waiters: Reverse<u32>,
    /// First come.
    pub(crate) arrival: u64,
    /// Tells apart what a tampered bucket made equal.
    pub(crate) id: Id,
}

impl Rank {
    /// A place after every other.
    pub(crate) const LAST: Self =
        Self { priority: Reverse(i64::MIN), waiters: Reverse(0), arrival: u64::MAX, id: Id::LAST };
}

/// Whether a package with this record waits for its turn.
pub(crate) fn waits(queue: &Queue) -> bool {
    match queue.state {
        State::Queued | State::Retrying { .. } => true,
        State::Building { .. } | State::Published { .. } | State::Failed { .. } | State::Cancelled { .. } => false,
    }
}

impl Node {
    /// Where it stands; `None` for a name that the queue does not know.
    pub(crate) fn judge(&self) -> Option<Standing> {
        Some(match self.queue.as_ref()?.state {
            State::Building { .. } => Standing::Building,
            State::Published { .. } => Standing::Published,
            State::Failed { .. } => Standing::Failed,
            State::Cancelled { .. } => Standing::Cancelled,
            State::Queued | State::Retrying { .. } if self.unresolvable => Standing::Unresolvable,
            State::Retrying { .. } if !self.ripe => Standing::Retrying,
            State::Queued | State::Retrying { .. } if self.unfinished > 0 => Standing::Blocked,
            State::Queued | State::Retrying { .. } => Standing::Ready,
        })
    }

    /// How it stands in the way of those that wait for it.
    pub(crate) fn holds(&self) -> Hold {
        let Some(queue) = &self.queue else { return Hold::Free };
        match queue.state {
            State::Published { .. } => Hold::Free,
            State::Building { .. } => Hold::Coming,
            State::Queued | State::Retrying { .. } if self.unresolvable || self.stuck_needs > 0 => Hold::Stuck,
            State::Queued | State::Retrying { .. } => Hold::Coming,
            State::Failed { .. } | State::Cancelled { .. } => Hold::Stuck,
        }
    }

    /// The priority that counts: its own or the highest of those that wait for it.
    pub(crate) fn priority(&self) -> i64 {
        let own = self.queue.as_ref().map_or(i64::MIN, |queue| queue.package.priority);
        self.waiters.highest().map_or(own, |inherited| own.max(inherited))
    }

    /// Its place, while it waits.
    pub(crate) fn placed(&self, id: Id) -> Option<Rank> {
        let queue = self.queue.as_ref().filter(|queue| waits(queue))?;
        Some(Rank {
            priority: Reverse(self.priority()),
            waiters: Reverse(u32::try_from(self.waiters.len()).unwrap_or(u32::MAX)),
            arrival: queue.arrival,
            id,
        })
    }
}
