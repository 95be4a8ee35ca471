use crate::MemberId;

/// How a member needs another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdgeKind {
    /// `dependencies`: whoever installs it needs it.
    Runtime,
    /// `peerDependencies`.
    Peer,
    /// `devDependencies`: its own build and tests need it.
    Development,
    /// `optionalDependencies`: it works without.
    Optional,
    /// `peerDependencies` that `peerDependenciesMeta` calls optional.
    OptionalPeer,
}

impl EdgeKind {
    /// Whether the member can be built and installed without it.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::Optional | Self::OptionalPeer)
    }
}

/// A member names another one, and gets the version that stands in the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub(crate) to: MemberId,
    pub(crate) kind: EdgeKind,
    pub(crate) is_link: bool,
}

/// A member names another one, and gets another version than the one that stands in the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The member that is named.
    pub to: MemberId,
    /// The versions that are asked for.
    pub range: String,
}

impl Edge {
    /// The member that is needed.
    pub fn to(&self) -> MemberId {
        self.to
    }

    /// How it is needed; the first of several in the order of [`EdgeKind`].
    pub fn kind(&self) -> EdgeKind {
        self.kind
    }

    /// Whether an install links its folder, instead of taking the same version from a registry.
    pub fn is_link(&self) -> bool {
        self.is_link
    }
}
