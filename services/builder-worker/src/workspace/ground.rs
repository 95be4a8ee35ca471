//! Whether a build sees the whole workspace, and the first layer that it sees: the sources.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use packline_domain::PackagePath;
use packline_layers::{Bounds, Store};
use packline_workspace::{Member, MemberId, Workspace};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    folder::BuildFolder,
    manifest,
    phase::{Failure, Runner},
};

use super::{
    making::machine,
    sources::{self, Known},
    stack::Stack,
    state::State,
};

/// The most bytes of a `package.json` that is looked into.
const MANIFEST: u64 = 1024 * 1024;

/// What workspace mode needs of this machine.
pub(crate) struct Ground {
    store: Store,
    /// Where views are mounted.
    at: PathBuf,
    root: PathBuf,
    /// That of the last build.
    last: Mutex<Option<Arc<State>>>,
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
        Ok(Self { store, at, root: root.canonicalize()?, last: Mutex::default() })
    }

    /// Whether there is a workspace now: one whose root says where its members are. Blocks.
    pub(crate) fn is_workspace(&self) -> bool {
        let manifest = manifest::read_plain(&self.root.join("package.json"), MANIFEST).ok();
        let manifest = manifest.and_then(|text| packline_json::parse(&text).ok());
        let names_members = |manifest: &Value| manifest.get("workspaces").is_some_and(|value| !value.is_null());
        manifest.as_ref().is_some_and(names_members) || self.root.join("lerna.json").is_file()
    }

    /// The folder of all layers.
    pub(crate) fn cache(&self) -> &Path {
        self.store.folder()
    }

    /// Where the workspace is, as commands see it.
    pub(crate) fn at(&self) -> &Path {
        &self.at
    }

    /// Takes the sources. `None` where the package at `path` is not a member: it is built in isolated mode.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn take(
        &self,
        path: &PackagePath,
        folder: &mut BuildFolder,
        scratch: &Path,
        runner: &mut Runner,
    ) -> Result<Option<(Stack, MemberId)>, Failure> {
        let known = self.last.lock().await.as_deref().map(Known::of);
        let leave_out = vec![scratch.to_owned()];
        let (sources, layer) = sources::take(&self.store, &self.root, folder, leave_out, known, runner).await?;
        let state = self.state(&sources.digest, layer.path()).await?;
        let workspace = Arc::clone(&state.workspace);
        let below = path.below_root();
        let is_it = |member: &&Member| member.folder() == below || member.real_folder() == below;
        let Some(member) = workspace.members().iter().find(is_it).map(Member::id) else {
            return Ok(None);
        };
        folder.commit.clone_from(&sources.commit);
        folder.left_out = sources.left_out.lines();
        let stack = Stack {
            store: self.store.clone(),
            at: self.at.clone(),
            workspace,
            state,
            sources: layer,
            taken: Arc::new(sources),
            installed: Vec::new(),
            root: Vec::new(),
            has_siblings: false,
        };
        Ok(Some((stack, member)))
    }

    async fn state(&self, digest: &str, sources: &Path) -> Result<Arc<State>, Failure> {
        let mut last = self.last.lock().await;
        if let Some(state) = last.as_ref().filter(|state| state.digest == digest) {
            return Ok(Arc::clone(state));
        }
        let place = sources.to_owned();
        let read = tokio::task::spawn_blocking(move || Workspace::read(&place)).await;
        let read = read.map_err(|error| machine(&std::io::Error::other(error)))?;
        let workspace = read.map_err(|error| Failure::permanent(error.to_string()))?;
        let state = Arc::new(State::new(digest.to_owned(), workspace));
        *last = Some(Arc::clone(&state));
        Ok(state)
    }
}
