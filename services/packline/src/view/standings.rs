//! Where all packages of a board stand, each looked at once: it is asked with every redraw.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use packline_domain::{PackageName, record::State};
use petgraph::{
    algo::kosaraju_scc,
    graph::{DiGraph, NodeIndex},
};

use super::{board::Board, standing::Standing};

/// So many names of a cycle are shown.
const SHOWN: usize = 8;

/// Where every package that the queue knows stands, by name.
pub(crate) struct Standings<'a>(BTreeMap<&'a str, Standing>);

/// From each package that waits to those that it waits for and that wait themselves.
type Waits<'a> = DiGraph<&'a PackageName, ()>;

impl<'a> Standings<'a> {
    /// As the records and the dependencies of all say.
    pub(crate) fn of(board: &'a Board) -> Self {
        let mut standings = Self(BTreeMap::new());
        let (mut waits, mut nodes) = (Waits::new(), BTreeMap::new());
        for (name, record) in &board.queue {
            let standing = match &record.state {
                State::Queued => {
                    nodes.insert(name, waits.add_node(name));
                    continue;
                }
                State::Building { .. } => Standing::Building,
                State::Retrying { .. } => Standing::Retrying,
                State::Published { version, private } => {
                    Standing::Published { version: version.clone(), private: *private }
                }
                State::Failed { error, failed_phase } => {
                    Standing::Failed { error: error.clone(), phase: failed_phase.clone() }
                }
                State::Cancelled { .. } => Standing::Cancelled,
            };
            standings.0.insert(name.as_str(), standing);
        }
        for (name, node) in &nodes {
            for needed in board.dependencies(name).iter().filter_map(|dependency| nodes.get(dependency)) {
                waits.add_edge(*node, *needed, ());
            }
        }
        // Dependencies come before those that need them.
        for knot in kosaraju_scc(&waits) {
            match knot.as_slice() {
                [alone] if !waits.contains_edge(*alone, *alone) => {
                    if let Some(name) = waits.node_weight(*alone) {
                        let standing = standings.waiting(board.dependencies(name));
                        standings.0.insert(name.as_str(), standing);
                    }
                }
                _ => standings.unresolvable(&waits, &knot),
            }
        }
        standings
    }

    /// Where a package stands; `None` when the queue does not know it.
    pub(crate) fn get(&self, name: &str) -> Option<&Standing> {
        self.0.get(name)
    }

    /// What keeps a blocked package from being built in the end, with where that stands: one that is not blocked itself.
    pub(crate) fn blocker<'s>(&'s self, name: &'s str) -> Option<(&'s str, &'s Standing)> {
        let (mut blocker, mut left) = (None, self.0.len());
        let mut standing = self.get(name)?;
        while let Standing::Blocked { on, .. } = standing {
            // What blocks is final, so that no package comes twice.
            left = left.checked_sub(1)?;
            standing = self.get(on.as_str())?;
            blocker = Some((on.as_str(), standing));
        }
        blocker
    }

    /// All of them, in the order of the names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Standing)> {
        self.0.iter().map(|(name, standing)| (*name, standing))
    }

    /// Where one stands that waits for nothing but these.
    fn waiting(&self, dependencies: &[PackageName]) -> Standing {
        let mut first = None;
        for dependency in dependencies {
            match self.get(dependency.as_str()) {
                None | Some(Standing::Published { .. }) => {}
                Some(standing) if standing.is_final() => {
                    return Standing::Blocked { on: dependency.clone(), which_is: standing.word() };
                }
                Some(_) => first = first.or(Some(dependency)),
            }
        }
        first.map_or(Standing::Queued, |on| Standing::Waiting { on: on.clone() })
    }

    /// Those that are on the cycle shown see it from where they are.
    fn unresolvable(&mut self, waits: &Waits<'a>, knot: &[NodeIndex]) {
        let name = |node: &NodeIndex| waits.node_weight(*node).copied();
        let cycle: Vec<&PackageName> = cycle(waits, knot).iter().filter_map(name).collect();
        let from = |start: usize| Standing::Unresolvable {
            cycle: cycle.iter().skip(start).chain(&cycle).take(cycle.len().min(SHOWN)).copied().cloned().collect(),
            length: cycle.len(),
        };
        self.0.extend(knot.iter().filter_map(name).map(|name| (name.as_str(), from(0))));
        self.0.extend(cycle.iter().enumerate().map(|(start, name)| (name.as_str(), from(start))));
    }
}

