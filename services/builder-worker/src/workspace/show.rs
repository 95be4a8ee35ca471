//! How commands see layers: as an overlay, or as a copy where no overlay works.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use packline_layers::remove_tree;
use packline_workspace::Member;

use crate::{
    folder::BuildFolder,
    guard::View,
    isolated::WorkspaceError,
    package_manager::OF_INSTALL,
    phase::{Failure, Runner},
    view::{Copied, Merged, Parts},
};

use super::{making::machine, stack::Stack};

/// Fields that name installed packages which are packed.
const BUNDLED: [&str; 2] = ["bundleDependencies", "bundledDependencies"];
/// A workspace of more files is not copied whole.
const FILES: usize = 2_000;
/// How many lines of a log name what was left out of a copy.
const NAMED: usize = 20;

/// How commands see layers on this machine.
#[derive(Clone, Debug)]
pub(crate) enum Views {
    /// As an overlay that is mounted at this folder: the same one for all builds, since managers write absolute paths.
    Overlays { at: PathBuf },
    /// As a copy in a folder of their own.
    Copies,
}

impl Views {
    /// Where commands of all builds see the root of the workspace; for keys.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Overlays { at } => at.display().to_string(),
            // Not an absolute path, so it is the place of no overlay.
            Self::Copies => "copies".to_owned(),
        }
    }
}

/// Where the commands run that make a layer.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// The root of the workspace, as they see it.
    pub(crate) root: PathBuf,
    /// The overlay that is mounted there.
    pub(crate) view: Option<View>,
}

impl Stack {
    /// Lets commands see the stack as it is now.
    ///
    /// # Errors
    /// When the machine fails, and when the build is stopped.
    pub(crate) async fn show(&mut self, folder: &BuildFolder, runner: &mut Runner) -> Result<(), Failure> {
        let view = self.view(folder);
        self.show_view(view, runner).await
    }

    /// The same for the commands that pack the package: nothing of its last version is there.
    ///
    /// # Errors
    /// As [`Stack::show`].
    pub(crate) async fn show_to_pack(&mut self, folder: &BuildFolder, runner: &mut Runner) -> Result<(), Failure> {
        let view = self.view_to_pack(folder);
        self.show_view(view, runner).await
    }

    async fn show_view(&mut self, view: View, runner: &mut Runner) -> Result<(), Failure> {
        if let Views::Overlays { .. } = self.views {
            runner.view = Some(view);
            return Ok(());
        }
        let is_small = self.is_small().await.map_err(|error| machine(&error))?;
        let parts = self.parts(is_small);
        let known = self.copied.as_ref().map(|copied| copied.left_out().clone()).unwrap_or_default();
        let copied = match self.copied.take() {
            Some(copied) => copied,
            None => Copied::create(&self.at).map_err(|error| failed(error.into()))?,
        };
        let copied = copy(copied, Merged::new(view.at, view.lower), parts, runner).await?;
        say_left_out(copied.left_out().difference(&known), runner);
        self.copied = Some(copied);
        Ok(())
    }

    async fn is_small(&self) -> io::Result<bool> {
        let (state, taken) = (Arc::clone(&self.state), Arc::clone(&self.taken));
        let counted = tokio::task::spawn_blocking(move || Ok(state.files(&taken)?.len() <= FILES)).await;
        counted.map_err(io::Error::other).flatten()
    }

