//! The order of the build queue: dependencies first, then priority.

use std::collections::BTreeMap;

use packline_domain::{Package, PackageName};

use crate::store::Entry;

/// Where a walk along the dependencies has been.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// Its dependencies are being walked.
    Entered,
    /// It has its place.
    Placed,
}

/// At most `limit` of `entries`: each after those among them that it depends on or is built after, else higher
/// priority first, then by name. Of a cycle, some dependency comes after what needs it.
pub fn dependencies_first(mut entries: Vec<Entry>, limit: usize) -> Vec<Entry> {
    entries.sort_by(|a, b| (b.package.priority, &a.package.name).cmp(&(a.package.priority, &b.package.name)));
    let place: BTreeMap<PackageName, usize> =
        entries.iter().enumerate().map(|(at, entry)| (entry.package.name.clone(), at)).collect();
    let needs: Vec<Vec<usize>> = entries.iter().map(|entry| places(entry, &place)).collect();
    let mut visits: BTreeMap<usize, Visit> = BTreeMap::new();
    let mut order = Vec::new();
    for root in 0..entries.len() {
        if order.len() >= limit {
            break;
        }
        // a stack of our own: a chain of ten thousand packages must not exhaust the thread's
        let mut stack = vec![root];
        while let Some(&at) = stack.last() {
            match visits.get(&at) {
                Some(Visit::Placed) => {
                    stack.pop();
                }
                Some(Visit::Entered) => {
                    stack.pop();
                    visits.insert(at, Visit::Placed);
                    order.push(at);
                }
                None => {
                    visits.insert(at, Visit::Entered);
                    let unseen = needs.get(at).into_iter().flatten().filter(|need| !visits.contains_key(need));
                    stack.extend(unseen.rev());
                }
            }
        }
    }
    order.truncate(limit);
    let mut slots: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| slots.get_mut(at).and_then(Option::take)).collect()
}

/// The places of an entry's dependencies and of what it is built after, the most urgent first.
fn places(entry: &Entry, place: &BTreeMap<PackageName, usize>) -> Vec<usize> {
    let Package { dependencies, build_after, .. } = &entry.package;
    let before = dependencies.iter().chain(build_after);
    let mut found: Vec<usize> = before.filter_map(|name| place.get(name).copied()).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Status;

    fn entry(name: &str, priority: i64, dependencies: &[&str]) -> Entry {
        let mut package = Package::named(name.parse().unwrap());
        package.priority = priority;
        package.dependencies = dependencies.iter().map(|name| name.parse().unwrap()).collect();
        Entry { package, status: Status::Ready, metadata: None, changed_at: None }
    }

    fn ordered(entries: Vec<Entry>, limit: usize) -> Vec<String> {
        dependencies_first(entries, limit).iter().map(|entry| entry.package.name.to_string()).collect()
    }

    #[test]
    fn higher_priority_comes_first() {
        assert_eq!(ordered(vec![entry("a", 1, &[]), entry("b", 2, &[]), entry("c", 2, &[])], 9), ["b", "c", "a"]);
    }

    #[test]
    fn a_dependency_comes_before_what_needs_it_whatever_their_priorities() {
        let entries =
            vec![entry("app", 9, &["mid"]), entry("mid", 0, &["base"]), entry("base", 0, &[]), entry("x", 5, &[])];
        assert_eq!(ordered(entries, 9), ["base", "mid", "app", "x"]);
    }

    #[test]
    fn a_cycle_neither_hangs_nor_hides_what_depends_on_it() {
        let entries = vec![
            entry("app", 9, &["a"]),
            entry("a", 0, &["b"]),
            entry("b", 0, &["a", "base"]),
            entry("base", 0, &[]),
            entry("self", 1, &["self"]),
        ];
        let order = ordered(entries, 9);
        let at = |name: &str| order.iter().position(|other| other == name).unwrap();
        assert_eq!(order.len(), 5);
        assert!(at("base") < at("b") && at("a") < at("app") && at("b") < at("app"), "{order:?}");
    }

    #[test]
    fn a_limit_cuts_the_end_and_keeps_dependencies_first() {
        let entries = vec![entry("app", 9, &["base"]), entry("base", 0, &[]), entry("x", 5, &[])];
        assert_eq!(ordered(entries.clone(), 1), ["base"]);
        assert_eq!(ordered(entries, 2), ["base", "app"]);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_is_ordered() {
        let chain = (0..100_000).map(|n| entry(&format!("p{n}"), 0, &[&format!("p{}", n + 1)])).collect();
        let order = ordered(chain, usize::MAX);
        assert_eq!((order.len(), order[0].as_str()), (100_000, "p99999"));
    }
}
