//! What happened, as the driver tells it, and why the scheduler may refuse it.

use std::{collections::BTreeMap, time::Duration};

use packline_domain::{
    BuildId, BuildResult, Command, Package, PackageName, Timestamp,
    control::{MAX_CONCURRENT, Origin},
    record::Permit,
};

use crate::{Behind, Withdrawal};

/// The circumstances of one step; the scheduler knows no other clock and no other chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time: that of the wall at start plus what a monotonic clock counted since.
    pub at: Timestamp,
    /// Number of the commit that will carry the result.
    pub commit: u64,
    /// Any number, for jitter.
    pub seed: u64,
}

/// What the operator chose at start. The limit of concurrent builds is not here: it lives in `control`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Failures of its own after which a package counts as failed; at least 1.
    pub max_attempts: u32,
    /// The longest first pause before a retry; it doubles with each failure.
    pub retry_base: Duration,
    /// The longest pause of all.
    pub retry_max: Duration,
    /// Lost workers after which a package counts as failed; at least 1.
    pub max_lost: u32,
    /// Infrastructure failures after which a package counts as failed; at least 1.
    pub max_infrastructure: u32,
    /// How long a build may take from its taking.
    pub build_deadline: Duration,
    /// Where the workers publish, where they do not know it themselves.
    pub registry: Option<String>,
}

impl Default for Config {
    /// The defaults of the settings.
    fn default() -> Self {
        Self {
            max_attempts: 3,
            retry_base: Duration::from_secs(10),
            retry_max: Duration::from_mins(10),
            max_lost: 3,
            max_infrastructure: 10,
            build_deadline: Duration::from_hours(1),
            registry: None,
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// This orchestrator leads and has loaded: the first record of `control` is written, `drained` ends.
    Started,
    /// Packages were announced; few enough for one commit (each writes up to three records).
    Announced {
        /// What is to be built.
        packages: Vec<Package>,
        /// The commit whose outcomes the catalogue knew; `None` when announced by hand.
        reported_through: Option<u64>,
        /// Which slice of a longer announcement this is; `None` for one that is whole.
        slice: Option<Slice>,
    },
    /// An operator commanded. Refused while an intention stands: the next command waits for it.
    Commanded {
        /// What.
        command: Command,
        /// Who and why.
        origin: Origin,
        /// The stream of the command, for the intention.
        stream: String,
        /// Its sequence there.
        sequence: u64,
    },
    /// There is time for the next slice of a command that touches many records (requeue all failed).
    Continued {
        /// The most packages to touch, two records each.
        limit: usize,
    },
    /// A worker said how a build ended.
    Finished(Box<BuildResult>),
    /// The driver has room for starts.
    Dispatched {
        /// The most builds to start, two records each.
        limit: usize,
    },
    /// Time went by: retries come due, records of 31 days ago go. (Deadlines: [`crate::Scheduler::plan_withdrawal`].)
    TimePassed {
        /// The most packages to forget, two records each.
        limit: usize,
    },
    /// A permit was read from the bucket as its worker has written it.
    PermitSeen {
        /// Its number.
        permit: u32,
        /// Its value.
        record: Box<Permit>,
    },
    /// All live workers, each with its slots.
    WorkersSeen {
        /// Slots by worker.
        live: BTreeMap<String, u32>,
    },
    /// All workers that speak a lower protocol than this release, by name.
    WorkersBehind {
        /// What is known of each.
        behind: BTreeMap<String, Behind>,
    },
    /// A worker is lost and never comes back; what it holds ends by [`crate::Scheduler::plan_withdrawal`].
    WorkerLost {
        /// Its name.
        worker: String,
    },
    /// This plan, made since the last input, was committed. Its actions are done; none are returned.
    Withdrawn(Withdrawal),
    /// Draining, no permit is left, and no effect is outstanding.
    Drained,
}

/// One slice of an announcement too long for one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The stream of the announcement.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// How many of its packages are done with this slice.
    pub done: usize,
    /// Whether this is the last slice.
    pub last: bool,
}

/// An input for which there is no rule; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another input is worked off first.
    #[error("{stream} {sequence} is still being worked off; feed this input again when that is complete")]
    Busy {
        /// The stream of the intention.
        stream: String,
        /// Its sequence there.
        sequence: u64,
    },
    /// A slice that is not the next one.
    #[error("{done} packages of this announcement are done already; the next slice ends after those")]
    SliceDone {
        /// How many are done.
        done: usize,
    },
    /// A plan made before the last input.
    #[error("this withdrawal was planned before the last input; nothing may be fed between plan and `Withdrawn`")]
    PlanStale,
    /// `Drained` out of turn.
    #[error("not drained: that needs mode draining, no permit and no intention")]
    NotDraining,
    /// A limit out of range.
    #[error("{0} is no limit of concurrent builds; it is a number from 1 to {MAX_CONCURRENT}")]
    Limit(u32),
    /// A result that names one package and the build of another.
    #[error("the result of build {build_id} names the package {package_name}")]
    ResultContradicts {
        /// The build.
        build_id: BuildId,
        /// The package.
        package_name: PackageName,
    },
    /// A permit that was taken twice.
    #[error("permits.{permit} names the worker {found}, but {known} has taken it")]
    PermitContradicts {
        /// Its number.
        permit: u32,
        /// Who has taken it.
        known: String,
        /// Whom it names now.
        found: String,
    },
}
