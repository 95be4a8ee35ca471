//! Phases: what a build runs, in order, each with its own limits.

use std::{collections::BTreeMap, time::Duration};

/// One phase of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name in results, log lines and the environment.
    pub name: String,
    /// What it does.
    pub step: Step,
    /// Where it is not skipped.
    pub when: Option<When>,
    /// When it is killed.
    pub limits: Limits,
    /// What is run when it failed, before it is run again.
    pub fix: Option<Vec<String>>,
    /// Added to the allow-list.
    pub env: BTreeMap<String, String>,
}

/// What a phase does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Runs a program with these arguments, without a shell.
    Run(Vec<String>),
    /// Installs what the package needs, by the workspace's manager or by npm.
    Install,
    /// Runs the package's own install scripts, from `preinstall` to `prepare`.
    Prepare,
    /// Packs the package, notes the tarball's integrity in the permit, and publishes that tarball; nothing
    /// where `package.json` says private.
    Publish,
}

/// What must be there for a phase to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// `package.json` has this script.
    Script(String),
    /// The package's folder has this file or folder when the phase's turn comes; relative, without `..`.
    File(String),
}

/// Limits of each command of a phase.
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
        Self { timeout: Duration::from_secs(600), silence: None, output: 64_000_000 }
    }
}