    /// What of the workspace the build copies: in a large one, of members that it does not need, only `package.json`.
    fn parts(&self, is_small: bool) -> Parts {
        let member = |id| self.workspace.member(id);
        let folder = |member: &Member| member.real_folder().to_owned();
        let is_root = |folder: &PathBuf| folder.as_os_str().is_empty();
        let whole: BTreeSet<PathBuf> = self.needed.iter().filter_map(|id| member(*id)).map(folder).collect();
        let others = self.workspace.members().iter().map(folder);
        // A package that is the root may pack all members.
        let left_out = match is_small || whole.iter().any(is_root) {
            true => BTreeSet::new(),
            false => others.filter(|folder| !whole.contains(folder) && !is_root(folder)).collect(),
        };
        let built = self.workspace.member(self.member).map(|member| member.manifest().fields());
        let changes = built.is_some_and(|fields| {
            let is_there = |field: &str| fields.get(field).is_some_and(|value| !value.is_null());
            let script = |name: &&str| fields.get("scripts").is_some_and(|scripts| scripts.get(name).is_some());
            BUNDLED.into_iter().any(is_there) || OF_INSTALL.iter().any(script)
        });
        let linked = if changes { 0 } else { self.installed.len() };
        Parts { left_out, whole, linked, copied: self.leading_back.clone() }
    }

    /// Gathers what the build wrote in a folder of the workspace in [`BuildFolder::upper`]. No command runs then.
    pub(crate) async fn gather(&mut self, folder: &BuildFolder, below: &Path) -> io::Result<()> {
        let Some(copied) = self.copied.take() else { return Ok(()) };
        let (below, upper) = (below.to_owned(), folder.upper());
        let moved = tokio::task::spawn_blocking(move || copied.take_written(&below, &upper, None)).await;
        moved.map_err(io::Error::other).flatten()
    }
}

/// Runs a command of the root in a copy of layers, of which the first is `upper`. What it writes goes there.
///
/// # Errors
/// See [`Failure`]; what a script wrote that failed by itself is in `upper` all the same.
pub(super) async fn in_copy(
    at: PathBuf,
    upper: PathBuf,
    lower: Vec<PathBuf>,
    script: &str,
    parts: Parts,
    runner: &mut Runner,
    run: impl AsyncFnOnce(&mut Runner, &Room) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let created = at.clone();
    let created = tokio::task::spawn_blocking(move || {
        remove_tree(&created)?;
        Copied::create(created)
    });
    let created = created.await.map_err(io::Error::other).flatten().map_err(|error| failed(error.into()))?;
    // Patches are applied by scripts of an install.
    let linked = if OF_INSTALL.contains(&script) { 0 } else { parts.linked };
    let view = Merged::new(&at, [upper.clone()].into_iter().chain(lower.clone()));
    let copied = copy(created, view, Parts { linked, ..parts }, runner).await?;
    let done = run(runner, &Room { root: at.clone(), view: None }).await;
    if done.as_ref().is_err_and(|failure| failure.killed) {
        return done;
    }
    let gathered = tokio::task::spawn_blocking(move || {
        let lower = Merged::new(&at, lower);
        copied.take_written(Path::new(""), &upper, Some(&lower))?;
        remove_tree(&at)
    });
    gathered.await.map_err(io::Error::other).flatten().map_err(|error| machine(&error))?;
    done
}

/// Brings a copy up to date. It is waited for, also where the build is stopped: its folder is removed next.
async fn copy(mut copied: Copied, view: Merged, parts: Parts, runner: &mut Runner) -> Result<Copied, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut copying = tokio::task::spawn_blocking({
        let stop = Arc::clone(&stop);
        move || copied.update(&view, &parts, &stop).map(|()| copied)
    });
    let done = match runner.unless_stopped(&mut copying).await {
        Some(done) => done,
        None => {
            stop.store(true, Ordering::Relaxed);
            copying.await
        }
    };
    done.map_err(|error| failed(io::Error::other(error).into()))?.map_err(failed)
}

fn failed(error: WorkspaceError) -> Failure {
    match error {
        WorkspaceError::BrokenOff => Failure::killed(),
        error => Failure::infrastructure(error.to_string()),
    }
}

fn say_left_out<'p>(paths: impl Iterator<Item = &'p PathBuf>, runner: &Runner) {
    let paths: Vec<&PathBuf> = paths.collect();
    for path in paths.iter().take(NAMED) {
        runner.say("", &format!("left out of the copy: {}", path.display()));
    }
    if let Some(more) = paths.len().checked_sub(NAMED).filter(|more| *more > 0) {
        runner.say("", &format!("left out of the copy: {more} more"));
    }
}
