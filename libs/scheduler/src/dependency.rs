//! Who waits for whom, and the priority that those who wait pass on.
//!
//! Edges exist only while the one that waits does. A step touches the edges of the package that changed, and follows
//! a changed priority, and whether a package can end by itself, as far as that changes others.
//!
//! An edge of `buildAfter` holds back only as long as the other package can end by itself, and never within a cycle: so
//! it orders and cannot block.

use packline_domain::record::Queue;

use crate::{
    cycle::Edges,
    node::{Hold, Id, NOTHING, Need, Packages, Passes},
    order::waits,
};

impl Packages {
    /// Takes a package that waited out of the graph; its record is still the old one.
    pub(crate) fn leave(&mut self, id: Id) {
        let knots = [Edges::Dependencies, Edges::All].map(|edges| match self.node(id).on_cycle(edges) {
            true => (edges, self.knot(id, edges, |node| node.on_cycle(edges))),
            false => (edges, Vec::new()),
        });
        let node = self.node_mut(id);
        let needs = std::mem::take(&mut node.needs);
        let passed = std::mem::replace(&mut node.passes, Passes::NONE);
        node.unfinished = 0;
        node.stuck_needs = 0;
        node.unresolvable = false;
        node.circular = false;
        for need in &needs {
            self.node_mut(need.id).waiters.remove((passed.to(*need), id));
        }
        for need in needs {
            self.refresh(need.id);
            self.release(need.id);
        }
        for (edges, mut knot) in knots {
            knot.retain(|member| *member != id);
            self.disentangle(edges, &knot);
        }
    }

    /// Puts a package whose record waits into the graph.
    pub(crate) fn enter(&mut self, id: Id) {
        self.connect(id);
        self.count(id);
        let needs = self.node(id).needs.clone();
        for need in needs {
            self.place(need.id);
        }
        for edges in [Edges::All, Edges::Dependencies] {
            if !self.closes_cycle(id, edges) {
                break;
            }
            let knot = self.knot(id, edges, |_| true);
            self.entangle(edges, &knot);
        }
    }

    /// Draws the edges from a waiting package to what it waits for, passing on nothing yet.
    pub(crate) fn connect(&mut self, id: Id) {
        let Some(queue) = &self.node(id).queue else { return };
        let (dependencies, build_after) = (queue.package.dependencies.clone(), queue.package.build_after.clone());
        let named = dependencies.iter().map(|name| (name, false)).chain(build_after.iter().map(|name| (name, true)));
        let mut needs: Vec<Need> =
            named.map(|(name, is_order_only)| Need { id: self.intern(name), is_order_only }).collect();
        // A dependency that is named in both ways is one.
        needs.sort_unstable();
        needs.dedup_by_key(|need| need.id);
        needs.retain(|need| !(need.is_order_only && need.id == id));
        for need in &needs {
            self.node_mut(need.id).waiters.insert((NOTHING, id));
        }
        let node = self.node_mut(id);
        node.needs = needs.into();
        node.passes = Passes::NONE;
    }

    /// Counts what holds a package back.
    pub(crate) fn count(&mut self, id: Id) {
        let node = self.node(id);
        let (mut unfinished, mut stuck_needs) = (0, 0);
        for need in &node.needs {
            let hold = self.node(need.id).hold;
            unfinished += u32::from(hold.holds_back(*need, node.circular));
            stuck_needs += u32::from(hold.blocks(*need));
        }
        let node = self.node_mut(id);
        node.unfinished = unfinished;
        node.stuck_needs = stuck_needs;
    }

    /// Tells those that wait for a package how it stands in their way, where that has changed, and so on from them.
    pub(crate) fn settle(&mut self, id: Id) {
        let mut changed = vec![id];
        while let Some(id) = changed.pop() {
            let node = self.node_mut(id);
            let hold = node.holds();
            let before = std::mem::replace(&mut node.hold, hold);
            if hold == before {
                continue;
            }
            let waiters: Vec<Id> = self.node(id).waiters.iter().map(|(_, waiter)| *waiter).collect();
            for waiter in waiters {
                self.hear(waiter, id, before, hold);
                changed.push(waiter);
            }
        }
    }