/// A shortest way from the first of a knot, in the order of names, back to itself.
fn cycle(waits: &Waits<'_>, knot: &[NodeIndex]) -> Vec<NodeIndex> {
    let within: BTreeSet<NodeIndex> = knot.iter().copied().collect();
    let Some(start) = within.first().copied() else { return Vec::new() };
    let mut came_from: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(node) = open.pop_front() {
        for next in waits.neighbors(node).filter(|next| within.contains(next)) {
            if next == start {
                let mut way = vec![node];
                while let Some(before) = way.last().filter(|last| **last != start).and_then(|last| came_from.get(last))
                {
                    way.push(*before);
                }
                way.reverse();
                return way;
            }
            if let std::collections::btree_map::Entry::Vacant(vacant) = came_from.entry(next) {
                vacant.insert(node);
                open.push_back(next);
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use packline_domain::Timestamp;
    use serde_json::json;

    /// All of them queued.
    fn board(packages: impl IntoIterator<Item = (String, Vec<String>)>) -> Board {
        let mut board = Board::default();
        let time = Timestamp::from_millis(0).to_string();
        for (name, dependencies) in packages {
            let record = json!({ "package": { "name": name, "dependencies": dependencies }, "arrival": 1, "commit": 1,
                "queuedAt": time, "announcedAt": time, "state": "queued" });
            board.note(&format!("queue.{name}"), Some(record.to_string().as_bytes())).unwrap();
        }
        board
    }

    fn name(n: usize) -> String {
        format!("p{n:05}")
    }

    #[test]
    fn three_hundred_packages_that_each_need_all_earlier_ones_are_looked_at_once_each() {
        let board = board((0..300).map(|n| (name(n), (0..n).map(name).collect())));
        let standings = Standings::of(&board);
        assert_eq!(standings.get("p00000"), Some(&Standing::Queued));
        assert_eq!(standings.get("p00299"), Some(&Standing::Waiting { on: name(0).parse().unwrap() }));
        assert_eq!(standings.iter().count(), 300);
    }

    #[test]
    fn neither_a_chain_nor_a_ring_of_ten_thousand_is_too_deep() {
        const LAST: usize = 9_999;
        let chain = |first: Vec<String>| {
            board((0..=LAST).map(|n| (name(n), if n == 0 { first.clone() } else { vec![name(n - 1)] })))
        };
        let open = chain(Vec::new());
        let waits = Standing::Waiting { on: name(LAST - 1).parse().unwrap() };
        assert_eq!(Standings::of(&open).get(&name(LAST)), Some(&waits));
        let ring = chain(vec![name(LAST)]);
        let standings = Standings::of(&ring);
        assert!(standings.iter().all(|(_, standing)| standing.word() == "unresolvable"));
        let shown = standings.get("p00001").unwrap().to_string();
        assert!(shown.starts_with("cycle: p00001 → p00000 → p09999 → "), "{shown}");
        assert!(shown.ends_with(" → p09994 → … → p00001"), "{shown}");
    }

    #[test]
    fn between_two_cycles_a_package_is_blocked_and_on_none() {
        let needs =
            [("a", vec!["b"]), ("b", vec!["a", "between"]), ("between", vec!["x"]), ("x", vec!["y"]), ("y", vec!["x"])];
        let board = board(needs.map(|(name, needs)| (name.to_owned(), needs.into_iter().map(str::to_owned).collect())));
        let standings = Standings::of(&board);
        let shown = |name: &str| standings.get(name).unwrap().to_string();
        assert_eq!(shown("between"), "needs x, which is unresolvable");
        assert_eq!((shown("b"), shown("y")), ("cycle: b → a → b".into(), "cycle: y → x → y".into()));
    }
}
