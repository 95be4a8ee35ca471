//! Cycles among packages that wait.
//!
//! A cycle can only appear where an edge was drawn and only vanish where one was taken away, so every
//! search begins at the package that changed.

use std::collections::{BTreeMap, BTreeSet};

use packline_domain::PackageName;

use crate::node::{Id, Need, Node, Packages};

/// Which edges are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edges {
    /// Those to dependencies.
    Dependencies,
    /// These, and those that only order.
    All,
}

impl Edges {
    fn has(self, need: Need) -> bool {
        self == Self::All || !need.is_order_only
    }
}

impl Node {
    /// Whether it is on a cycle of these edges.
    pub(crate) fn on_cycle(&self, edges: Edges) -> bool {
        match edges {
            Edges::Dependencies => self.unresolvable,
            Edges::All => self.circular,
        }
    }

    pub(crate) fn on_cycle_mut(&mut self, edges: Edges) -> &mut bool {
        match edges {
            Edges::Dependencies => &mut self.unresolvable,
            Edges::All => &mut self.circular,
        }
    }

    /// How it waits for another one.
    pub(crate) fn need(&self, of: Id) -> Option<Need> {
        let at = self.needs.binary_search_by_key(&of, |need| need.id).ok()?;
        self.needs.get(at).copied()
    }
}

/// A depth-first walk that stops after every edge.
struct Walk<I> {
    seen: BTreeSet<Id>,
    open: Vec<I>,
}

impl<I: Iterator<Item = Id>> Walk<I> {
    fn from(start: Id, edges: I) -> Self {
        Self { seen: BTreeSet::from([start]), open: vec![edges] }
    }

    fn edge(&mut self) -> Option<Id> {
        while let Some(edges) = self.open.last_mut() {
            if let Some(next) = edges.next() {
                return Some(next);
            }
            self.open.pop();
        }
        None
    }
}

impl Packages {
    fn ahead(&self, id: Id, edges: Edges) -> impl Iterator<Item = Id> {
        self.node(id).needs.iter().filter(move |need| edges.has(**need)).map(|need| need.id)
    }

    fn behind(&self, id: Id, edges: Edges) -> impl Iterator<Item = Id> {
        let waiters = self.node(id).waiters.iter().map(|(_, waiter)| *waiter);
        waiters.filter(move |waiter| self.node(*waiter).need(id).is_some_and(|need| edges.has(need)))
    }

    /// Whether a path leads from `id` back to it. Walks both ways by turns and ends when either way
    /// does, so it costs no more than twice the smaller side.
    pub(crate) fn closes_cycle(&self, id: Id, edges: Edges) -> bool {
        let mut ahead = Walk::from(id, self.ahead(id, edges));
        let mut behind = Walk::from(id, self.behind(id, edges));
        loop {
            let Some(next) = ahead.edge() else { return false };
            if behind.seen.contains(&next) {
                return true;
            }
            if ahead.seen.insert(next) {
                ahead.open.push(self.ahead(next, edges));
            }
            let Some(next) = behind.edge() else { return false };
            if ahead.seen.contains(&next) {
                return true;
            }
            if behind.seen.insert(next) {
                behind.open.push(self.behind(next, edges));
            }
        }
    }

    /// All that are on a cycle with `id`, itself among them, walking over those that `within` admits.
    pub(crate) fn knot(&self, id: Id, edges: Edges, within: impl Fn(&Node) -> bool) -> Vec<Id> {
        let mut ahead = Walk::from(id, self.ahead(id, edges));
        while let Some(next) = ahead.edge() {
            if within(self.node(next)) && ahead.seen.insert(next) {
                ahead.open.push(self.ahead(next, edges));
            }
        }
        let mut behind = Walk::from(id, self.behind(id, edges));
        while let Some(next) = behind.edge() {
            if ahead.seen.contains(&next) && behind.seen.insert(next) {
                behind.open.push(self.behind(next, edges));
            }
        }
        behind.seen.into_iter().collect()
    }

    /// Whether a component is a cycle: several packages, or one that needs itself.
    pub(crate) fn is_cycle(&self, component: &[Id], edges: Edges) -> bool {
        component.len() > 1 || component.iter().any(|id| self.ahead(*id, edges).any(|need| need == *id))
    }

    /// The strongly connected components of `members` that `within` admits, dependencies first
    /// (Tarjan's, without recursion).
    pub(crate) fn components(&self, members: &[Id], edges: Edges, within: impl Fn(&Node) -> bool) -> Vec<Vec<Id>> {
        let members_set: BTreeSet<Id> = members.iter().copied().filter(|id| within(self.node(*id))).collect();
        // By id: when it was met, and the earliest that it reaches; `None` once its component is complete.
        let mut met: BTreeMap<Id, Option<(usize, usize)>> = BTreeMap::new();
        let mut unfinished: Vec<Id> = Vec::new();
        let mut components = Vec::new();
        for start in &members_set {
            if met.contains_key(start) {
                continue;
            }
            let mut path = vec![(*start, self.ahead(*start, edges))];
            met.insert(*start, Some((met.len(), met.len())));
            unfinished.push(*start);
            while let Some((id, next_edges)) = path.last_mut() {
                let id = *id;
                if let Some(next) = next_edges.find(|next| members_set.contains(next)) {
                    match met.get(&next).copied() {
                        None => {
                            met.insert(next, Some((met.len(), met.len())));
                            unfinished.push(next);
                            path.push((next, self.ahead(next, edges)));
                        }
                        Some(Some((index, _))) => lower(&mut met, id, index),
                        Some(None) => {}
                    }
                    continue;
                }
                path.pop();
                let Some(Some((index, low))) = met.get(&id).copied() else { continue };
                if let Some((parent, _)) = path.last() {
                    lower(&mut met, *parent, low);
                }
                if index == low {
                    let begin = unfinished.iter().rposition(|member| *member == id).unwrap_or(0);
                    let component = unfinished.split_off(begin);
                    for member in &component {
                        met.insert(*member, None);
                    }
                    components.push(component);
                }
            }
        }
        components
    }

    /// A shortest way from an unresolvable package back to itself, without its end; empty where more than
    /// `most` packages had to be looked at.
    pub(crate) fn way_round(&self, name: &PackageName, most: usize) -> Vec<PackageName> {
        let Some(start) = self.ids.get(name).copied().filter(|id| self.node(*id).unresolvable) else {
            return Vec::new();
        };
        let mut from: BTreeMap<Id, Id> = BTreeMap::new();
        let mut layer = vec![start];
        while !layer.is_empty() && from.len() <= most {
            let mut next_layer = Vec::new();
            for id in layer {
                for next in self.ahead(id, Edges::Dependencies) {
                    if next == start {
                        let mut way = vec![self.node(id).name.clone()];
                        let mut at = id;
                        while at != start
                            && let Some(before) = from.get(&at)
                        {
                            at = *before;
                            way.push(self.node(at).name.clone());
                        }
                        way.reverse();
                        return way;
                    }
                    if self.node(next).unresolvable && !from.contains_key(&next) {
                        from.insert(next, id);
                        next_layer.push(next);
                    }
                }
            }
            layer = next_layer;
        }
        Vec::new()
    }
}

fn lower(met: &mut BTreeMap<Id, Option<(usize, usize)>>, id: Id, index: usize) {
    if let Some(Some((_, low))) = met.get_mut(&id) {
        *low = (*low).min(index);
    }
}
