//! Questions about the state; none changes it.

use std::collections::BTreeMap;

use packline_domain::{
    PackageName, Timestamp,
    record::{Control, Intention, Permit, Queue, Retries},
};

use crate::{Counts, Scheduler, Standing, order::Rank};

/// One package that holds another one back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited<'a> {
    /// Which.
    pub name: &'a PackageName,
    /// Where it stands.
    pub standing: Standing,
    /// It only comes first, and need not be published.
    pub is_order_only: bool,
}

impl Scheduler {
    /// The mode, the limit, the last command.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What is being worked off, if anything is.
    pub fn intention(&self) -> Option<&Intention> {
        self.intention.as_ref()
    }

    /// The highest serial that a build has had.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// How many packages stand where.
    pub fn counts(&self) -> Counts {
        self.packages.counts
    }

    /// All permits that stand, by number.
    pub fn permits(&self) -> impl ExactSizeIterator<Item = (u32, &Permit)> {
        self.permits.held.iter().map(|(number, permit)| (*number, &**permit))
    }

    /// One permit.
    pub fn permit(&self, number: u32) -> Option<&Permit> {
        self.permits.held.get(&number).map(|permit| &**permit)
    }

    /// Permits that no worker has taken yet.
    pub fn untaken(&self) -> impl ExactSizeIterator<Item = u32> {
        self.permits.untaken.iter().copied()
    }

    /// The permits that a worker has taken.
    pub fn held_by(&self, worker: &str) -> impl Iterator<Item = u32> {
        self.permits.taken.get(worker).into_iter().flatten().copied()
    }

    /// How many more builds could be started under the limit and in the free slots of live workers.
    pub fn room(&self) -> usize {
        self.permits.room(self.control.max_concurrent)
    }

    /// Slots of live workers in which nothing is built.
    pub fn free_slots(&self) -> u64 {
        self.permits.free_slots
    }

    /// Whether builds are started in this mode.
    pub fn is_running(&self) -> bool {
        self.starts_now()
    }

    /// Live workers, each with its slots.
    pub fn workers(&self) -> &BTreeMap<String, u32> {
        &self.permits.live
    }

    /// Slots of all live workers.
    pub fn slots(&self) -> u64 {
        self.workers().values().copied().map(u64::from).sum()
    }

    /// A package and its state.
    pub fn package(&self, name: &PackageName) -> Option<&Queue> {
        self.packages.find(name)?.queue.as_deref()
    }

    /// What the attempts of a package have used up, and the last ten of them.
    pub fn retries(&self, name: &PackageName) -> Option<&Retries> {
        self.packages.find(name)?.retries.as_deref()
    }

    /// Where a package stands, seen together with all others; none when the queue does not know it.
    pub fn standing(&self, name: &PackageName) -> Option<Standing> {
        self.packages.find(name)?.standing
    }

    /// The priority that counts: its own or the highest of those that wait for it.
    pub fn priority(&self, name: &PackageName) -> Option<i64> {
        let node = self.packages.find(name)?;
        node.queue.as_ref()?;
        Some(node.priority())
    }

