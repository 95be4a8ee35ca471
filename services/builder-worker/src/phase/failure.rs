//! Why builds fail, and what follows from it.

use packline_domain::Outcome;

use crate::guard::GuardLost;

/// Why a build did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How it ends; a killed one by the reason for which it was killed.
    pub outcome: Outcome,
    /// False: will fail every time.
    pub retry: bool,
    /// What went wrong, for people.
    pub error: String,
    /// Killed on order or by the fuse; why is known elsewhere.
    pub killed: bool,
    /// Will fail every time, unless a `fix` of the recipe changes something.
    pub certain: bool,
}

impl Failure {
    /// The package's own; it may pass another time.
    pub fn own(error: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, retry: true, error: error.into(), killed: false, certain: false }
    }

    /// The package's own, for ever.
    pub fn permanent(error: impl Into<String>) -> Self {
        Self { retry: false, ..Self::own(error) }
    }

    /// The package's own; it will fail every time, unless a `fix` changes something.
    pub fn certain(error: impl Into<String>) -> Self {
        Self { certain: true, ..Self::own(error) }
    }

    /// This machine's, or the registry's.
    pub fn infrastructure(error: impl Into<String>) -> Self {
        Self { outcome: Outcome::Infrastructure, ..Self::own(error) }
    }

    /// Killed on order or by the fuse.
    pub fn killed() -> Self {
        Self { killed: true, outcome: Outcome::Returned, ..Self::own("killed") }
    }

    /// Whether a recipe's `fix` may help: the command said no, and neither a limit nor the machine, nor for ever.
    pub fn may_be_fixed(&self) -> bool {
        self.outcome == Outcome::Failed && self.retry && !self.killed
    }

    /// The first line of the error.
    pub fn first_line(&self) -> &str {
        self.error.lines().next().unwrap_or_default()
    }
}

impl From<GuardLost> for Failure {
    fn from(lost: GuardLost) -> Self {
        Self::infrastructure(lost.to_string())
    }
}