    /// Takes into account how one that is waited for stands in the way of `waiter` now.
    fn hear(&mut self, waiter: Id, of: Id, before: Hold, now: Hold) {
        let Some(need) = self.node(waiter).need(of) else { return };
        let node = self.node_mut(waiter);
        let circular = node.circular;
        let adjust = |count: &mut u32, was: bool, is: bool| {
            *count = (*count + u32::from(is)).saturating_sub(u32::from(was));
        };
        adjust(&mut node.unfinished, before.holds_back(need, circular), now.holds_back(need, circular));
        adjust(&mut node.stuck_needs, before.blocks(need), now.blocks(need));
        self.place(waiter);
    }

    /// Updates the place of a package, and passes its priority on as far as that changes anything.
    pub(crate) fn refresh(&mut self, id: Id) {
        let mut changed = vec![id];
        while let Some(id) = changed.pop() {
            self.place(id);
            if self.pass_on(id) {
                changed.extend(self.node(id).needs.iter().map(|need| need.id));
            }
        }
    }

    /// Brings the priority that a package passes on up to date; says whether it changed.
    pub(crate) fn pass_on(&mut self, id: Id) -> bool {
        let node = self.node_mut(id);
        let priority = node.priority();
        // On a cycle it passes nothing on along it, so that no priority feeds itself.
        let passes = Passes {
            to_dependencies: if node.unresolvable { NOTHING } else { priority },
            to_order_only: if node.circular { NOTHING } else { priority },
        };
        if node.needs.is_empty() || passes == node.passes {
            return false;
        }
        let before = std::mem::replace(&mut node.passes, passes);
        let needs = node.needs.clone();
        for need in needs {
            let waiters = &mut self.node_mut(need.id).waiters;
            waiters.remove((before.to(need), id));
            waiters.insert((passes.to(need), id));
        }
        true
    }

    /// Marks the members of a cycle.
    fn entangle(&mut self, edges: Edges, knot: &[Id]) {
        for id in knot {
            let node = self.node_mut(*id);
            if !std::mem::replace(node.on_cycle_mut(edges), true) && edges == Edges::Dependencies {
                let name = node.name.clone();
                self.entangled.push(name);
            }
        }
        self.reconsider(edges, knot);
    }

    /// Frees those of a former cycle that are on none any more.
    fn disentangle(&mut self, edges: Edges, members: &[Id]) {
        if members.is_empty() {
            return;
        }
        let mut freed = Vec::new();
        for component in self.components(members, edges, |node| node.on_cycle(edges)) {
            if !self.is_cycle(&component, edges) {
                freed.extend(component);
            }
        }
        for id in &freed {
            *self.node_mut(*id).on_cycle_mut(edges) = false;
        }
        freed.reverse();
        self.reconsider(edges, &freed);
    }

    /// Follows what changes for these where they have come onto a cycle, or off it.
    fn reconsider(&mut self, edges: Edges, members: &[Id]) {
        for id in members {
            match edges {
                Edges::Dependencies => self.settle(*id),
                Edges::All => self.count(*id),
            }
        }
        for id in members {
            self.refresh(*id);
        }
    }

    /// Fills an empty store: all edges first, then the cycles, then who stands in whose way, then the priorities, each
    /// once.
    pub(crate) fn load(&mut self, records: impl IntoIterator<Item = Box<Queue>>) {
        for record in records {
            let id = self.intern(&record.package.name.clone());
            self.replace(id, Some(record));
        }
        let all: Vec<Id> = self.ids.values().copied().collect();
        let waiting: Vec<Id> =
            all.iter().copied().filter(|id| self.node(*id).queue.as_deref().is_some_and(waits)).collect();
        for id in &waiting {
            self.connect(*id);
        }
        for component in self.components(&waiting, Edges::Dependencies, |_| true) {
            let unresolvable = self.is_cycle(&component, Edges::Dependencies);
            for id in component {
                self.node_mut(id).unresolvable = unresolvable;
            }
        }
        let mut needs_first = Vec::with_capacity(waiting.len());
        for component in self.components(&waiting, Edges::All, |_| true) {
            let circular = self.is_cycle(&component, Edges::All);
            for id in component {
                self.node_mut(id).circular = circular;
                needs_first.push(id);
            }
        }
        for id in &waiting {
            self.count(*id);
        }
        for id in &all {
            self.settle(*id);
        }
        for id in needs_first.iter().rev() {
            self.pass_on(*id);
        }
        // Along its dependencies a cycle of both kinds passes priorities on in an order of its own.
        for id in needs_first.iter().rev().filter(|id| self.node(**id).circular).collect::<Vec<_>>() {
            self.refresh(*id);
        }
        for id in all {
            self.place(id);
        }
    }
}
