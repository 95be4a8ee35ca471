//! What a workspace gets of what it asks for.

use packline_workspace::{Manager, satisfies};
use semver::Version;

use crate::{Want, Wanted};

/// What a machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Of Node.
    pub node: Version,
    /// Of the package manager of the workspace; `None` where it has none that is installed.
    pub manager: Option<Offer>,
}

/// A version of a package manager that a registry or a machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which one.
    pub version: Version,
    /// The versions of Node that it runs on.
    pub node: Option<String>,
}

/// A version, and why it is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Which one.
    pub version: Version,
    /// Whether the machine has it; otherwise the registry does.
    pub is_own: bool,
    /// For people: `engines.node of package.json asks for >=22`.
    pub why: String,
}

/// What a workspace gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Of Node.
    pub node: Selected,
    /// Of its package manager.
    pub manager: Selected,
    /// What it asks for and does not get, one line each.
    pub notes: Vec<String>,
}

/// Whether a workspace gets what the machine has, whatever a registry offers.
pub fn own_will_do(wanted: &Wanted, own: &Own) -> bool {
    let runs = |manager: &Offer| {
        wanted.manager.iter().all(|want| fits(&manager.version, want)) && is_run_by(manager.node.as_deref(), &own.node)
    };
    own.manager.as_ref().is_some_and(runs) && wanted.node.iter().all(|want| fits(&own.node, want))
}

/// Chooses by what a workspace asks for: what the machine has where that will do, and the newest that is offered
/// otherwise. What no version satisfies together with the rest is left out, the least binding first.
///
/// # Errors
/// One line that says what nobody has.
pub fn choose(
    wanted: &Wanted,
    manager: Manager,
    own: &Own,
    nodes: &[Version],
    managers: &[Offer],
) -> Result<Choice, String> {
    let candidates = candidates(wanted, own, managers);
    if candidates.is_empty() {
        return Err(format!("the registry has no {} {}", manager.name(), told(&wanted.manager)));
    }
    let mut nodes: Vec<&Version> = nodes.iter().filter(|version| version.pre.is_empty()).collect();
    nodes.sort_unstable_by(|one, other| other.cmp(one));
    for left in (0..=wanted.node.len()).rev() {
        let (kept, dropped) = wanted.node.split_at(left);
        let runs = |node: &Version, candidate: &Candidate| {
            kept.iter().all(|want| fits(node, want)) && is_run_by(candidate.node.as_deref(), node)
        };
        let on_own =
            candidates.iter().find(|candidate| runs(&own.node, candidate)).map(|found| (found, &own.node, true));
        let found = on_own.or_else(|| {
            candidates
                .iter()
                .find_map(|found| nodes.iter().find(|node| runs(node, found)).map(|node| (found, *node, false)))
        });
        let Some((found, node, is_own)) = found else { continue };
        let notes = dropped.iter().map(|want| {
            format!(
                "{} asks for Node {}, which nothing satisfies together with the rest; it is left out",
                want.source, want.range
            )
        });
        let engine = found.node.as_ref().map(|range| format!("{} {} runs on {range}", manager.name(), found.version));
        let why = match kept {
            [] => engine.unwrap_or_else(|| "nothing asks for a version".to_owned()),
            kept if kept.iter().all(|want| fits(&own.node, want)) && !is_own => engine.unwrap_or_else(|| asks(kept)),
            kept => asks(kept),
        };
        return Ok(Choice {
            node: Selected { version: node.clone(), is_own, why },
            manager: Selected { version: found.version.clone(), is_own: found.is_own, why: asks(&wanted.manager) },
            notes: notes.collect(),
        });
    }
    Err(format!("no version of Node runs {} {}", manager.name(), told(&wanted.manager)))
}

struct Candidate {
    version: Version,
    node: Option<String>,
    is_own: bool,
}

