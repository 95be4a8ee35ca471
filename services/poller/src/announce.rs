//! From the catalogue's answer to announcements on `packages.new`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use packline_domain::{MAX_PAYLOAD, Package, PackageName, Refused, SCHEMA, Timestamp, message::PollAnnouncement};
use serde_json::Value;

/// Room for all but the packages in an announcement, in bytes.
const ENVELOPE: usize = 512;

/// What one answer of the catalogue becomes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announced {
    /// Messages for `packages.new`, to be published in this order; none for an empty answer.
    pub messages: Vec<PollAnnouncement>,
    /// Packages whose report waits or was refused: the catalogue does not know their outcome.
    pub left_out: Vec<PackageName>,
    /// Items that are no package.
    pub refused: Vec<Refused>,
}

/// When the catalogue was asked, and what it knew then.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// When.
    pub at: Timestamp,
    /// The last commit whose outcomes were all on `packages.status` before.
    pub reported_through: u64,
    /// Packages whose report it had not accepted.
    pub unreported: &'a BTreeSet<PackageName>,
}

/// Announces the packages of an answer, dependencies first, in as few messages as they fit into.
pub fn announce(items: &[Value], asked: Asked<'_>) -> Announced {
    let mut announced = Announced::default();
    let mut packages = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let bytes = item.to_string().len();
        let parsed = if bytes + ENVELOPE > MAX_PAYLOAD {
            Err(format!("{bytes} bytes; a package fits into a message of {MAX_PAYLOAD}"))
        } else {
            Package::parse(item)
        };
        match parsed {
            Err(reason) => announced.refused.push(Refused { payload: item.to_string().into_bytes(), reason, index }),
            Ok(package) if asked.unreported.contains(&package.name) => announced.left_out.push(package.name),
            Ok(package) => packages.push(package),
        }
    }
    let mut room = 0;
    for package in dependencies_first(packages) {
        let bytes = serde_json::to_vec(&package).map_or(MAX_PAYLOAD, |json| json.len() + 1);
        match announced.messages.last_mut() {
            Some(message) if bytes <= room => message.packages.push(package),
            _ => {
                room = MAX_PAYLOAD - ENVELOPE;
                announced.messages.push(PollAnnouncement {
                    schema: SCHEMA,
                    polled_at: asked.at,
                    reported_through: asked.reported_through,
                    packages: vec![package],
                });
            }
        }
        room = room.saturating_sub(bytes);
    }
    announced
}

