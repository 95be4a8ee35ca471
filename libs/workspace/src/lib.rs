//! Reads a workspace of npm packages: which members it has, and what they need of each other.
//!
//! [`Workspace::read`] finds the members as the package manager does and resolves what each of them names. It reads
//! manifests only, decides nothing about builds, and runs nothing.

mod brace;
mod classic;
mod edge;
mod find;
mod graph;
mod installed;
mod locked;
mod manager;
mod manifest;
mod member;
mod pattern;
mod range;
mod read;
mod rules;
mod spec;
mod tools;
mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

pub use edge::{Edge, EdgeKind, Misfit};
pub use installed::Installed;
pub use manager::Manager;
pub use manifest::{Manifest, ManifestError};
pub use member::{LeftOut, Member, MemberId};
pub use range::{is_range, satisfies};
pub use rules::joined;
pub use yaml::{parse_last as parse_yaml, to_yaml};

/// How the members of a workspace are found and installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The package manager knows them: one install for all, members are linked.
    Workspaces,
    /// `packages` of lerna.json: each member is installed by itself, with its own lock file.
    Lerna,
    /// One package, at the root.
    Single,
}

/// A workspace, as it was when it was read.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    kind: Kind,
    manager: Manager,
    settings: Value,
    /// That of pnpm or Yarn.
    lock: Option<Arc<Value>>,
    manifest: Manifest,
    members: Vec<Member>,
    left_out: Vec<LeftOut>,
    notes: Vec<String>,
    edges: BTreeMap<MemberId, Vec<Edge>>,
    misfits: BTreeMap<MemberId, Vec<Misfit>>,
    linked_by_root: BTreeSet<MemberId>,
    unknown: BTreeMap<MemberId, Vec<String>>,
}

/// Why a folder is no workspace.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A file at the root cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// A file at the root does not make a workspace.
    #[error("{path} {problem}")]
    NoWorkspace {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}

/// A folder of a workspace, or a text from one, in a line for people: `.` is the root, and control characters are
/// escaped.
pub fn shown(text: impl AsRef<Path>) -> String {
    let text = text.as_ref().to_string_lossy();
    if text.is_empty() {
        return ".".to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    shown
}

impl Workspace {
    /// Reads the workspace in `root`.
    ///
    /// # Errors
    /// When there is none. A member that is not understood is [left out](Self::left_out).
    pub fn read(root: &Path) -> Result<Self, WorkspaceError> {
        read::read(root)
    }

    /// The folder that it was read from.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How its members are found and installed.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Who installs it.
    pub fn manager(&self) -> Manager {
        self.manager
    }

    /// What pnpm-workspace.yaml or .yarnrc.yml says; null where there is none.
    pub fn settings(&self) -> &Value {
        &self.settings
    }

    /// Whether Yarn installs archives that are loaded without `node_modules`.
    pub fn is_pnp(&self) -> bool {
        let linker = self.settings.get("nodeLinker").and_then(Value::as_str);
        self.manager == Manager::YarnBerry && linker.is_none_or(|linker| linker == "pnp")
    }

    /// The package.json of the root.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its members, in the order of their folders.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this identity; `None` for one of another workspace.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(id.index())
    }

    /// The member in `folder`, relative to the root.
    pub fn member_in(&self, folder: &Path) -> Option<&Member> {
        self.members.iter().find(|member| member.folder() == folder)
    }

    /// The member with this name.
    pub fn member_named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.manifest().name() == Some(name))
    }

    /// Folders that should be members and are not, in their order.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// What else people should know, one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What `member` needs of other members, in the order of their folders, one edge for each of them.
    pub fn edges(&self, member: MemberId) -> &[Edge] {
        self.edges.get(&member).map_or(&[], Vec::as_slice)
    }

    /// What `member` names of other members and gets from a registry, because their versions do not fit.
    pub fn misfits(&self, member: MemberId) -> &[Misfit] {
        self.misfits.get(&member).map_or(&[], Vec::as_slice)
    }

    /// What `member` names and nobody can give it, one line each: a member that there is not, or an entry that no catalog
    /// has.
    pub fn unknown(&self, member: MemberId) -> &[String] {
        self.unknown.get(&member).map_or(&[], Vec::as_slice)
    }

    /// The members that stand as links in what is installed for `member`, because it names them.
    pub fn linked(&self, member: MemberId) -> BTreeSet<MemberId> {
        self.edges(member).iter().filter(|edge| edge.is_link()).map(Edge::to).collect()
    }

    /// The members that the root names as dependencies of its own, and gets as links.
    pub fn linked_by_root(&self) -> &BTreeSet<MemberId> {
        &self.linked_by_root
    }
}
