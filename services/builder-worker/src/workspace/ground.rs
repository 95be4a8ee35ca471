//! Whether a build sees the whole workspace, and the first layer that it sees: the sources.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use packline_domain::PackagePath;
use packline_layers::{Bounds, Store};
use packline_workspace::{Member, Workspace, WorkspaceError};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    folder::BuildFolder,
    manifest,
    phase::{Failure, Runner},
};

use super::{
    making::machine,
    show::Views,
    siblings::declared,
    sources::{self, Known},
    stack::Stack,
    state::State,
};

/// The most bytes of a `package.json` that is looked into.
const MANIFEST: u64 = 1024 * 1024;

/// Files that say where members are.
const MEMBERS: [&str; 2] = ["lerna.json", "pnpm-workspace.yaml"];

/// Files of managers for which the root is a member like others.
const WITH_ROOT: [&str; 2] = ["pnpm-workspace.yaml", ".yarnrc.yml"];

/// What sources say, or why they are no workspace.
type Understood = Result<Arc<State>, String>;

/// What workspace mode needs of this machine.
pub(crate) struct Ground {
    store: Store,
    views: Views,
    root: PathBuf,
    last: Mutex<Option<Last>>,
}

/// The sources that were read last.
struct Last {
    digest: String,
    /// Or why they are no workspace.
    state: Understood,
}

impl Ground {
    /// Opens the cache in a folder. Blocks.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) fn open(cache: &Path, bounds: Bounds, root: &Path) -> std::io::Result<Self> {
        let store = Store::open(cache, bounds)?;
        let at = store.folder().join("view");
        fs::create_dir_all(&at)?;
        Ok(Self { store, views: Views::Overlays { at }, root: root.canonicalize()?, last: Mutex::default() })
    }

    /// The same for a machine where no overlay works.
    pub(crate) fn with_copies(self) -> Self {
        Self { views: Views::Copies, ..self }
    }

    /// Whether the package at `path` may be a member now: it is below a root that says where its members are, or it is
    /// the root, which is a member for pnpm and Yarn and where there are no others. Blocks.
    pub(crate) fn is_workspace(&self, path: &PackagePath) -> bool {
        let manifest = manifest::read_plain(&self.root.join("package.json"), MANIFEST).ok();
        let manifest = manifest.and_then(|text| packline_json::parse(&text).ok());
        let names_members = |manifest: &Value| manifest.get("workspaces").is_some_and(|value| !value.is_null());
        let has = |files: &[&str]| files.iter().any(|file| self.root.join(file).is_file());
        let has_members = manifest.as_ref().is_some_and(names_members) || has(&MEMBERS);
        let root_is_member = || !has_members || has(&WITH_ROOT);
        if path.is_root() { manifest.is_some() && root_is_member() } else { has_members }
    }

    /// The folder of all layers.
    pub(crate) fn cache(&self) -> &Path {
        self.store.folder()
    }

    /// Takes the sources. `None` where the package at `path` is not a member, and where the sources are no workspace:
    /// it is built in isolated mode.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn take(
        &self,
        path: &PackagePath,
        folder: &mut BuildFolder,
        scratch: &Path,
        runner: &mut Runner,
    ) -> Result<Option<Stack>, Failure> {
        let leave_out = vec![scratch.to_owned()];
        let known = self.known().await;
        let (sources, layer) = sources::take(&self.store, &self.root, folder, leave_out, known, runner).await?;
        let state = match self.state(&sources.digest, layer.path()).await? {
            Ok(state) => state,
            Err(why) => {
                runner.say("", &format!("built in isolated mode: {why}"));
                return Ok(None);
            }
        };
        let workspace = Arc::clone(&state.workspace);
        let below = path.below_root();
        let is_it = |member: &&Member| member.folder() == below || member.real_folder() == below;
        let Some(member) = workspace.members().iter().find(is_it).map(Member::id) else {
            return Ok(None);
        };
        folder.commit.clone_from(&sources.commit);
        folder.left_out = sources.left_out.lines();
        if let Views::Overlays { at } = &self.views {
            folder.root.clone_from(at);
        }
        let mut needed = declared(&workspace, member);
        needed.insert(member);
        let stack = Stack {
            store: self.store.clone(),
            views: self.views.clone(),
            at: folder.root.clone(),
            origin: self.root.clone(),
            workspace,
            state,
            sources: layer,
            taken: Arc::new(sources),
            installed: Vec::new(),
            root: Vec::new(),
            root_build: None,
            root_build_key: None,
            has_scripts: false,
            has_siblings: false,
            member,
            needed,
            leading_back: BTreeSet::new(),
            copied: None,
        };
        Ok(Some(stack))
    }

    /// What the last build found, for the next one to begin with.
    async fn known(&self) -> Option<Known> {
        let last = self.last.lock().await;
        let Last { digest, state } = last.as_ref()?;
        Some(Known::of(digest, &state.as_ref().ok()?.workspace))
    }

    /// What these sources say, or why they are no workspace.
    async fn state(&self, digest: &str, sources: &Path) -> Result<Understood, Failure> {
        let mut last = self.last.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.digest == digest) {
            return Ok(last.state.clone());
        }
        let place = sources.to_owned();
        let read = tokio::task::spawn_blocking(move || Workspace::read(&place)).await;
        let read = read.map_err(|error| machine(&std::io::Error::other(error)))?;
        let state = match read {
            Ok(workspace) => Ok(Arc::new(State::new(workspace))),
            Err(error @ WorkspaceError::NoWorkspace { .. }) => Err(self.told(sources, &error)),
            Err(error @ WorkspaceError::Read { .. }) => return Err(Failure::infrastructure(error.to_string())),
        };
        *last = Some(Last { digest: digest.to_owned(), state: state.clone() });
        Ok(state)
    }

    /// Why there is no workspace, with the paths of the workspace that people know; said once for a state of it.
    fn told(&self, sources: &Path, error: &WorkspaceError) -> String {
        let (layer, root) = (sources.display().to_string(), self.root.display().to_string());
        let why = error.to_string().replace(&layer, &root);
        tracing::warn!("packages are built in isolated mode: {why}");
        why
    }
}
