//! Where a package stands, and why: its own state, and what follows from those of others.

use std::fmt;

use packline_domain::{PackageName, text::published};

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
        private: bool,
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
    /// It waits for itself, or in a knot of packages that do.
    Unresolvable {
        /// The beginning of a cycle of that knot.
        cycle: Vec<PackageName>,
        /// How many packages are on that cycle.
        length: usize,
    },
}

impl Standing {
    /// Whether it stays so until somebody does something.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Queued | Self::Waiting { .. } | Self::Building | Self::Retrying => false,
            Self::Published { .. } | Self::Failed { .. } | Self::Cancelled => true,
            Self::Blocked { .. } | Self::Unresolvable { .. } => true,
        }
    }

    /// Whether it is published, in this version where both are known.
    pub(crate) fn is_published_as(&self, wanted: Option<&str>) -> bool {
        match self {
            Self::Published { version, .. } => {
                version.as_deref().zip(wanted).is_none_or(|(built, wanted)| built == wanted)
            }
            _ => false,
        }
    }

    /// One word for it; of a private package that was built, two.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting { .. } => "waiting",
            Self::Building => "building",
            Self::Retrying => "retrying",
            Self::Published { private, .. } => published(*private),
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
            Self::Unresolvable { cycle, length } => {
                let mut names: Vec<&str> = cycle.iter().map(PackageName::as_str).collect();
                if cycle.len() < *length {
                    names.push("…");
                }
                names.extend(cycle.first().map(PackageName::as_str));
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