/// The versions of the manager that will do: what the machine has, then the newest first.
fn candidates(wanted: &Wanted, own: &Own, offers: &[Offer]) -> Vec<Candidate> {
    let will_do = |version: &Version| wanted.manager.iter().all(|want| fits(version, want));
    let is_own = |version: &Version| own.manager.as_ref().is_some_and(|manager| manager.version == *version);
    let of_machine = own.manager.as_ref().filter(|manager| will_do(&manager.version)).map(|manager| Candidate {
        version: manager.version.clone(),
        // npm of a machine says only at the registry what it runs on.
        node: manager.node.clone().or_else(|| offers.iter().find(|offer| is_own(&offer.version))?.node.clone()),
        is_own: true,
    });
    let is_pinned = wanted.manager.iter().any(|want| Version::parse(&want.range).is_ok());
    let mut offered: Vec<&Offer> = offers
        .iter()
        .filter(|offer| {
            (is_pinned || offer.version.pre.is_empty()) && will_do(&offer.version) && !is_own(&offer.version)
        })
        .collect();
    offered.sort_unstable_by(|one, other| other.version.cmp(&one.version));
    let offered = offered.into_iter().map(|offer| Candidate {
        version: offer.version.clone(),
        node: offer.node.clone(),
        is_own: false,
    });
    of_machine.into_iter().chain(offered).collect()
}

/// Whether a manager that runs on this range of Node runs on a version of it.
fn is_run_by(range: Option<&str>, node: &Version) -> bool {
    range.is_none_or(|range| satisfies(Some(&node.to_string()), range))
}

fn fits(version: &Version, want: &Want) -> bool {
    satisfies(Some(&version.to_string()), &want.range)
}

fn asks(wants: &[Want]) -> String {
    match wants {
        [] => "nothing asks for a version".to_owned(),
        wants => {
            let all: Vec<String> =
                wants.iter().map(|want| format!("{} asks for {}", want.source, want.range)).collect();
            all.join(", ")
        }
    }
}

