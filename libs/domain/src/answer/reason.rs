//! Why a package is where it is: what would have to change before it is built.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Standing;
use crate::{
    BuildId, Mode, PackageName, Timestamp,
    control::Origin,
    record::Ending,
    text::{by, cancelled, one_line, published},
};

/// One reason. Of several the first is what would have to change first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Reason {
    /// The queue does not know it.
    Unknown,
    /// Nothing is started in this mode.
    Mode {
        /// Which.
        mode: Mode,
        /// Who and why.
        #[serde(flatten)]
        origin: Origin,
        /// Since when.
        since: Timestamp,
    },
    /// It waits for itself: each depends on the next, the last on the first.
    Cycle {
        /// Its members.
        packages: Vec<PackageName>,
    },
    /// A dependency is not published, or a package that comes first has not ended.
    Dependency {
        /// Which.
        package_name: PackageName,
        /// Where it stands.
        state: Standing,
        /// It only comes first: however its build ends, this one goes on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_order_only: bool,
    },
    /// A failure is behind it, and the time of its next attempt is not there yet.
    Backoff {
        /// Not before this.
        until: Timestamp,
    },
    /// No worker is live, or one that is must not take it.
    NoWorker {
        /// Which; none where no worker is live.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outdated: Option<Outdated>,
    },
    /// Live workers have no free slot.
    NoSlot {
        /// Slots of all live workers.
        slots: u64,
    },
    /// As many builds run as may.
    NoPermit {
        /// The limit.
        limit: u32,
        /// What is being built.
        holders: Vec<Holder>,
    },
    /// Nothing holds it back but those that come first.
    Turn {
        /// How many.
        ahead: usize,
    },
    /// It is being built.
    Building(Holder),
    /// An earlier build of it has to end first.
    Ending {
        /// Which.
        #[serde(flatten)]
        holder: Holder,
        /// Why it ends.
        #[serde(flatten)]
        ending: Ending,
    },
    /// The registry has it, unless it is private.
    Published {
        /// The version, where it is known.
        version: Option<String>,
        /// It was built, and not published.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private: bool,
    },
    /// It is not tried again by itself.
    Failed {
        /// What went wrong.
        error: String,
        /// In which phase.
        failed_phase: Option<String>,
    },
    /// An operator dropped it.
    Cancelled(Origin),
}

/// A live worker of an earlier release, which would build an order wrongly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outdated {
    /// Its name.
    pub worker: String,
    /// Of its program.
    pub version: String,
    /// The protocol that it speaks.
    pub protocol: u32,
    /// The protocol that the order needs.
    pub needs: u32,
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, version, protocol, needs } = self;
        let (worker, version) = (one_line(worker), one_line(version));
        write!(f, "worker {worker} of version {version} speaks protocol {protocol}, and {needs} is needed")
    }
}

/// A build that holds a permit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// What is built.
    pub package_name: PackageName,
    /// Which build.
    pub build_id: BuildId,
    /// Which permit.
    pub permit: u32,
    /// Where; none while no worker has taken the order.
    pub worker: Option<String>,
    /// What another build makes that it waits for, as its worker last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}

/// One line for a person.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the queue does not know it"),
            Self::Mode { mode, origin, .. } => write!(f, "the line is {mode}{}", by(origin)),
            Self::Cycle { packages } if packages.is_empty() => f.write_str("it waits for itself, through many others"),
            Self::Cycle { packages } => {
                let names: Vec<&str> = packages.iter().chain(packages.first()).map(PackageName::as_str).collect();
                write!(f, "cycle: {}", names.join(" → "))
            }
            Self::Dependency { package_name, state, is_order_only: false } => {
                write!(f, "needs {package_name}, which is {state}")
            }
            Self::Dependency { package_name, state, is_order_only: true } => {
                write!(f, "is built after {package_name}, which is {state}")
            }
            Self::Backoff { until } => write!(f, "next attempt at {until}"),
            Self::NoWorker { outdated: None } => f.write_str("no worker is live"),
            Self::NoWorker { outdated: Some(outdated) } => write!(f, "{outdated}; it starts when that worker is gone"),
            Self::NoSlot { slots } => write!(f, "all {slots} slots of the live workers are taken"),
            Self::NoPermit { limit, .. } => write!(f, "all {limit} permits are in use"),
            Self::Turn { ahead: 0 } => f.write_str("it is next"),
            Self::Turn { ahead } => write!(f, "{ahead} come first"),
            Self::Building(Holder { worker: Some(worker), waiting_for: None, .. }) => write!(f, "is built on {worker}"),
            Self::Building(Holder { worker: Some(worker), waiting_for: Some(what), .. }) => {
                write!(f, "is built on {worker}, and waits for another build, which makes {}", one_line(what))
            }
            Self::Building(_) => f.write_str("no worker has taken its order yet"),
            Self::Ending { holder, ending } => {
                let why = match ending {
                    Ending::Stop => "stopped".to_owned(),
                    Ending::Cancel(origin) => cancelled(origin),
                    Ending::Deadline => "over its deadline".to_owned(),
                };
                write!(f, "its build on {} is {why} and has not ended", holder.worker.as_deref().unwrap_or("no worker"))
            }
            Self::Published { version: Some(version), private } => write!(f, "{} as {version}", published(*private)),
            Self::Published { version: None, private } => f.write_str(published(*private)),
            Self::Failed { error, .. } => f.write_str(&one_line(error)),
            Self::Cancelled(origin) => f.write_str(&cancelled(origin)),
        }
    }
}
