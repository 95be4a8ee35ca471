//! Small workspaces, one for each cause for which a workspace of somebody's does not build, with what must come of
//! each package. All that they install are packages that [`Released`] makes: nothing is downloaded.
//!
//! The causes are those of real workspaces. A case says what npm itself makes of it in a fresh checkout, and where npm
//! alone does not get that far, what a build must do all the same.

mod build;
mod case;
mod graph;
mod install;
mod layout;
mod made;
mod released;
#[cfg(test)]
mod tests;

pub use case::{Case, Member, Outcome};
pub use made::Made;
pub use released::Released;

/// All cases; their names differ.
pub fn all() -> Vec<Case> {
    [layout::cases(), build::cases(), graph::cases(), install::cases()].concat()
}

/// The case of this name.
///
/// # Panics
/// When there is none.
pub fn case(name: &str) -> Case {
    all().into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no workspace {name}"))
}
