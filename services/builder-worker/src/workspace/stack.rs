//! The layers that a build in workspace mode sees.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use packline_domain::{PackagePath, phase::Tests};
use packline_layers::{Key, Layer, Store, sources::Sources};
use packline_workspace::{Kind, Manager, MemberId, Workspace};
use serde_json::Value;

use crate::{
    folder::BuildFolder,
    guard::View,
    look::Look,
    test_script,
    view::{Copied, Merged},
};

use super::{install::Siblings, show::Views, state::State};

/// What one build sees, from the bottom up. It grows as the phases go on.
pub(crate) struct Stack {
    pub(crate) store: Store,
    /// How commands see it.
    pub(crate) views: Views,
    /// Where the build's own commands see it.
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
    /// What lies over the sources: what scripts of the root wrote, the last one first, then a lock file that an install has
    /// changed.
    pub(crate) root: Vec<Layer>,
    /// With which siblings the root build has run, where its layer is among them.
    pub(crate) root_build: Option<Siblings>,
    /// The key of that layer.
    pub(crate) root_build_key: Option<Key>,
    /// Whether what the root's scripts of an install wrote is among them.
    pub(crate) has_scripts: bool,
    /// Whether files of siblings lie in the folder of the build.
    pub(crate) has_siblings: bool,
    /// The package that is built.
    pub(crate) member: MemberId,
    /// It, and the members that it may load.
    pub(crate) needed: BTreeSet<MemberId>,
    /// Installed packages that need a member when they run.
    pub(crate) leading_back: BTreeSet<PathBuf>,
    /// What its commands see, where that is a copy.
    pub(crate) copied: Option<Copied>,
}

impl Stack {
    /// What the build's own commands see.
    pub(super) fn view(&self, folder: &BuildFolder) -> View {
        self.layers(folder, &[folder.fallback(), folder.own_fallback()])
    }

    /// What is seen when the package is packed: nothing of its last version.
    pub(super) fn view_to_pack(&self, folder: &BuildFolder) -> View {
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
        let seen = match &self.copied {
            Some(copied) => Merged::plain(copied.at()),
            None => Merged::of(&self.view_to_pack(folder)),
        };
        Look::View(seen, path.below_root().to_owned())
    }

    /// What the root has for the tests of members that have none.
    pub(crate) fn root_tests(&self) -> Option<Tests> {
        test_script::of_root(self.workspace.manifest().script("test"), None)
    }

    /// The root's package.json with the package as its only member: npm looks at all that it names before it packs one.
    /// `None` where the name of the folder would say more than this folder.
    pub(crate) fn manifest_of_one(&self) -> Option<String> {
        let member = self
            .workspace
            .member(self.member)
            .filter(|_| self.is_of_npm() && self.workspace.kind() == Kind::Workspaces)?;
        let folder = member.folder().to_str().filter(|_| member.folder() == member.real_folder())?;
        if folder.is_empty() || folder.contains(['*', '?', '[', ']', '{', '}', '(', ')', '!', '\\']) {
            return None;
        }
        let mut fields = self.workspace.manifest().fields().clone();
        fields.insert("workspaces".to_owned(), vec![folder].into());
        Some(Value::Object(fields).to_string())
    }

    fn is_of_npm(&self) -> bool {
        self.workspace.manager() == Manager::Npm
    }

    /// npm's list of what it has installed in a layer; see [`State::list`].
    pub(super) async fn list(&self, layer: &Layer) -> Option<Arc<Value>> {
        let (state, folder) = (Arc::clone(&self.state), layer.path().to_owned());
        tokio::task::spawn_blocking(move || state.list(&folder)).await.ok()?
    }

    /// A folder of the workspace as commands of the build see it.
    pub(crate) fn seen(&self, folder: &Path) -> PathBuf {
        below(&self.at, folder)
    }
}

/// A folder below a root, which may be the root itself.
pub(super) fn below(root: &Path, folder: &Path) -> PathBuf {
    if folder == Path::new("") { root.to_owned() } else { root.join(folder) }
}
