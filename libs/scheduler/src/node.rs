//! The packages in memory: their records, and every index over them.

use std::collections::{BTreeMap, BTreeSet};

use packline_domain::{
    PackageName, Timestamp,
    answer::{Counts, Standing},
    record::{Queue, Retries, State},
};

use crate::{
    forecast::{Forecast, own_past},
    order::{Rank, waits},
    waiters::Waiters,
};

/// A place in [`Packages::nodes`]. Decides nothing: a restored scheduler numbers otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(u32);

impl Id {
    pub(crate) const LAST: Self = Self(u32::MAX);

    #[cfg(test)]
    pub(crate) fn of(number: u32) -> Self {
        Self(number)
    }
}

/// One name: a package of the queue, or one that others name as their dependency.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: PackageName,
    pub(crate) queue: Option<Box<Queue>>,
    pub(crate) retries: Option<Box<Retries>>,
    /// What it waits for, each once, by id, while it waits; else none.
    pub(crate) needs: Box<[Need]>,
    /// Those that wait directly for it, each with the priority that it passes on.
    pub(crate) waiters: Waiters,
    /// The priority under which it stands among the waiters of what it needs.
    pub(crate) passes: Passes,
    /// How many of its needs hold it back.
    pub(crate) unfinished: u32,
    /// How many of its dependencies are not published without somebody's help.
    pub(crate) stuck_needs: u32,
    /// How it stands in the way of those that wait for it, as they were told last.
    pub(crate) hold: Hold,
    /// Its retry is due.
    pub(crate) ripe: bool,
    /// It is on a cycle of dependencies.
    pub(crate) unresolvable: bool,
    /// It is on a cycle of dependencies and of what is built before it where it can be: it does not wait for the latter.
    pub(crate) circular: bool,
    /// Its place in `ready` or `later`.
    pub(crate) rank: Option<Rank>,
    /// As which it is counted.
    pub(crate) standing: Option<Standing>,
    /// How long its build takes by its own past, in milliseconds.
    pub(crate) past: Option<u32>,
}

/// One package that another one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) id: Id,
    /// It is waited for only as long as it can end by itself, and need not be published: `buildAfter`.
    pub(crate) is_order_only: bool,
}

/// The priority that a package passes on to what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passes {
    pub(crate) to_dependencies: i64,
    pub(crate) to_order_only: i64,
}

impl Passes {
    pub(crate) const NONE: Self = Self { to_dependencies: NOTHING, to_order_only: NOTHING };

    pub(crate) fn to(self, need: Need) -> i64 {
        if need.is_order_only { self.to_order_only } else { self.to_dependencies }
    }
}

/// How a package stands in the way of those that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It does not: it is published, or the queue does not know it.
    Free,
    /// It is built, or will be by itself.
    Coming,
    /// Somebody has to do something first: about it, or about what it depends on.
    Stuck,
}

impl Hold {
    /// Whether it holds back one that waits for it; `circular` says that of the one that waits.
    pub(crate) fn holds_back(self, need: Need, circular: bool) -> bool {
        match self {
            Self::Free => false,
            Self::Coming => !(need.is_order_only && circular),
            Self::Stuck => !need.is_order_only,
        }
    }

    /// Whether it keeps one that depends on it from ending by itself.
    pub(crate) fn blocks(self, need: Need) -> bool {
        self == Self::Stuck && !need.is_order_only
    }
}

/// What a package on a cycle passes on.
pub(crate) const NOTHING: i64 = i64::MIN;

/// All packages and every index over them, each kept as the records change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packages {
    pub(crate) nodes: Vec<Node>,
    pub(crate) ids: BTreeMap<PackageName, Id>,
    pub(crate) free: Vec<Id>,
    /// What could start, soonest first.
    pub(crate) ready: BTreeSet<Rank>,
    /// What waits and could not.
    pub(crate) later: BTreeSet<Rank>,
    pub(crate) counts: Counts,
    /// Retries that are not due yet.
    pub(crate) due: BTreeSet<(Timestamp, PackageName)>,
    /// Published and cancelled packages by when they were last announced.
    pub(crate) settled: BTreeSet<(Timestamp, PackageName)>,
    /// Failed packages.
    pub(crate) failed: BTreeSet<PackageName>,
    /// Packages that became unresolvable and were not told of yet.
    pub(crate) entangled: Vec<PackageName>,
    pub(crate) forecast: Forecast,
}

