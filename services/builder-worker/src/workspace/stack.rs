//! The layers that a build in workspace mode sees.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use packline_domain::{PackagePath, phase::Tests};
use packline_layers::{Layer, Store, sources::Sources};
use packline_workspace::Workspace;

use crate::{folder::BuildFolder, guard::View, look::Look, test_script, view::Merged};

use super::state::State;

/// What one build sees, from the bottom up. It grows as the phases go on.
pub(crate) struct Stack {
    pub(crate) store: Store,
    /// Where views are mounted: the same folder for all builds, since managers write absolute paths.
    pub(crate) at: PathBuf,
    /// The workspace itself, of which builds see a state.
    pub(crate) origin: PathBuf,
    pub(crate) workspace: Arc<Workspace>,
    /// What else is known of the sources.
    pub(crate) state: Arc<State>,
    pub(crate) sources: Layer,
    /// What is in it.
    pub(crate) taken: Arc<Sources>,
    /// What managers installed.
    pub(crate) installed: Vec<Layer>,
    /// What scripts of the root wrote, the last one first.
    pub(crate) root: Vec<Layer>,
    /// Whether that of the root build is among them.
    pub(crate) is_built_by_root: bool,
    /// Whether files of siblings lie in the folder of the build.
    pub(crate) has_siblings: bool,
}

impl Stack {
    /// What the build's own commands see.
    pub(crate) fn view(&self, folder: &BuildFolder) -> View {
        self.layers(folder, &[folder.fallback(), folder.own_fallback()])
    }

    /// What is seen when the package is packed: nothing of its last version.
    pub(crate) fn view_to_pack(&self, folder: &BuildFolder) -> View {
        self.layers(folder, &[folder.fallback()])
    }

    fn layers(&self, folder: &BuildFolder, below: &[PathBuf]) -> View {
        let siblings = self.has_siblings.then(|| folder.siblings());
        let below = below.iter().filter(|_| self.has_siblings).cloned();
        let paths = |layers: &[Layer]| layers.iter().map(|layer| layer.path().to_owned()).collect::<Vec<_>>();
        let mut lower: Vec<PathBuf> = siblings.into_iter().collect();
        lower.extend(paths(&self.root));
        lower.push(self.sources.path().to_owned());
        lower.extend(below);
        lower.extend(paths(&self.installed));
        View { at: self.at.clone(), lower, upper: folder.upper(), work: folder.work() }
    }

    /// The package at `path`, as its build sees it now.
    pub(crate) fn look(&self, folder: &BuildFolder, path: &PackagePath) -> Look {
        Look::View(Merged::of(&self.view_to_pack(folder)), path.below_root().to_owned())
    }

    /// What the root has for the tests of members that have none.
    pub(crate) fn root_tests(&self) -> Option<Tests> {
        test_script::of_root(self.workspace.manifest().script("test"), None)
    }

    /// A folder of the workspace as commands see it.
    pub(crate) fn seen(&self, folder: &Path) -> PathBuf {
        if folder == Path::new("") { self.at.clone() } else { self.at.join(folder) }
    }
}