/// The same packages, each after those among them that it depends on or is built after, else in the order given.
/// Of a cycle, some dependency comes after what needs it.
fn dependencies_first(packages: Vec<Package>) -> Vec<Package> {
    let places: BTreeMap<&PackageName, usize> =
        packages.iter().enumerate().map(|(at, package)| (&package.name, at)).collect();
    let needs: Vec<Vec<usize>> = packages
        .iter()
        .map(|package| {
            let before = package.dependencies.iter().chain(&package.build_after);
            before.filter_map(|name| places.get(name).copied()).collect()
        })
        .collect();
    let (mut entered, mut placed) = (vec![false; packages.len()], vec![false; packages.len()]);
    let mut order = Vec::with_capacity(packages.len());
    for root in 0..packages.len() {
        // a stack of our own: a chain of ten thousand packages must not exhaust the thread's
        let mut stack = vec![root];
        while let Some(&at) = stack.last() {
            let (Some(entered_here), Some(placed_here)) = (entered.get(at).copied(), placed.get_mut(at)) else { break };
            if entered_here {
                stack.pop();
                if !std::mem::replace(placed_here, true) {
                    order.push(at);
                }
                continue;
            }
            if let Some(mark) = entered.get_mut(at) {
                *mark = true;
            }
            let unseen = needs.get(at).into_iter().flatten().rev();
            stack.extend(unseen.filter(|need| !entered.get(**need).copied().unwrap_or(true)));
        }
    }
    let mut slots: Vec<Option<Package>> = packages.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| slots.get_mut(at).and_then(Option::take)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn announced(items: &[Value], unreported: &[&str]) -> Announced {
        let unreported = unreported.iter().map(|name| name.parse().unwrap()).collect();
        announce(items, Asked { at: Timestamp::from_millis(1), reported_through: 7, unreported: &unreported })
    }

    fn names(message: &PollAnnouncement) -> Vec<&str> {
        message.packages.iter().map(|package| package.name.as_str()).collect()
    }

    #[test]
    fn an_answer_becomes_one_message_with_all_that_its_packages_say() {
        let announced = announced(
            &[json!({"id": 7, "name": "@acme/core", "priority": 5, "category": "x", "status": "ready", "ref": "v2"})],
            &[],
        );
        let message = serde_json::to_value(&announced.messages[0]).unwrap();
        let package = json!({"id": "7", "name": "@acme/core", "priority": 5, "category": "x", "dependencies": [], "status": "ready", "ref": "v2"});
        let expected =
            json!({"schema": 1, "polledAt": "1970-01-01T00:00:00.001Z", "reportedThrough": 7, "packages": [package]});
        assert_eq!(message, expected);
    }

    #[test]
    fn an_empty_answer_announces_nothing() {
        assert_eq!(announced(&[], &[]), Announced::default());
    }

    #[test]
    fn what_the_catalogue_does_not_know_yet_is_left_out() {
        let announced = announced(&[json!({"name": "a"}), json!({"name": "b"})], &["a", "elsewhere"]);
        assert_eq!(names(&announced.messages[0]), ["b"]);
        assert_eq!(announced.left_out, ["a".parse().unwrap()]);
        assert!(self::announced(&[json!({"name": "a"})], &["a"]).messages.is_empty());
    }

    #[test]
    fn of_fifty_with_three_bad_ones_forty_seven_are_announced() {
        let mut items: Vec<Value> = (0..47).map(|n| json!({"name": format!("p{n}")})).collect();
        items.insert(10, json!({"name": "../x"}));
        items.insert(20, json!("p1"));
        items.push(json!({"name": "big", "readme": "x".repeat(MAX_PAYLOAD)}));
        let announced = announced(&items, &[]);
        assert_eq!(announced.messages.iter().map(|message| message.packages.len()).sum::<usize>(), 47);
        assert_eq!(announced.refused.iter().map(|refused| refused.index).collect::<Vec<_>>(), [10, 20, 49]);
    }

    #[test]
    fn a_long_answer_is_split_with_dependencies_first() {
        let items: Vec<Value> = (0..3000)
            .map(|n| json!({"name": format!("p{n}"), "dependencies": [format!("p{}", n + 1)], "note": "x".repeat(200)}))
            .collect();
        let announced = announced(&items, &[]);
        assert!(announced.messages.len() > 1);
        for message in &announced.messages {
            assert!(serde_json::to_vec(message).unwrap().len() <= MAX_PAYLOAD);
        }
        let order: Vec<&str> = announced.messages.iter().flat_map(names).collect();
        assert_eq!(order.len(), 3000);
        assert_eq!((order[0], order[2999]), ("p2999", "p0"));
    }

    #[test]
    fn cycles_are_announced_whole() {
        let items = [
            json!({"name": "app", "dependencies": ["ping"]}),
            json!({"name": "ping", "dependencies": ["pong"]}),
            json!({"name": "pong", "dependencies": ["ping", "base"]}),
            json!({"name": "self", "dependencies": ["self"]}),
            json!({"name": "base"}),
        ];
        assert_eq!(names(&announced(&items, &[]).messages[0]), ["base", "pong", "ping", "app", "self"]);
    }

    #[test]
    fn a_package_that_is_named_twice_is_announced_twice_in_its_order() {
        let items = [json!({"name": "a", "priority": 1}), json!({"name": "a", "priority": 2})];
        let announced = announced(&items, &[]);
        let priorities: Vec<i64> = announced.messages[0].packages.iter().map(|package| package.priority).collect();
        assert_eq!(priorities, [1, 2]);
    }
}
