//! Recipes: the phases of a build, in order, each a command with its own limits.

use std::{collections::BTreeMap, time::Duration};

/// One phase of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name in results, log lines and the environment.
    pub name: String,
    /// What it does.
    pub step: Step,
    /// Where it is skipped.
    pub when: Option<When>,
    /// When it is killed.
    pub limits: Limits,
    /// Added to the allow-list.
    pub env: BTreeMap<String, String>,
}

/// What a phase does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Runs a program with these arguments, without a shell.
    Run(Vec<String>),
    /// Packs the package, notes the tarball's integrity in the permit, and publishes that tarball.
    NpmPublish,
}

/// What must be there for a phase to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// `package.json` has this script.
    Script(String),
}

/// Limits of one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest it may take.
    pub timeout: Duration,
    /// The longest it may print nothing.
    pub silence: Option<Duration>,
    /// The most it may print, in bytes.
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(600), silence: None, output: 64 * 1024 * 1024 }
    }
}
