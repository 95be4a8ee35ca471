//! Which members need which, and get them from the workspace.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use crate::{
    Edge, EdgeKind, Manager, Manifest, Member, MemberId, Misfit, range,
    rules::{Resolved, Rules, joined},
    shown,
    spec::Spec,
};

/// In the order in which npm reads them; of several values for one key it installs the last.
const READ: [EdgeKind; 5] =
    [EdgeKind::Peer, EdgeKind::OptionalPeer, EdgeKind::Runtime, EdgeKind::Optional, EdgeKind::Development];

/// What an install of a manifest asks for.
fn installed(manifest: &Manifest) -> BTreeMap<&str, &str> {
    READ.into_iter().flat_map(|kind| manifest.dependencies(kind)).collect()
}

/// What names of dependencies and folders lead to.
pub(crate) struct Graph<'a> {
    /// Absolute, with all links followed.
    root: &'a Path,
    rules: &'a Rules,
    members: &'a [Member],
    by_name: HashMap<String, MemberId>,
    by_folder: HashMap<&'a Path, MemberId>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(root: &'a Path, rules: &'a Rules, members: &'a [Member]) -> Self {
        let named = members.iter().filter_map(|member| Some((member.link_name()?, member.id())));
        let in_folder = members.iter().map(|member| (member.real_folder(), member.id()));
        Self { root, rules, members, by_name: named.collect(), by_folder: in_folder.collect() }
    }

    /// The edges of all members.
    pub(crate) fn edges(&self) -> BTreeMap<MemberId, Vec<Edge>> {
        let edges = |member: &Member| {
            let edges = self.edges_of(member.manifest(), member.real_folder());
            (member.id(), edges.into_iter().filter(|edge| edge.to != member.id()).collect())
        };
        self.members.iter().map(edges).collect()
    }

    /// What a manifest asks for of members and gets from a registry, because their versions do not fit.
    pub(crate) fn misfits_of(&self, manifest: &Manifest) -> Vec<Misfit> {
        let misfit = |(name, value): (&str, &str)| {
            let (value, _) = self.asked(name, value, Path::new(""))?;
            match Spec::parse(name, &value) {
                Spec::Range { name, range } => {
                    let to = *self.by_name.get(name)?;
                    (!self.fits(to, range)).then(|| Misfit { to, range: range.to_owned() })
                }
                Spec::Member { .. } | Spec::Folder(_) | Spec::Elsewhere => None,
            }
        };
        installed(manifest).into_iter().filter_map(misfit).collect()
    }

    /// What a manifest asks for and nobody can give: a member that there is not, or an entry that no catalog has.
    pub(crate) fn unknown_of(&self, manifest: &Manifest, folder: &Path) -> Vec<String> {
        let unknown = |(name, value): (&str, &str)| {
            let Some((plain, _)) = self.asked(name, value, folder) else {
                return Some(format!("{name} as {value:?}, which no catalog has"));
            };
            let Spec::Member { name: asked, .. } = Spec::parse(name, &plain) else { return None };
            if self.target(name, value, folder).is_some() {
                return None;
            }
            let member = self.by_name.get(asked).and_then(|id| self.members.get(id.index()));
            Some(match member.and_then(|member| Some((member.folder(), member.manifest().version()?))) {
                Some((place, version)) => format!("{name} as {value:?}, and {} has version {version}", shown(place)),
                None => format!("{name} as {value:?}, and no member has that name"),
            })
        };
        installed(manifest).into_iter().filter_map(unknown).collect()
    }

    /// What is asked for in the end, and from which folder.
    fn asked<'v>(&'v self, name: &str, value: &'v str, folder: &'v Path) -> Option<(Cow<'v, str>, &'v Path)> {
        let (value, folder) = match self.rules.overridden(name) {
            Some(value) => (value, Path::new("")),
            None => (value, folder),
        };
        Some((self.rules.plain(name, value)?, folder))
    }

    fn fits(&self, member: MemberId, range: &str) -> bool {
        self.members.get(member.index()).is_some_and(|member| range::satisfies(member.manifest().version(), range))
    }

    /// What a manifest in `folder` needs of the members.
    pub(crate) fn edges_of(&self, manifest: &Manifest, folder: &Path) -> Vec<Edge> {
        let installed = installed(manifest);
        let mut edges: BTreeMap<MemberId, Edge> = BTreeMap::new();
        for (kind, name, value) in
            READ.into_iter().flat_map(|kind| manifest.dependencies(kind).map(move |(name, value)| (kind, name, value)))
        {
            let Some(installed) = installed.get(name) else { continue };
            let Some((to, is_link)) = self.target(name, installed, folder) else { continue };
            // what it is published with may name something else than what its own build gets
            let kind = if self.target(name, value, folder).is_some() { kind } else { EdgeKind::Development };
            let edge = edges.entry(to).or_insert(Edge { to, kind, is_link });
            edge.kind = edge.kind.min(kind);
            edge.is_link |= is_link;
        }
        edges.into_values().collect()
    }

    /// The member that a dependency gets, and whether as a link.
    fn target(&self, name: &str, value: &str, folder: &Path) -> Option<(MemberId, bool)> {
        let (plain, from) = self.asked(name, value, folder)?;
        let resolved = self.rules.resolved(folder, name);
        if let Some(Resolved::Link(to)) = resolved {
            // The lock file says what is installed.
            return self.by_folder.get(to.as_path()).map(|id| (*id, true));
        }
        match Spec::parse(name, &plain) {
            Spec::Elsewhere => None,
            Spec::Member { name, asked } => self.of_workspace(name, asked, from).map(|id| (id, true)),
            Spec::Folder(path) => self.in_folder(from, path).map(|id| (id, true)),
            Spec::Range { name: asked, range } => {
                let id = *self.by_name.get(asked)?;
                let version = self.members.get(id.index())?.manifest().version();
                match resolved {
                    Some(Resolved::Version(locked)) => (Some(locked.as_str()) == version).then_some((id, false)),
                    // Under another name it comes from a registry.
                    _ => self.fits(id, range).then_some((id, self.rules.links_ranges() && asked == name)),
                }
            }
        }
    }

    /// The member that `workspace:` asks for.
    fn of_workspace(&self, name: &str, asked: &str, folder: &Path) -> Option<MemberId> {
        if asked.starts_with(['.', '/']) && self.rules.manager() == Manager::Pnpm {
            return self.in_folder(folder, asked);
        }
        let range = asked.strip_prefix(name).and_then(|range| range.strip_prefix('@')).unwrap_or(asked);
        let takes = |id: &MemberId| {
            let version = self.members.get(id.index()).and_then(|member| member.manifest().version());
            self.rules.takes(version, range)
        };
        // Yarn's folders are relative to the root.
        let in_folder = || self.by_folder.get(joined(Path::new(""), asked)?.as_path()).copied();
        let named = self.by_name.get(name).copied().filter(takes);
        named.or_else(in_folder).or_else(|| self.in_folder(folder, asked))
    }

    fn in_folder(&self, folder: &Path, path: &str) -> Option<MemberId> {
        let folder = self.root.join(folder).join(path).canonicalize().ok()?;
        self.by_folder.get(folder.strip_prefix(self.root).ok()?).copied()
    }

    /// The members that the root gets as links.
    pub(crate) fn linked_by(&self, manifest: &Manifest) -> BTreeSet<MemberId> {
        self.edges_of(manifest, Path::new("")).into_iter().filter(Edge::is_link).map(|edge| edge.to).collect()
    }
}
