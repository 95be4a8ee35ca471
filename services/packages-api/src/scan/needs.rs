//! Which packages wait for which.
//!
//! A package waits for what its own build and whoever installs it cannot do without: `dependencies`,
//! `peerDependencies` and `devDependencies` on members that npm gets from the workspace. It waits for nothing optional:
//! a dependency that fails blocks, and an optional one must not. Where a member is not built, a package waits for what
//! that member needs.
//!
//! In a cycle some do not wait. Development edges give way first, then peers, then as few runtime edges as a greedy
//! order finds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use packline_domain::PackageName;
use packline_workspace::{EdgeKind, MemberId, Workspace};
use petgraph::{algo::kosaraju_scc, graph::DiGraph};

/// An edge between packages, by their place in the order of names.
type Edge = (usize, usize);

/// What each of the packages `built`, which are in the order of their names, waits for.
pub(super) fn needs(
    workspace: &Workspace,
    built: &[(MemberId, PackageName)],
    notes: &mut Vec<String>,
) -> BTreeMap<PackageName, Vec<PackageName>> {
    let edges = edges(workspace, built);
    let knots = knots(built.len(), edges.keys().copied());
    let mut graph = Graph { needs: vec![BTreeSet::new(); built.len()], knots };
    let mut cut = Vec::new();
    for tier in [EdgeKind::Runtime, EdgeKind::Peer, EdgeKind::Development] {
        let of_tier = edges.iter().filter(|(_, kind)| **kind == tier).map(|(edge, _)| *edge);
        let refused = if tier == EdgeKind::Runtime { graph.add_most(of_tier) } else { graph.add_each(of_tier) };
        cut.extend(refused.into_iter().map(|edge| (edge, tier)));
    }
    let name = |at: usize| built.get(at).map(|(_, name)| name.clone());
    for ((from, to), kind) in cut {
        if let (Some(from), Some(to)) = (name(from), name(to)) {
            let how = match kind {
                EdgeKind::Development => " for its development only",
                EdgeKind::Peer => " as a peer",
                EdgeKind::Runtime | EdgeKind::Optional | EdgeKind::OptionalPeer => "",
            };
            notes.push(format!("{from} needs {to}{how}, which closes a cycle: {from} does not wait for it"));
        }
    }
    let named = graph.needs.into_iter().enumerate();
    named.filter_map(|(at, needs)| Some((name(at)?, needs.into_iter().filter_map(name).collect()))).collect()
}

/// All edges between packages that block, with the strongest kind of each.
fn edges(workspace: &Workspace, built: &[(MemberId, PackageName)]) -> BTreeMap<Edge, EdgeKind> {
    let places: HashMap<MemberId, usize> = built.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
    let mut edges = BTreeMap::new();
    for (from, (id, _)) in built.iter().enumerate() {
        // over members that are not built to packages
        let mut best: HashMap<MemberId, EdgeKind> = HashMap::new();
        let mut open = vec![(*id, EdgeKind::Runtime)];
        while let Some((at, so_far)) = open.pop() {
            for edge in workspace.edges(at).iter().filter(|edge| !edge.kind().is_optional()) {
                let kind = so_far.max(edge.kind());
                if best.get(&edge.to()).is_some_and(|known| *known <= kind) {
                    continue;
                }
                best.insert(edge.to(), kind);
                if !places.contains_key(&edge.to()) {
                    open.push((edge.to(), kind));
                }
            }
        }
        let found = best.into_iter().filter_map(|(to, kind)| Some(((from, *places.get(&to)?), kind)));
        edges.extend(found.filter(|((from, to), _)| from != to));
    }
    edges
}

/// For each package which knot it is in: packages that lead to each other are in one.
fn knots(count: usize, edges: impl Iterator<Item = Edge>) -> Vec<usize> {
    let mut graph = DiGraph::<(), (), usize>::with_capacity(count, 0);
    let nodes: Vec<_> = (0..count).map(|_| graph.add_node(())).collect();
    for (from, to) in edges {
        if let (Some(from), Some(to)) = (nodes.get(from), nodes.get(to)) {
            graph.add_edge(*from, *to, ());
        }
    }
    let mut knots = vec![0; count];
    for (number, knot) in kosaraju_scc(&graph).into_iter().enumerate() {
        for node in knot {
            if let Some(place) = knots.get_mut(node.index()) {
                *place = number;
            }
        }
    }
    knots
}