fn told(wants: &[Want]) -> String {
    let all: Vec<String> = wants.iter().map(|want| format!("{} ({})", want.range, want.source)).collect();
    all.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn wants(ranges: &[&str]) -> Vec<Want> {
        ranges.iter().map(|range| Want { range: (*range).to_owned(), source: format!("the file of {range}") }).collect()
    }

    fn offers(all: &[(&str, &str)]) -> Vec<Offer> {
        all.iter().map(|(text, node)| Offer { version: version(text), node: Some((*node).to_owned()) }).collect()
    }

    fn own(manager: Option<(&str, Option<&str>)>) -> Own {
        let manager = manager.map(|(text, node)| Offer { version: version(text), node: node.map(str::to_owned) });
        Own { node: version("20.20.2"), manager }
    }

    fn chosen(manager: Manager, node: &[&str], of_manager: &[&str]) -> Result<(String, String), String> {
        let npm = Some(("11.19.1", None)).filter(|_| manager == Manager::Npm);
        chosen_of(&own(npm), manager, node, of_manager)
    }

    fn chosen_of(own: &Own, manager: Manager, node: &[&str], of_manager: &[&str]) -> Result<(String, String), String> {
        let wanted = Wanted { node: wants(node), manager: wants(of_manager), ..Wanted::default() };
        let nodes = ["18.20.8", "20.20.2", "22.23.5", "24.15.0", "26.12.1", "27.0.0-nightly"].map(version);
        let managers = match manager {
            Manager::Npm => offers(&[
                ("10.9.9", "^18.17 || >=20.5"),
                ("11.19.1", "^20.17 || >=22.9"),
                ("12.2.2", "^22.22 || >=24.15"),
            ]),
            Manager::Pnpm => {
                offers(&[("10.26.1", ">=18.12"), ("10.34.9", ">=18.12"), ("11.28.11", ">=22.13"), ("12.21.0", ">=18")])
            }
            _ => offers(&[("1.22.22", ">=4"), ("4.18.1", ">=18.12")]),
        };
        let choice = choose(&wanted, manager, own, &nodes, &managers)?;
        let told = |chosen: &Selected| format!("{}{}", chosen.version, if chosen.is_own { " own" } else { "" });
        Ok((told(&choice.node), told(&choice.manager)))
    }

    #[test]
    fn what_the_machine_has_goes_first_and_the_newest_that_will_do_comes_next() {
        use Manager::{Npm, Pnpm, YarnBerry};
        for (manager, node, of_manager, expected) in [
            (Npm, &[][..], &[][..], ("20.20.2 own", "11.19.1 own")),
            (Npm, &[">=18"], &["^11"], ("20.20.2 own", "11.19.1 own")),
            (Npm, &[">=22"], &[], ("26.12.1", "11.19.1 own")),
            (Npm, &[">=20", "22"], &[], ("22.23.5", "11.19.1 own")),
            // npm 11 does not run there.
            (Npm, &["18"], &[], ("18.20.8", "10.9.9")),
            (Npm, &[], &["12"], ("26.12.1", "12.2.2")),
            (Npm, &["^22"], &["12.2.2"], ("22.23.5", "12.2.2")),
            (Pnpm, &[], &["10.26.1"], ("20.20.2 own", "10.26.1")),
            (Pnpm, &[], &[">=9"], ("20.20.2 own", "12.21.0")),
            (Pnpm, &[], &["^11"], ("26.12.1", "11.28.11")),
            (Pnpm, &["^22"], &["^11"], ("22.23.5", "11.28.11")),
            (YarnBerry, &["24"], &[">=4"], ("24.15.0", "4.18.1")),
            // The last one gives way.
            (Npm, &[">=22", "20"], &[], ("26.12.1", "11.19.1 own")),
        ] {
            let expected = Ok((expected.0.to_owned(), expected.1.to_owned()));
            assert_eq!(chosen(manager, node, of_manager), expected, "{manager:?} {node:?} {of_manager:?}");
        }
    }

    #[test]
    fn a_manager_of_the_machine_goes_first_where_it_will_do_and_runs() {
        let own = own(Some(("11.20.0", Some(">=22.13"))));
        for (node, of_manager, expected) in [
            (&[][..], &["^11"][..], ("26.12.1", "11.20.0 own")),
            (&["^22"], &["11.20.0"], ("22.23.5", "11.20.0 own")),
            (&[], &["11.28.11"], ("26.12.1", "11.28.11")),
            (&["20"], &["^11"], ("26.12.1", "11.20.0 own")),
        ] {
            let expected = Ok((expected.0.to_owned(), expected.1.to_owned()));
            assert_eq!(chosen_of(&own, Manager::Pnpm, node, of_manager), expected, "{node:?} {of_manager:?}");
        }
        let any = Wanted { manager: wants(&["^11"]), ..Wanted::default() };
        assert!(!own_will_do(&any, &own), "its Node is not there");
        let newer = Own { node: version("22.23.5"), ..own };
        assert!(own_will_do(&any, &newer));
    }

    #[test]
    fn what_nobody_has_is_said() {
        let error = chosen(Manager::Pnpm, &[], &["99.0.0"]).unwrap_err();
        assert_eq!(error, "the registry has no pnpm 99.0.0 (the file of 99.0.0)");
    }

    #[test]
    fn a_choice_says_why_and_what_it_leaves_out() {
        let wanted = Wanted { node: wants(&[">=22", "20"]), manager: wants(&["^11"]), ..Wanted::default() };
        let (none, own) = (own(None), own(Some(("11.19.1", None))));
        assert!(!own_will_do(&wanted, &own));
        let choice = choose(&wanted, Manager::Npm, &own, &[version("22.23.5")], &[]).unwrap();
        assert_eq!(choice.node.why, "the file of >=22 asks for >=22");
        assert_eq!(choice.manager.why, "the file of ^11 asks for ^11");
        assert_eq!(
            choice.notes,
            ["the file of 20 asks for Node 20, which nothing satisfies together with the rest; it is left out"]
        );
        let any = Wanted { node: wants(&[">=18"]), ..Wanted::default() };
        assert!(own_will_do(&any, &own) && !own_will_do(&any, &none));
        let choice =
            choose(&Wanted::default(), Manager::Pnpm, &none, &[version("22.23.5")], &offers(&[("11.0.0", ">=22")]))
                .unwrap();
        assert_eq!(choice.node.why, "pnpm 11.0.0 runs on >=22");
    }
}