impl Packages {
    #[expect(clippy::indexing_slicing, reason = "ids are made by `intern` alone and stay within `nodes`")]
    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "ids are made by `intern` alone and stay within `nodes`")]
    pub(crate) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    pub(crate) fn find(&self, name: &PackageName) -> Option<&Node> {
        self.ids.get(name).map(|id| self.node(*id))
    }

    /// The id of a name, made where there is none.
    pub(crate) fn intern(&mut self, name: &PackageName) -> Id {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let node = Node {
            name: name.clone(),
            queue: None,
            retries: None,
            needs: Box::default(),
            waiters: Waiters::NONE,
            passes: Passes::NONE,
            unfinished: 0,
            stuck_needs: 0,
            hold: Hold::Free,
            ripe: false,
            unresolvable: false,
            circular: false,
            rank: None,
            standing: None,
            past: None,
        };
        let id = if let Some(id) = self.free.pop() {
            *self.node_mut(id) = node;
            id
        } else {
            let id = Id(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
            self.nodes.push(node);
            id
        };
        self.ids.insert(name.clone(), id);
        id
    }

    /// Forgets a name that nothing is known of and nobody waits for.
    pub(crate) fn release(&mut self, id: Id) {
        let node = self.node(id);
        if node.queue.is_none() && node.retries.is_none() && node.waiters.is_empty() {
            let name = node.name.clone();
            if self.ids.remove(&name).is_some() {
                self.free.push(id);
            }
        }
    }

    pub(crate) fn set_retries(&mut self, name: &PackageName, retries: Option<Box<Retries>>) {
        let id = self.intern(name);
        let past = retries.as_deref().and_then(own_past);
        let node = self.node_mut(id);
        node.retries = retries;
        let (standing, before) = (node.standing, std::mem::replace(&mut node.past, past));
        self.forecast.learned(standing, before, past);
        self.release(id);
    }

    /// Replaces one record and brings every index up to date.
    pub(crate) fn set_queue(&mut self, name: &PackageName, new: Option<Box<Queue>>) {
        let id = self.intern(name);
        let same_edges = match (&self.node(id).queue, &new) {
            (Some(old), Some(new)) => waits(old) && waits(new) && same_needs(old, new),
            (None, _) | (_, None) => false,
        };
        if !same_edges {
            self.leave(id);
        }
        self.replace(id, new);
        if !same_edges && self.node(id).queue.as_deref().is_some_and(waits) {
            self.enter(id);
        }
        self.settle(id);
        self.refresh(id);
        self.release(id);
    }

    /// Replaces the record and keeps the indexes that need no other package.
    pub(crate) fn replace(&mut self, id: Id, mut new: Option<Box<Queue>>) {
        if let Some(queue) = &mut new {
            let old = self.node(id).queue.as_ref();
            // What was made from the record that stands shares its names already.
            if old.is_none_or(|old| !same_needs(old, queue)) {
                self.share_names(queue);
            }
            queue.package.name = self.node(id).name.clone();
        }
        let node = self.node_mut(id);
        let name = node.name.clone();
        let old = std::mem::replace(&mut node.queue, new);
        let still_ripe = node.ripe
            && match (&old, &node.queue) {
                (Some(old), Some(new)) => old.state == new.state,
                (None, _) | (_, None) => false,
            };
        node.ripe = still_ripe;
        let private = is_private(node.queue.as_deref());
        let was_private = is_private(old.as_deref());
        self.counts.private = (self.counts.private + usize::from(private)).saturating_sub(usize::from(was_private));
        if let Some(old) = old {
            match old.state {
                State::Retrying { until } => self.due.remove(&(until, name.clone())),
                State::Published { .. } | State::Cancelled { .. } => {
                    self.settled.remove(&(old.announced_at, name.clone()))
                }
                State::Failed { .. } => self.failed.remove(&name),
                State::Queued | State::Building { .. } => false,
            };
        }
        let Some(queue) = &self.node(id).queue else { return };
        match queue.state {
            State::Retrying { until } => !still_ripe && self.due.insert((until, name)),
            State::Published { .. } | State::Cancelled { .. } => self.settled.insert((queue.announced_at, name)),
            State::Failed { .. } => self.failed.insert(name),
            State::Queued | State::Building { .. } => false,
        };
    }

    /// Lets equal names share their bytes.
    fn share_names(&self, queue: &mut Queue) {
        let package = &mut queue.package;
        for name in package.dependencies.iter_mut().chain(&mut package.build_after) {
            if let Some((known, _)) = self.ids.get_key_value(name) {
                *name = known.clone();
            }
        }
    }

    /// Lets retries whose time has come take their place.
    pub(crate) fn ripen(&mut self, now: Timestamp) {
        while let Some((until, _)) = self.due.first()
            && *until <= now
            && let Some((_, name)) = self.due.pop_first()
        {
            let id = self.intern(&name);
            self.node_mut(id).ripe = true;
            self.place(id);
        }
    }

    /// Puts a package where it belongs in `ready`, `later` and `counts`.
    pub(crate) fn place(&mut self, id: Id) {
        let node = self.node_mut(id);
        let (old_rank, old_standing) = (node.rank, node.standing);
        let (rank, standing) = (node.placed(id), node.judge());
        if rank == old_rank && standing == old_standing {
            return;
        }
        (node.rank, node.standing) = (rank, standing);
        let past = node.past;
        self.forecast.moved(past, old_standing, standing);
        if let Some(rank) = old_rank {
            self.row(old_standing).remove(&rank);
        }
        if let Some(rank) = rank {
            self.row(standing).insert(rank);
        }
        if let Some(standing) = old_standing {
            let count = self.counts.of(standing);
            *count = count.saturating_sub(1);
        }
        if let Some(standing) = standing {
            *self.counts.of(standing) += 1;
        }
    }

    fn row(&mut self, standing: Option<Standing>) -> &mut BTreeSet<Rank> {
        if standing == Some(Standing::Ready) { &mut self.ready } else { &mut self.later }
    }
}

/// Whether both wait for the same packages in the same way.
fn same_needs(old: &Queue, new: &Queue) -> bool {
    (&old.package.dependencies, &old.package.build_after) == (&new.package.dependencies, &new.package.build_after)
}

/// Whether it is among those that [`Counts::private`] counts.
pub(crate) fn is_private(queue: Option<&Queue>) -> bool {
    queue.is_some_and(|queue| matches!(queue.state, State::Published { private: true, .. }))
}
