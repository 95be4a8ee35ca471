//! Where a package stands, and why: its own state, and what follows from those of others.

use std::{collections::BTreeSet, fmt};

use packline_domain::{PackageName, record::State};

use super::board::Board;

/// Where a package stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its turn will come.
    Queued,
    /// A dependency is still to be built.
    Waiting {
        on: PackageName,
    },
    Building,
    Retrying,
    Published {
        version: Option<String>,
    },
    Failed {
        error: String,
        phase: Option<String>,
    },
    Cancelled,
    /// A dependency will not be published by itself.
    Blocked {
        on: PackageName,
        which_is: &'static str,
    },
    /// It waits for itself.
    Unresolvable {
        cycle: Vec<PackageName>,
    },
}

impl Standing {
    /// As the record and the dependencies of `name` say; `None` when the queue does not know it.
    pub(crate) fn of(name: &PackageName, board: &Board) -> Option<Self> {
        let record = board.queue.get(name)?;
        Some(match &record.state {
            State::Building { .. } => Self::Building,
            State::Retrying { .. } => Self::Retrying,
            State::Published { version } => Self::Published { version: version.clone() },
            State::Failed { error, failed_phase } => Self::Failed { error: error.clone(), phase: failed_phase.clone() },
            State::Cancelled { .. } => Self::Cancelled,
            State::Queued => Self::waiting(name, board),
        })
    }

    fn waiting(name: &PackageName, board: &Board) -> Self {
        if let Some(cycle) = cycle(name, board) {
            return Self::Unresolvable { cycle };
        }
        let unfinished = |dependency: &&PackageName| match board.queue.get(*dependency).map(|record| &record.state) {
            None | Some(State::Published { .. }) => false,
            Some(_) => true,
        };
        let dependencies = dependencies(name, board).iter().filter(unfinished);
        let mut waiting = None;
        for dependency in dependencies {
            let Some(standing) = Self::of(dependency, board) else { continue };
            if standing.is_final() {
                return Self::Blocked { on: dependency.clone(), which_is: standing.word() };
            }
            waiting = waiting.or(Some(dependency));
        }
        waiting.map_or(Self::Queued, |on| Self::Waiting { on: on.clone() })
    }

    /// Whether it stays so until somebody does something.
    fn is_final(&self) -> bool {
        match self {
            Self::Queued | Self::Waiting { .. } | Self::Building | Self::Retrying => false,
            Self::Published { .. } | Self::Failed { .. } | Self::Cancelled => true,
            Self::Blocked { .. } | Self::Unresolvable { .. } => true,
        }
    }

    /// One word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting { .. } => "waiting",
            Self::Building => "building",
            Self::Retrying => "retrying",
            Self::Published { .. } => "published",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Blocked { .. } => "blocked",
            Self::Unresolvable { .. } => "unresolvable",
        }
    }
}

/// Why it is not published; empty when it is.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published { .. } => Ok(()),
            Self::Queued => f.write_str("its turn has not come"),
            Self::Waiting { on } => write!(f, "waits for {on}"),
            Self::Building => f.write_str("is being built"),
            Self::Retrying => f.write_str("waits for its next attempt"),
            Self::Failed { error, phase } => f.write_str(&in_phase(phase.as_deref(), error)),
            Self::Cancelled => f.write_str("an operator cancelled it"),
            Self::Blocked { on, which_is } => write!(f, "needs {on}, which is {which_is}"),
            Self::Unresolvable { cycle } => {
                let names: Vec<&str> = cycle.iter().chain(cycle.first()).map(PackageName::as_str).collect();
                write!(f, "cycle: {}", names.join(" → "))
            }
        }
    }
}

/// The first line of an error, with the phase in front where it does not say so itself.
pub(crate) fn in_phase(phase: Option<&str>, error: &str) -> String {
    let line = first_line(error);
    match phase {
        Some(phase) if !line.starts_with(&format!("{phase}:")) => format!("{phase}: {line}"),
        _ => line.to_owned(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given")
}

fn dependencies<'a>(name: &PackageName, board: &'a Board) -> &'a [PackageName] {
    board.queue.get(name).map_or(&[], |record| &record.package.dependencies)
}

/// A shortest way from `name` back to itself along dependencies that still wait.
fn cycle(name: &PackageName, board: &Board) -> Option<Vec<PackageName>> {
    let mut ways = std::collections::VecDeque::from([vec![name.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for dependency in dependencies(way.last()?, board) {
            if dependency == name {
                return Some(way);
            }
            let waits = board.queue.get(dependency).is_some_and(|record| record.state == State::Queued);
            if waits && seen.insert(dependency) {
                ways.push_back(way.iter().chain([dependency]).cloned().collect());
            }
        }
    }
    None
}
