//! Which versions a workspace holds, as far as is known now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

/// Who knows of held versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The manifests of the workspace.
    Workspace,
    /// The catalogue.
    Catalogue,
    /// The queue of the orchestrator.
    Queue,
}

/// The versions that a workspace holds: they come from its registry alone, whether they are published there or not.
/// Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct HeldVersions(Arc<RwLock<BTreeMap<Source, Names>>>);

/// By name. No version: it is not known yet.
type Names = BTreeMap<String, BTreeSet<String>>;

/// What is held of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Every version: which one it will be is not known yet.
    All,
    /// These.
    Versions(BTreeSet<String>),
}

impl HeldVersions {
    /// Replaces what `source` knows. A name for which no source knows a version is held whole.
    pub fn renew<'a>(&self, source: Source, entries: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        let mut names = Names::new();
        for (name, version) in entries {
            names.entry(name.to_owned()).or_default().extend(version.map(plain));
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(source, names);
    }

    /// What is held of a name; `None` where nothing is.
    pub(super) fn of(&self, name: &str) -> Option<Held> {
        let sources = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<_> = sources.values().filter_map(|names| names.get(name)).collect();
        if known.is_empty() {
            return None;
        }
        let versions: BTreeSet<String> = known.into_iter().flatten().cloned().collect();
        Some(if versions.is_empty() { Held::All } else { Held::Versions(versions) })
    }
}

impl Held {
    /// Whether this version is held.
    pub(super) fn has(&self, version: &str) -> bool {
        match self {
            Self::All => true,
            Self::Versions(versions) => versions.contains(&plain(version)),
        }
    }
}

/// A version as a registry names it: npm leaves out a `v` before it and the build behind it.
fn plain(version: &str) -> String {
    let version = version.trim().trim_start_matches(['=', 'v']);
    version.split_once('+').map_or(version, |(version, _)| version).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_in_the_versions_that_any_source_knows_and_whole_where_none_knows_one() {
        let held = HeldVersions::default();
        let seen = held.clone();
        assert_eq!(seen.of("ms"), None);
        held.renew(Source::Queue, [("ms", None), ("late", None)]);
        assert_eq!(seen.of("ms"), Some(Held::All));
        held.renew(Source::Workspace, [("ms", Some("v3.0.0+build.7"))]);
        let ms = seen.of("ms").unwrap();
        assert!(ms.has("3.0.0") && ms.has("3.0.0+other") && !ms.has("2.0.0") && !ms.has("3.0.0-rc.1"));
        held.renew(Source::Catalogue, [("ms", Some("2.0.0"))]);
        assert!(seen.of("ms").unwrap().has("2.0.0"));
        assert_eq!(seen.of("late"), Some(Held::All));
        held.renew(Source::Workspace, [("ms", Some("3.1.0"))]);
        let ms = seen.of("ms").unwrap();
        assert!(ms.has("3.1.0") && !ms.has("3.0.0"), "a version that no manifest has any more is not held");
    }
}
