//! Which packages wait for which.
//!
//! A package depends on what whoever installs it cannot do without: `dependencies` and `peerDependencies` on members that
//! npm gets from the workspace; also on what its own build gets from the registry, though it is a member. It is only built
//! after what it can be built without: what is optional, what npm links into its install for its development, and what
//! installed tools lead to. The former block where they fail, and the latter never do. Where a member is not built, a
//! package waits for what that member needs.
//!
//! In a cycle some do not wait. What only orders gives way first, then peers, then as few runtime edges as a greedy order
//! finds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use packline_domain::PackageName;
use packline_workspace::{Edge as Named, EdgeKind, MemberId, Workspace};
use petgraph::{algo::kosaraju_scc, graph::DiGraph};

/// An edge between packages, by their place in the order of names.
type Edge = (usize, usize);

/// How a package waits for another one; of several ways the first counts, and in a cycle the last gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Runtime,
    Peer,
    /// For its development, from the registry.
    Development,
    /// For its development, as a link.
    Linked,
    Optional,
    OptionalPeer,
    /// Installed tools lead to it.
    ByTools,
}

impl Tier {
    const ALL: [Self; 7] =
        [Self::Runtime, Self::Peer, Self::Development, Self::Linked, Self::Optional, Self::OptionalPeer, Self::ByTools];

    fn of(edge: &Named) -> Self {
        match edge.kind() {
            EdgeKind::Runtime => Self::Runtime,
            EdgeKind::Peer => Self::Peer,
            EdgeKind::Development if edge.is_link() => Self::Linked,
            EdgeKind::Development => Self::Development,
            EdgeKind::Optional => Self::Optional,
            EdgeKind::OptionalPeer => Self::OptionalPeer,
        }
    }

    fn is_order_only(self) -> bool {
        self > Self::Development
    }

    /// How a note says it; nothing where the package does not say it itself.
    fn how(self) -> Option<&'static str> {
        match self {
            Self::Runtime => Some(""),
            Self::Peer => Some(" as a peer"),
            Self::Development | Self::Linked => Some(" for its development only"),
            Self::Optional => Some(" where it can have it"),
            Self::OptionalPeer => Some(" as an optional peer"),
            Self::ByTools => None,
        }
    }
}

/// What a package waits for, in the order of names.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    pub(super) dependencies: Vec<PackageName>,
    pub(super) build_after: Vec<PackageName>,
}

/// What each of the packages `built`, which are in the order of their names, waits for.
pub(super) fn needs(
    workspace: &Workspace,
    built: &[(MemberId, PackageName)],
    notes: &mut Vec<String>,
) -> BTreeMap<PackageName, Needs> {
    let edges = edges(workspace, built);
    let knots = knots(built.len(), edges.keys().copied());
    let mut graph = Graph { needs: vec![BTreeSet::new(); built.len()], knots };
    let mut cut = Vec::new();
    for tier in Tier::ALL {
        let of_tier = edges.iter().filter(|(_, kind)| **kind == tier).map(|(edge, _)| *edge);
        let refused = if tier == Tier::Runtime { graph.add_most(of_tier) } else { graph.add_each(of_tier) };
        cut.extend(refused.into_iter().map(|edge| (edge, tier)));
    }
    let name = |at: usize| built.get(at).map(|(_, name)| name.clone());
    for ((from, to), tier) in cut {
        if let (Some(from), Some(to), Some(how)) = (name(from), name(to), tier.how()) {
            notes.push(format!("{from} needs {to}{how}, which closes a cycle: {from} does not wait for it"));
        }
    }
    let named = graph.needs.into_iter().enumerate();
    let of = |(from, needs): (usize, BTreeSet<usize>)| {
        let mut found = Needs::default();
        for to in needs {
            let order_only = edges.get(&(from, to)).is_some_and(|tier| tier.is_order_only());
            let list = if order_only { &mut found.build_after } else { &mut found.dependencies };
            list.extend(name(to));
        }
        Some((name(from)?, found))
    };
    named.filter_map(of).collect()
}

/// All edges between packages, each with its strongest tier.
fn edges(workspace: &Workspace, built: &[(MemberId, PackageName)]) -> BTreeMap<Edge, Tier> {
    let places: HashMap<MemberId, usize> = built.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
    let by_tools = workspace.needed_by_tools();
    let mut edges = BTreeMap::new();
    for (from, (id, _)) in built.iter().enumerate() {
        // over members that are not built to packages
        let mut best: HashMap<MemberId, Tier> = HashMap::new();
        let mut open = vec![(*id, Tier::Runtime)];
        while let Some((at, so_far)) = open.pop() {
            let named = workspace.edges(at).iter().map(|edge| (edge.to(), Tier::of(edge)));
            let others = by_tools.get(&at).into_iter().flatten().map(|to| (*to, Tier::ByTools));
            for (to, tier) in named.chain(others) {
                let tier = so_far.max(tier);
                if best.get(&to).is_some_and(|known| *known <= tier) {
                    continue;
                }
                best.insert(to, tier);
                if !places.contains_key(&to) {
                    open.push((to, tier));
                }
            }
        }
        let found = best.into_iter().filter_map(|(to, tier)| Some(((from, *places.get(&to)?), tier)));
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
    /// Adds edges, but for those that close a cycle, which it answers with.
    fn add_each(&mut self, edges: impl Iterator<Item = Edge>) -> Vec<Edge> {
        let mut by_target: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, to) in edges {
            by_target.entry(to).or_default().push(from);
        }
        let mut refused = Vec::new();
        for (to, all) in by_target {
            // What a package leads to stays the same while edges to it are added.
            let in_knot = all.iter().filter(|from| self.knots.get(**from) == self.knots.get(to)).copied().collect();
            let reached = self.reached(to, in_knot);
            for from in all {
                if reached.contains(&from) { refused.push((from, to)) } else { self.add((from, to)) }
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

    /// Those of `wanted` that are `from`, or that it needs in any number of steps.
    fn reached(&self, from: usize, mut wanted: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let (mut seen, mut open) = (vec![false; self.needs.len()], vec![from]);
        while let Some(at) = open.pop().filter(|_| !wanted.is_empty()) {
            if let Some(seen) = seen.get_mut(at).filter(|seen| !**seen) {
                *seen = true;
                reached.extend(wanted.take(&at));
                open.extend(self.needs.get(at).into_iter().flatten());
            }
        }
        reached
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
