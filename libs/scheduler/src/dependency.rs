//! Who waits for whom, and the priority that those who wait pass on.
//!
//! Edges exist only while the dependent waits. A step touches the edges of the package that changed,
//! and follows a changed priority as far as it changes others.

use packline_domain::{PackageName, record::Queue};

use crate::{
    node::{Id, NOTHING, Packages},
    order::waits,
};

impl Packages {
    /// Takes a package that waited out of the graph; its record is still the old one.
    pub(crate) fn leave(&mut self, id: Id) {
        let knot = if self.node(id).unresolvable { self.knot(id, |node| node.unresolvable) } else { Vec::new() };
        let node = self.node_mut(id);
        let needs = std::mem::take(&mut node.needs);
        let passed = std::mem::replace(&mut node.passes, NOTHING);
        node.unfinished = 0;
        node.unresolvable = false;
        for need in &needs {
            self.node_mut(*need).waiters.remove((passed, id));
        }
        for need in needs {
            self.refresh(need);
            self.release(need);
        }
        self.disentangle(knot.into_iter().filter(|member| *member != id).collect());
    }

    /// Puts a package whose record waits into the graph.
    pub(crate) fn enter(&mut self, id: Id) {
        self.connect(id);
        let needs = self.node(id).needs.clone();
        for need in needs {
            self.place(need);
        }
        if self.closes_cycle(id) {
            let knot = self.knot(id, |_| true);
            self.entangle(&knot);
        }
    }

    /// Draws the edges from a waiting package to what it needs, passing on nothing yet.
    pub(crate) fn connect(&mut self, id: Id) {
        let names: Vec<PackageName> =
            self.node(id).queue.as_ref().map(|queue| queue.package.dependencies.clone()).unwrap_or_default();
        let mut needs: Vec<Id> = names.iter().map(|name| self.intern(name)).collect();
        needs.sort_unstable();
        needs.dedup();
        let mut unfinished = 0;
        for need in &needs {
            self.node_mut(*need).waiters.insert((NOTHING, id));
            unfinished += u32::from(self.holds_back(*need));
        }
        let node = self.node_mut(id);
        node.needs = needs.into();
        node.unfinished = unfinished;
        node.passes = NOTHING;
    }

    /// Tells those that wait for a package that it holds them back from now on, or no longer.
    pub(crate) fn tell_waiters(&mut self, id: Id, holds_back: bool) {
        let waiters: Vec<Id> = self.node(id).waiters.iter().map(|(_, waiter)| *waiter).collect();
        for waiter in waiters {
            let node = self.node_mut(waiter);
            node.unfinished =
                if holds_back { node.unfinished.saturating_add(1) } else { node.unfinished.saturating_sub(1) };
            self.place(waiter);
        }
    }

    /// Places a package anew and passes its priority on as far as that changes anything.
    pub(crate) fn refresh(&mut self, id: Id) {
        let mut changed = vec![id];
        while let Some(id) = changed.pop() {
            self.place(id);
            if self.pass_on(id) {
                changed.extend_from_slice(&self.node(id).needs);
            }
        }
    }

    /// Brings the priority that a package passes on up to date; says whether it changed.
    pub(crate) fn pass_on(&mut self, id: Id) -> bool {
        let node = self.node_mut(id);
        let priority = if node.unresolvable { NOTHING } else { node.priority() };
        if node.needs.is_empty() || priority == node.passes {
            return false;
        }
        let before = std::mem::replace(&mut node.passes, priority);
        let needs = node.needs.clone();
        for need in needs {
            let waiters = &mut self.node_mut(need).waiters;
            waiters.remove((before, id));
            waiters.insert((priority, id));
        }
        true
    }

    /// Marks the members of a cycle. They pass nothing on, so that no priority feeds itself.
    fn entangle(&mut self, knot: &[Id]) {
        for id in knot {
            let node = self.node_mut(*id);
            if !std::mem::replace(&mut node.unresolvable, true) {
                let name = node.name.clone();
                self.entangled.push(name);
            }
        }
        for id in knot {
            self.refresh(*id);
        }
    }

    /// Frees those of a former cycle that are on none any more.
    fn disentangle(&mut self, members: Vec<Id>) {
        if members.is_empty() {
            return;
        }
        let mut freed = Vec::new();
        for component in self.components(&members, |node| node.unresolvable) {
            if !self.is_cycle(&component) {
                freed.extend(component);
            }
        }
        for id in &freed {
            self.node_mut(*id).unresolvable = false;
        }
        for id in freed.iter().rev() {
            self.refresh(*id);
        }
    }

    /// Fills an empty store: all edges first, then the cycles, then the priorities, each once.
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
        let mut dependencies_first = Vec::with_capacity(waiting.len());
        for component in self.components(&waiting, |_| true) {
            let unresolvable = self.is_cycle(&component);
            for id in component {
                self.node_mut(id).unresolvable = unresolvable;
                dependencies_first.push(id);
            }
        }
        for id in dependencies_first.iter().rev() {
            self.pass_on(*id);
        }
        for id in all {
            self.place(id);
        }
    }
}
