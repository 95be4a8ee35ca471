//! Where packages stand, and how many stand where.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::published;

/// Where a package stands, seen together with all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Could start at once.
    Ready,
    /// Waits for a dependency that is in the queue and not published.
    Blocked,
    /// Is on a cycle of dependencies.
    Unresolvable,
    /// Holds a permit.
    Building,
    /// Waits for the time of its next attempt.
    Retrying,
    /// The registry has it.
    Published,
    /// It will not be tried again by itself.
    Failed,
    /// An operator dropped it.
    Cancelled,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 8] = [
        Self::Ready,
        Self::Blocked,
        Self::Unresolvable,
        Self::Building,
        Self::Retrying,
        Self::Published,
        Self::Failed,
        Self::Cancelled,
    ];

    /// As it is written in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Blocked => "blocked",
            Self::Unresolvable => "unresolvable",
            Self::Building => "building",
            Self::Retrying => "retrying",
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// As people read it of a package that is `private` or not.
    pub fn for_people(self, private: bool) -> &'static str {
        if self == Self::Published { published(private) } else { self.as_str() }
    }
}

/// As it is written in answers.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many packages stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Counts {
    /// [`Standing::Ready`].
    pub ready: usize,
    /// [`Standing::Blocked`].
    pub blocked: usize,
    /// [`Standing::Unresolvable`].
    pub unresolvable: usize,
    /// [`Standing::Building`].
    pub building: usize,
    /// [`Standing::Retrying`].
    pub retrying: usize,
    /// [`Standing::Published`].
    pub published: usize,
    /// [`Standing::Failed`].
    pub failed: usize,
    /// [`Standing::Cancelled`].
    pub cancelled: usize,
    /// Those of `published` that are private: they were built, and the registry does not have them.
    #[serde(skip_serializing_if = "is_none")]
    pub private: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl Counts {
    /// How many wait for their turn, whatever for.
    pub fn waiting(&self) -> usize {
        self.ready + self.blocked + self.unresolvable + self.retrying
    }

    /// The one that counts these.
    pub fn of(&mut self, standing: Standing) -> &mut usize {
        match standing {
            Standing::Ready => &mut self.ready,
            Standing::Blocked => &mut self.blocked,
            Standing::Unresolvable => &mut self.unresolvable,
            Standing::Building => &mut self.building,
            Standing::Retrying => &mut self.retrying,
            Standing::Published => &mut self.published,
            Standing::Failed => &mut self.failed,
            Standing::Cancelled => &mut self.cancelled,
        }
    }
}