/// A graph that stays without cycles.
struct Graph {
    needs: Vec<BTreeSet<usize>>,
    knots: Vec<usize>,
}

impl Graph {
    /// Adds edges one after the other, but for those that close a cycle, which it answers with.
    fn add_each(&mut self, edges: impl Iterator<Item = Edge>) -> Vec<Edge> {
        let mut refused = Vec::new();
        for (from, to) in edges {
            if self.knots.get(from) == self.knots.get(to) && self.leads_to(to, from) {
                refused.push((from, to));
            } else {
                self.add((from, to));
            }
        }
        refused
    }

    /// Adds edges to a graph that has none, but for a few that close cycles.
    fn add_most(&mut self, edges: impl Iterator<Item = Edge>) -> Vec<Edge> {
        let edges: Vec<Edge> = edges.collect();
        // with these edges alone there may be fewer or smaller ones
        let knots = knots(self.needs.len(), edges.iter().copied());
        let mut within: BTreeMap<usize, Vec<Edge>> = BTreeMap::new();
        for edge in &edges {
            match (knots.get(edge.0), knots.get(edge.1)) {
                (Some(from), Some(to)) if from == to => within.entry(*from).or_default().push(*edge),
                _ => self.add(*edge),
            }
        }
        let mut refused = Vec::new();
        for edges in within.into_values() {
            let order = order(&edges);
            for edge in edges {
                if order.get(&edge.1) < order.get(&edge.0) { self.add(edge) } else { refused.push(edge) }
            }
        }
        refused
    }

    fn add(&mut self, (from, to): Edge) {
        if let Some(needs) = self.needs.get_mut(from) {
            needs.insert(to);
        }
    }

    /// Whether `from` is `to`, or needs it in any number of steps.
    fn leads_to(&self, from: usize, to: usize) -> bool {
        let (mut seen, mut open) = (vec![false; self.needs.len()], vec![from]);
        while let Some(at) = open.pop() {
            if at == to {
                return true;
            }
            if let Some(seen) = seen.get_mut(at).filter(|seen| !**seen) {
                *seen = true;
                open.extend(self.needs.get(at).into_iter().flatten());
            }
        }
        false
    }
}

/// Places of the packages in a knot such that few need one that comes later: whoever needs nothing that is left comes
/// next, else the one with the most dependents for each need (Eades, Lin and Smyth).
fn order(edges: &[Edge]) -> BTreeMap<usize, usize> {
    let (mut needs, mut dependents) =
        (BTreeMap::<usize, BTreeSet<usize>>::new(), BTreeMap::<usize, BTreeSet<usize>>::new());
    for (from, to) in edges {
        needs.entry(*from).or_default().insert(*to);
        dependents.entry(*to).or_default().insert(*from);
    }
    let mut order = BTreeMap::new();
    let mut ready: BTreeSet<usize> = BTreeSet::new();
    while !needs.is_empty() {
        let count = |at: &usize| dependents.get(at).map_or(0, BTreeSet::len);
        let next = ready.pop_first().filter(|at| needs.contains_key(at));
        let best = || needs.iter().rev().max_by_key(|(at, needs)| count(at) as i64 - needs.len() as i64);
        let Some(next) = next.or_else(|| best().map(|(at, _)| *at)) else { break };
        order.insert(next, order.len());
        for need in needs.remove(&next).into_iter().flatten() {
            if let Some(dependents) = dependents.get_mut(&need) {
                dependents.remove(&next);
            }
        }
        for dependent in dependents.remove(&next).into_iter().flatten() {
            if let Some(needs) = needs.get_mut(&dependent) {
                needs.remove(&next);
                if needs.is_empty() {
                    ready.insert(dependent);
                }
            }
        }
    }
    order
}
