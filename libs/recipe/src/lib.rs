//! Recipe files: the phases of a build and their limits, read from TOML.
//!
//! ```toml
//! max_fix_attempts = 1              # for a whole build; 0 by default
//! [[phase]]
//! name = "test"
//! run = ["npm", "test"]             # a program and its arguments, never a shell line
//! when = "script:test"              # only where package.json has this script; or "file:NAME"
//! timeout = "10m"                   # default
//! silence = "5m"                    # the longest it may print nothing; no limit by default
//! output_limit = "64MB"             # default
//! fix = ["./fix.sh"]                # run when the phase failed, then the phase again
//! env = { NODE_ENV = "test" }       # added to the environment
//! [[phase]]
//! name = "publish"
//! builtin = "publish"               # in place of `run`: a phase of the built-in recipe; or "install", "prepare"
//! [[category.docs.phase]]           # packages of category "docs" use these phases instead
//! name = "build"
//! run = ["mdbook", "build"]
//! [workspace]                       # how packages of a workspace are built; first values are defaults
//! mode = "workspace"                # or "isolated": each package in a copy of its own
//! root_build = "auto"               # or "always", "never": whether a script of the root builds the members
//! root_build_script = "build"       # that script; by default found from the root's scripts
//! root_test = "report"              # or "gate": tests of the root run before anything is published
//! lint = "warn"                     # or "fail": what a `lint` that fails does to a build
//! ```
//!
//! A file that has `[[phase]]` replaces the phases of all packages; one that has categories or `[workspace]` alone
//! replaces those of its categories, and leaves the built-in recipe for npm to all others. The worker and `packline recipe check` read
//! files by [`Recipe::read`], so what one accepts the other does.

mod document;
mod phase;
mod problem;
mod value;
mod workspace;

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

pub use phase::{Limits, Phase, Step, When};
pub use problem::Problem;
pub use workspace::{LintFailure, RootBuild, RootTest, WorkspaceMode, WorkspaceOptions};

/// The variables that Packline itself tells each phase; a recipe cannot set them.
pub const OWN_VARIABLES: [&str; 11] = [
    "PACKAGE_NAME",
    "PACKAGE_PATH",
    "PLAN_PATH",
    "CATEGORY",
    "DEPENDENCIES",
    "WORKSPACE_ROOT",
    "NPM_REGISTRY",
    "BUILD_ID",
    "ATTEMPT",
    "PHASE",
    "NPM_TOKEN",
];

/// The phase before which a root build runs.
const BUILD: &str = "build";
/// The phase that gets NPM_TOKEN.
pub const PUBLISH: &str = "publish";

/// No honest recipe is larger, in bytes.
const FILE_LIMIT: u64 = 1024 * 1024;

/// What a recipe file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// How often a build may try a `fix`, all its phases together.
    pub max_fix_attempts: u32,
    /// The phases of packages whose category has none of its own; `None`: the built-in ones for npm.
    pub phases: Option<Vec<Phase>>,
    /// The phases of categories that have their own.
    pub categories: BTreeMap<String, Vec<Phase>>,
    /// How packages of a workspace are built.
    pub workspace: WorkspaceOptions,
}

/// Why there is no recipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It was read and is wrong; at least one problem, in the order of the file.
    #[error("{} in the recipe", counted(.0.len()))]
    Wrong(Vec<Problem>),
}

fn counted(problems: usize) -> String {
    if problems == 1 { "1 error".to_owned() } else { format!("{problems} errors") }
}

impl Recipe {
    /// Reads a recipe file. Blocks.
    ///
    /// # Errors
    /// See [`RecipeError`].
    pub fn read(file: &Path) -> Result<Self, RecipeError> {
        let unreadable = |why: &dyn std::fmt::Display| {
            RecipeError::Unreadable(format!("{} cannot be read as a recipe: {why}", file.display()))
        };
        let mut bytes = Vec::new();
        File::open(file)
            .and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes))
            .map_err(|error| unreadable(&error))?;
        if bytes.len() as u64 > FILE_LIMIT {
            return Err(unreadable(&"it is larger than 1 MiB"));
        }
        match str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text).map_err(RecipeError::Wrong),
            Err(error) => {
                let (before, _) = bytes.split_at(error.valid_up_to());
                let what = "a byte that is no UTF-8; TOML is UTF-8 text".to_owned();
                let problem = Problem::behind(&String::from_utf8_lossy(before), what);
                Err(RecipeError::Wrong(vec![problem]))
            }
        }
    }

    /// Reads the text of a recipe.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the text; of text that is no TOML only where it is none.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        document::read(text)
    }

    /// The phases of a category; `None`: the built-in ones for npm.
    pub fn phases(&self, category: &str) -> Option<&[Phase]> {
        self.categories.get(category).or(self.phases.as_ref()).map(Vec::as_slice)
    }

    /// What is allowed and yet hardly meant, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let phases = self.phases.iter().chain(self.categories.values()).flatten();
        let idle = phases.filter(|phase| phase.fix.is_some() && self.max_fix_attempts == 0);
        let idle = idle.map(|phase| format!("the fix of phase {} never runs; max_fix_attempts is 0", phase.name));
        let mut lists = self.phases.iter().chain(self.categories.values());
        let lacks_build = lists.any(|phases| !phases.iter().any(|phase| phase.name == BUILD));
        let root_build = (lacks_build && self.workspace.root_build == RootBuild::Always)
            .then(|| format!("root_build is \"always\" and runs before the phase {BUILD}, which is not everywhere"));
        idle.chain(self.workspace.idle()).chain(root_build).collect()
    }
}
