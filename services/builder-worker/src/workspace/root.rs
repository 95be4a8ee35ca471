//! The scripts of the workspace's root: those of an install, the one that builds members, and the tests.

mod choice;
mod clear;
mod last;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use packline_layers::{Draft, Key, Layer, copy_tree};
use packline_workspace::Kind;

use crate::{
    guard::View,
    package_manager::OF_INSTALL,
    phase::{Failure, Runner},
    view::Parts,
};

pub(crate) use choice::{builds, script};
use last::Like;

use super::{
    env,
    install::{INSTALLED, Means, Siblings, install_others},
    making::{Found, Needs, is_own, machine},
    show::{Room, Views, in_copy},
    stack::Stack,
};

/// The script with the tests of the root.
const TEST: &str = "test";

/// Runs the scripts of the root that an install runs, once for a state of the sources; they are not fatal by themselves.
/// True where this build ran them.
///
/// # Errors
/// See [`Failure`]; not where a script fails.
pub(crate) async fn install_scripts(
    stack: &mut Stack,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<bool, Failure> {
    let root = stack.workspace.manifest();
    let scripts = means.package_manager.scripts_of_install(true, |script| root.script(script).is_some());
    // A single package's scripts are its own, and run in its build.
    if stack.has_scripts || scripts.is_empty() || stack.workspace.member_in(Path::new("")).is_some() {
        return Ok(false);
    }
    let base = Base::of(stack, &[], &[]);
    let key = base.key("scripts", &scripts, means)?;
    let made = needs.layer(&key, "the install scripts of the root", runner, async |runner, draft: &mut Draft| {
        for script in scripts {
            base.try_script(script, draft, means, needs, runner).await?;
        }
        let upper = draft.path();
        blocking(move || clear::caches(&upper)).await
    });
    let found = made.await?;
    let is_new = found.is_new;
    stack.root.insert(0, found.layer);
    stack.has_scripts = true;
    Ok(is_new)
}

/// Runs the script of the root that builds members, once for a state of the sources. What it built until it failed
/// stays: each package is checked by itself. True where this build ran it.
///
/// # Errors
/// See [`Failure`]; not where the script fails.
pub(crate) async fn build(
    stack: &mut Stack,
    script: &str,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<bool, Failure> {
    let (found, siblings, _) = built(stack, script, means, needs, runner).await?;
    let is_new = found.is_new;
    stack.root_build_key = Some(found.layer.key().clone());
    stack.root.insert(0, found.layer);
    stack.root_build = Some(siblings);
    Ok(is_new)
}

/// The same once more in place of the one before, with siblings as they are published.
///
/// # Errors
/// See [`Failure`]; not where the script fails.
pub(crate) async fn build_on_published(
    stack: &mut Stack,
    script: &str,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<(), Failure> {
    // What scripts of an install wrote may lie above it.
    let at = stack.root.iter().position(|layer| Some(layer.key()) == stack.root_build_key.as_ref());
    let linked = at.map(|at| (at, stack.root.remove(at)));
    let others = others(stack, Siblings::Published, means, needs, runner).await;
    let built = match others {
        Ok(others) => run_build(stack, script, &others, means, needs, runner).await,
        Err(failure) => Err(failure),
    };
    let layer = match built {
        Ok(found) => found.layer,
        Err(failure) => {
            if let Some((at, linked)) = linked {
                stack.root.insert(at, linked);
            }
            return Err(failure);
        }
    };
    stack.root_build_key = Some(layer.key().clone());
    stack.root.insert(0, layer);
    stack.root_build = Some(Siblings::Published);
    Ok(())
}

/// Runs the tests of the root, once for a state of the sources, on what the root's script `build` makes of them. True
/// where this build ran them.
///
/// # Errors
/// See [`Failure`]; also where they fail.
pub(crate) async fn test(
    stack: &Stack,
    build: Option<&str>,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<bool, Failure> {
    let (build, others) = match (build, stack.root_build) {
        (Some(script), None) => {
            let (found, _, others) = built(stack, script, means, needs, runner).await?;
            (Some(found.layer), others)
        }
        (_, siblings) => {
            let siblings = siblings.unwrap_or(Siblings::Linked);
            (None, others(stack, siblings, means, needs, runner).await?)
        }
    };
    let base = Base::of(stack, build.as_slice(), &others);
    let key = base.key("test", &[TEST], means)?;
    let made = needs.layer(&key, "the tests of the root", runner, async |runner, draft: &mut Draft| {
        while let Err(failure) = base.script(TEST, draft, means, runner).await {
            needs.fix(failure, draft, runner).await?;
        }
        // That it passed is all that is kept.
        let upper = draft.path();
        blocking(move || empty(&upper)).await
    });
    Ok(made.await?.is_new)
}

/// What is installed for members by themselves.
async fn others(
    stack: &Stack,
    siblings: Siblings,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<Vec<Layer>, Failure> {
    match stack.workspace.kind() {
        Kind::Lerna => install_others(stack, siblings, means, needs, runner).await,
        Kind::Workspaces | Kind::Single => Ok(Vec::new()),
    }
}

/// A layer with what the script writes, with which siblings, and what else is installed. Where members install by
/// themselves, siblings are linked, so that it is the same for a state of the sources; where the script fails on that,
/// it runs on those that are published.
async fn built(
    stack: &Stack,
    script: &str,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<(Found, Siblings, Vec<Layer>), Failure> {
    if stack.workspace.kind() != Kind::Lerna {
        let found = run_build(stack, script, &[], means, needs, runner).await?;
        return Ok((found, Siblings::Published, Vec::new()));
    }
    let linked = others(stack, Siblings::Linked, means, needs, runner).await?;
    let found = run_build(stack, script, &linked, means, needs, runner).await?;
    if found.layer.note().unwrap_or_default().is_empty() {
        return Ok((found, Siblings::Linked, linked));
    }
    let published = others(stack, Siblings::Published, means, needs, runner).await?;
    let again = run_build(stack, script, &published, means, needs, runner).await?;
    Ok((Found { is_new: found.is_new || again.is_new, ..again }, Siblings::Published, published))
}

/// A layer with what the script writes, and a line in the log where it failed.
async fn run_build(
    stack: &Stack,
    script: &str,
    others: &[Layer],
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<Found, Failure> {
    let base = Base::of(stack, &[], others);
    let key = base.key("build", &[script], means)?;
    let like = base.like(script, means);
    let what = format!("the script {script} of the root");
    let found = needs
        .layer(&key, &what, runner, async |runner, draft: &mut Draft| {
            let goes_on = match &like {
                Some(like) => base.go_on(like, draft, needs, runner).await?,
                None => false,
            };
            let passed = base.try_script(script, draft, means, needs, runner).await?;
            if !passed && goes_on {
                runner.say(needs.phase, "running it again from the start");
                draft.note(Vec::new());
                let upper = draft.path();
                blocking(move || empty(&upper)).await?;
                base.try_script(script, draft, means, needs, runner).await?;
            }
            let (upper, workspace, taken) = (draft.path(), Arc::clone(&stack.workspace), Arc::clone(&stack.taken));
            blocking(move || clear::all_but_output(&upper, &workspace, &taken)).await
        })
        .await?;
    let note = found.layer.note().unwrap_or_default();
    if !note.is_empty() && !found.is_new {
        runner.say(needs.phase, &String::from_utf8_lossy(&note));
    }
    if let Some(like) = like.filter(|_| found.is_new && note.is_empty()) {
        let (store, key, taken) = (stack.store.clone(), found.layer.key().clone(), Arc::clone(&stack.taken));
        blocking(move || like.remember(&store, &key, &taken)).await?;
    }
    Ok(found)
}

/// What a script of the root sees: no build's files.
struct Base<'a> {
    stack: &'a Stack,
    /// From the top.
    layers: Vec<&'a Layer>,
}

impl<'a> Base<'a> {
    fn of(stack: &'a Stack, above: &'a [Layer], others: &'a [Layer]) -> Self {
        let mut layers: Vec<&Layer> = Vec::new();
        let of_root = match stack.workspace.kind() {
            // The others are those of members.
            Kind::Lerna => stack.installed.last().map_or_else(Default::default, std::slice::from_ref),
            Kind::Workspaces | Kind::Single => &stack.installed,
        };
        let all = above.iter().chain(&stack.root).chain([&stack.sources]).chain(of_root).chain(others);
        for layer in all {
            // No overlay has a layer twice.
            if !layers.iter().any(|known| known.key() == layer.key()) {
                layers.push(layer);
            }
        }
        Self { stack, layers }
    }

    fn key(&self, name: &str, scripts: &[&str], means: &Means<'_>) -> Result<Key, Failure> {
        let env = env::of_phase(&means.phase.env);
        let parts = [name].into_iter().chain(scripts.iter().copied()).chain(self.of_state()).chain(self.installed());
        let parts = parts.chain(env.as_deref());
        Key::of("root", parts).map_err(|error| Failure::infrastructure(error.to_string()))
    }

    /// What the output of a script depends on beside the sources.
    fn like(&self, script: &str, means: &Means<'_>) -> Option<Like> {
        let env = env::of_phase(&means.phase.env);
        let names = [format!("pre{script}"), script.to_owned(), format!("post{script}")];
        let texts = names.iter().map(|name| self.stack.workspace.manifest().script(name).unwrap_or_default());
        Like::new(&self.stack.origin, script, texts.chain(self.installed()).chain(env.as_deref()))
    }

    /// What depends on the state of the sources, from the top.
    fn of_state(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().filter(|layer| !is_installed(layer)).map(|layer| layer.key().digest())
    }

    /// The same set for each member, where each has its own part of it first.
    fn installed(&self) -> BTreeSet<&str> {
        self.layers.iter().filter(|layer| is_installed(layer)).map(|layer| layer.key().digest()).collect()
    }

    /// Copies the output of the last root build to where the next one writes, where that may go on with it. Its layer
    /// may be evicted then, so it is no layer of the view.
    async fn go_on(&self, like: &Like, draft: &Draft, needs: &Needs<'_>, runner: &Runner) -> Result<bool, Failure> {
        let (store, taken, sources) = (needs.store.clone(), Arc::clone(&self.stack.taken), self.stack.sources.path());
        let (like, sources, upper) = (like.clone(), sources.to_owned(), draft.path());
        let copied = tokio::task::spawn_blocking(move || {
            let Some(last) = like.find(&store, &sources, &taken)? else { return Ok(false) };
            match copy_tree(last.path(), &upper) {
                Ok(()) => Ok(true),
                // Such as a file that is closed to its owner.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => empty(&upper).map(|()| false),
                Err(error) => Err(error),
            }
        });
        let copied = copied.await.map_err(io::Error::other).flatten().map_err(|error| machine(&error))?;
        if copied {
            runner.say(needs.phase, "going on with the output of the last root build");
        }
        Ok(copied)
    }

    /// Runs a script, which writes to the draft. False where it fails: that is in the log, and noted.
    async fn try_script(
        &self,
        script: &str,
        draft: &mut Draft,
        means: &Means<'_>,
        needs: &Needs<'_>,
        runner: &mut Runner,
    ) -> Result<bool, Failure> {
        match self.script(script, draft, means, runner).await {
            Err(failure) if is_own(&failure) => {
                let says = format!("warning: the script {script} of the root {}", failure.first_line());
                runner.say(needs.phase, &says);
                draft.note(says.into_bytes());
                Ok(false)
            }
            done => done.map(|()| true),
        }
    }

    /// Runs a script, which writes to the draft, to a good end.
    async fn script(&self, script: &str, draft: &Draft, means: &Means<'_>, runner: &mut Runner) -> Result<(), Failure> {
        let lower: Vec<PathBuf> = self.layers.iter().map(|layer| layer.path().to_owned()).collect();
        let argv = match OF_INSTALL.contains(&script) {
            true => means.package_manager.run_of_install(script, true),
            false => means.package_manager.run_at_root(script),
        };
        let run = async |runner: &mut Runner, room: &Room| means.run(runner, argv, room, Path::new("")).await;
        match &self.stack.views {
            Views::Overlays { at } => {
                let view = View { at: at.clone(), lower, upper: draft.path(), work: draft.work().join("overlay") };
                run(runner, &Room { root: at.clone(), view: Some(view) }).await
            }
            Views::Copies => {
                let linked = self.layers.iter().filter(|layer| is_installed(layer)).count();
                let parts = Parts { linked, copied: self.stack.leading_back.clone(), ..Parts::default() };
                let at = draft.work().join("workspace");
                in_copy(at, draft.path(), lower, script, parts, runner, run).await
            }
        }
    }
}

fn is_installed(layer: &Layer) -> bool {
    layer.key().kind() == INSTALLED
}

/// Removes all that is in a folder.
pub(super) fn empty(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        clear::remove(&entry?.path())?;
    }
    Ok(())
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).flatten().map_err(|error| machine(&error))
}
