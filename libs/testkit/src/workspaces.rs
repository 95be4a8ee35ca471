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
mod managers;
mod released;
#[cfg(test)]
mod tests;

pub use case::{Case, Member, Outcome};
pub use made::Made;
pub use released::Released;
pub(crate) use released::put;

/// All cases; their names differ.
pub fn all() -> Vec<Case> {
    [layout::cases(), build::cases(), graph::cases(), install::cases()].concat()
}

/// The same for other package managers than npm, and for other versions of npm than that of the machine.
pub fn of_managers() -> Vec<Case> {
    managers::cases()
}

/// The case of this name.
///
/// # Panics
/// When there is none.
pub fn case(name: &str) -> Case {
    all()
        .into_iter()
        .chain(of_managers())
        .find(|case| case.name == name)
        .unwrap_or_else(|| panic!("no workspace {name}"))
}
