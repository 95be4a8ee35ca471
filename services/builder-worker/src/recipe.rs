//! Which phases a build has: the built-in ones for npm, those of a recipe file, or none.

use packline_domain::BuildOrder;
use packline_recipe::{Phase, RecipeError, WorkspaceOptions};
use packline_service::Unusable;

use crate::RecipeSetting;

/// The recipe in force, read once at the start of the worker.
#[derive(Clone, Debug)]
pub(crate) enum Recipe {
    /// No phases.
    None,
    /// The built-in phases for npm packages.
    Npm,
    /// Those of a file.
    File(packline_recipe::Recipe),
}

impl Recipe {
    /// Reads the file, where there is one. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, or is wrong; then all its errors are in the log.
    pub(crate) fn load(setting: &RecipeSetting) -> Result<Self, Unusable> {
        let file = match setting {
            RecipeSetting::None => return Ok(Self::None),
            RecipeSetting::Npm => return Ok(Self::Npm),
            RecipeSetting::File(file) => file,
        };
        match packline_recipe::Recipe::read(file) {
            Ok(recipe) => {
                for warning in recipe.warnings() {
                    tracing::warn!("{}: {warning}", file.display());
                }
                Ok(Self::File(recipe))
            }
            Err(RecipeError::Unreadable(why)) => Err(Unusable(format!("RECIPE is npm, none or a TOML file; {why}"))),
            Err(RecipeError::Wrong(problems)) => match problems.as_slice() {
                [problem] => Err(Unusable(format!("RECIPE cannot be used: {}:{problem}", file.display()))),
                problems => {
                    for problem in problems {
                        tracing::error!("{}:{problem}", file.display());
                    }
                    Err(Unusable(format!("RECIPE cannot be used: {} has {} errors", file.display(), problems.len())))
                }
            },
        }
    }

    /// Whether some packages are built by the phases for npm.
    pub(crate) fn builds_by_npm(&self) -> bool {
        match self {
            Self::None => false,
            Self::Npm => true,
            Self::File(recipe) => recipe.phases.is_none(),
        }
    }

    /// The phases of a file for this order; `None`: the built-in ones.
    pub(crate) fn of_file(&self, order: &BuildOrder) -> Option<&[Phase]> {
        match self {
            Self::File(recipe) => recipe.phases(&order.category),
            Self::Npm | Self::None => None,
        }
    }

    /// How packages of a workspace are built.
    pub(crate) fn workspace(&self) -> WorkspaceOptions {
        match self {
            Self::File(recipe) => recipe.workspace.clone(),
            Self::Npm | Self::None => WorkspaceOptions::default(),
        }
    }

    /// How often a build may try a fix.
    pub(crate) fn max_fix_attempts(&self) -> u32 {
        match self {
            Self::File(recipe) => recipe.max_fix_attempts,
            Self::Npm | Self::None => 0,
        }
    }
}
