//! The table `[workspace]`: how packages of a workspace are built.

use std::fmt;

use toml::de::{DeTable, DeValue};

use crate::value::{self, Placed, Wrong};

/// What the table `[workspace]` says; the default is what holds without it. As people read it, it is one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceOptions {
    /// Where a package is built.
    pub mode: WorkspaceMode,
    /// When a script of the root builds the members.
    pub root_build: RootBuild,
    /// The name of that script; found from the root's scripts where none is given.
    pub root_build_script: Option<String>,
    /// What the tests of the root decide.
    pub root_test: RootTest,
    /// What a `lint` that fails decides in workspace mode.
    pub lint: LintFailure,
}

impl WorkspaceOptions {
    /// What another option leaves without effect.
    pub(crate) fn idle(&self) -> Option<String> {
        let of_isolated = Self { mode: WorkspaceMode::Isolated, ..Self::default() };
        if self.mode == WorkspaceMode::Isolated && *self != of_isolated {
            return Some("[workspace] has options without effect; mode is \"isolated\"".to_owned());
        }
        let idle = self.root_build == RootBuild::Never && self.root_build_script.is_some();
        idle.then(|| "root_build_script never runs; root_build is \"never\"".to_owned())
    }
}

/// Where a package is built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkspaceMode {
    /// In a view of the whole workspace, where there is one.
    #[default]
    Workspace,
    /// In a copy of the package and of the files of the root.
    Isolated,
}

/// When a script of the root builds the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootBuild {
    /// Where a public member has no script of its own that builds.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What the tests of the root decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootTest {
    /// Nothing: they are not run, and the result of each package says so.
    #[default]
    Report,
    /// They run once before anything is published, which nothing is where they fail.
    Gate,
}

/// What a `lint` that fails decides in workspace mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LintFailure {
    /// Nothing: it is a warning.
    #[default]
    Warn,
    /// The build fails.
    Fail,
}

impl fmt::Display for WorkspaceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root_build = word(&ROOT_BUILDS, self.root_build);
        write!(f, "mode {}, root_build {root_build}", word(&MODES, self.mode))?;
        if let Some(script) = &self.root_build_script {
            write!(f, ", root_build_script {}", script.escape_debug())?;
        }
        write!(f, ", root_test {}, lint {}", word(&ROOT_TESTS, self.root_test), word(&LINTS, self.lint))
    }
}

const MODES: [(&str, WorkspaceMode); 2] =
    [("workspace", WorkspaceMode::Workspace), ("isolated", WorkspaceMode::Isolated)];
const ROOT_BUILDS: [(&str, RootBuild); 3] =
    [("auto", RootBuild::Auto), ("always", RootBuild::Always), ("never", RootBuild::Never)];
const ROOT_TESTS: [(&str, RootTest); 2] = [("report", RootTest::Report), ("gate", RootTest::Gate)];
const LINTS: [(&str, LintFailure); 2] = [("warn", LintFailure::Warn), ("fail", LintFailure::Fail)];

fn word<T: PartialEq>(choices: &[(&'static str, T)], chosen: T) -> &'static str {
    choices.iter().find(|(_, choice)| *choice == chosen).map_or("", |(word, _)| word)
}

/// Reads the table; all that is wrong with it.
pub(crate) fn read(value: &Placed<'_>) -> Result<WorkspaceOptions, Wrong> {
    let DeValue::Table(table) = value.get_ref() else {
        return value::wrong(value, format!("workspace is {}; it is a table, write [workspace]", value::kind(value)));
    };
    let (mut options, mut wrongs) = (WorkspaceOptions::default(), Wrong::new());
    read_keys(table, &mut options, &mut wrongs);
    if wrongs.is_empty() { Ok(options) } else { Err(wrongs) }
}

fn read_keys(table: &DeTable<'_>, options: &mut WorkspaceOptions, wrongs: &mut Wrong) {
    for (key, value) in table.iter() {
        let read = match key.get_ref().as_ref() {
            "mode" => value::choice(value, "mode", &MODES).map(|mode| options.mode = mode),
            "root_build" => value::choice(value, "root_build", &ROOT_BUILDS).map(|when| options.root_build = when),
            "root_build_script" => value::script(value, "root_build_script").map(|script| {
                options.root_build_script = Some(script);
            }),
            "root_test" => value::choice(value, "root_test", &ROOT_TESTS).map(|test| options.root_test = test),
            "lint" => value::choice(value, "lint", &LINTS).map(|lint| options.lint = lint),
            other => {
                let keys = "a workspace has mode, root_build, root_build_script, root_test and lint";
                Err(vec![(key.span().start, format!("unknown key `{}`; {keys}", value::shown(other)))])
            }
        };
        if let Err(more) = read {
            wrongs.extend(more);
        }
    }
}