    /// What holds a package back while it waits: its dependencies, then what only comes first, each as announced.
    pub fn waits_for(&self, name: &PackageName) -> impl Iterator<Item = Awaited<'_>> {
        let waiting = self.packages.find(name).and_then(|node| Some((node, &node.queue.as_ref()?.package)));
        waiting.into_iter().flat_map(|(node, package)| {
            let dependencies = package.dependencies.iter().map(|name| (name, false));
            let named = dependencies.chain(package.build_after.iter().map(|name| (name, true)));
            named.filter_map(|(name, is_order_only)| {
                let id = *self.packages.ids.get(name)?;
                // A name that stands in both lists is a dependency.
                let need = node.need(id).filter(|need| need.is_order_only == is_order_only)?;
                let on = self.packages.node(id);
                on.hold.holds_back(need, node.circular).then_some(())?;
                Some(Awaited { name, standing: on.standing?, is_order_only: need.is_order_only })
            })
        })
    }

    /// The packages that wait directly for this one.
    pub fn waiters(&self, name: &PackageName) -> impl Iterator<Item = &PackageName> {
        let waiters = self.packages.find(name).into_iter().flat_map(|node| node.waiters.iter().rev());
        waiters.map(|(_, waiter)| &self.packages.node(*waiter).name)
    }

    /// A shortest cycle that holds this package: each depends on the next, the last on the first. Empty
    /// unless it is unresolvable.
    pub fn cycle(&self, name: &PackageName) -> Vec<PackageName> {
        self.packages.way_round(name, usize::MAX)
    }

    /// All that wait, in the order in which they will be built as far as can be told: those that are ready
    /// first. `after` names the package after which to go on; one that waits no longer starts anew.
    pub fn upcoming(&self, after: Option<&PackageName>) -> impl Iterator<Item = &Queue> {
        use std::ops::Bound::{Excluded, Unbounded};
        let node = after.and_then(|name| self.packages.find(name));
        let (ready, later): ((_, _), (_, _)) = match node.and_then(|node| Some((node.rank?, node.standing?))) {
            Some((rank, Standing::Ready)) => ((Excluded(rank), Unbounded), (Unbounded, Unbounded)),
            Some((rank, _)) => ((Excluded(Rank::LAST), Unbounded), (Excluded(rank), Unbounded)),
            None => ((Unbounded, Unbounded), (Unbounded, Unbounded)),
        };
        let ranks = self.packages.ready.range(ready).chain(self.packages.later.range(later));
        ranks.filter_map(|rank| self.packages.node(rank.id).queue.as_deref())
    }

    /// All that stand so, without a look at those that do not where there is an index: what waits in the order of
    /// building, all others in the order of names. `after` as in [`Self::upcoming`].
    pub fn standing_so<'a>(
        &'a self,
        standing: Standing,
        after: Option<&'a PackageName>,
    ) -> Box<dyn Iterator<Item = &'a Queue> + 'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let packages = &self.packages;
        let begin = after.map_or(Unbounded, Excluded);
        match standing {
            Standing::Ready => {
                let ready = |queue: &&'a Queue| self.standing(&queue.package.name) == Some(Standing::Ready);
                Box::new(self.upcoming(after).take_while(ready))
            }
            Standing::Blocked | Standing::Unresolvable | Standing::Retrying => {
                let rank = after.and_then(|name| packages.find(name)).filter(|node| node.standing == Some(standing));
                let begin = rank.and_then(|node| node.rank).map_or(Unbounded, Excluded);
                let nodes = packages.later.range((begin, Unbounded)).map(|rank| packages.node(rank.id));
                let those = nodes.filter(move |node| node.standing == Some(standing));
                Box::new(those.filter_map(|node| node.queue.as_deref()))
            }
            Standing::Failed => {
                let failed = packages.failed.range::<PackageName, _>((begin, Unbounded));
                Box::new(failed.filter_map(|name| self.package(name)))
            }
            Standing::Building | Standing::Published | Standing::Cancelled => {
                let names = packages.ids.range::<PackageName, _>((begin, Unbounded));
                let nodes = names.map(|(_, id)| packages.node(*id));
                let those = nodes.filter(move |node| node.standing == Some(standing));
                Box::new(those.filter_map(|node| node.queue.as_deref()))
            }
        }
    }

    /// How many are ready and come before this one.
    pub fn ahead_of(&self, name: &PackageName) -> usize {
        let rank = self.packages.find(name).and_then(|node| node.rank);
        rank.map_or(0, |rank| self.packages.ready.range(..rank).count())
    }

    /// All packages of the queue in the order of names, whatever their state.
    pub fn packages(&self) -> impl Iterator<Item = &Queue> {
        self.packages.ids.values().filter_map(|id| self.packages.node(*id).queue.as_deref())
    }

    /// Packages that wait for the time of their next attempt, soonest first.
    pub fn retrying(&self) -> impl Iterator<Item = (&PackageName, Timestamp)> {
        self.packages.due.iter().map(|(until, name)| (name, *until))
    }
}
