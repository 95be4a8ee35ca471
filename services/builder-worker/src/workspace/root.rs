//! The scripts of the workspace's root: those of an install, and the one that builds members which have none.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use packline_domain::Outcome;
use packline_layers::{Draft, Key, Layer};
use packline_recipe::{RootBuild, WorkspaceOptions};
use packline_workspace::{Kind, Manifest, Member, Workspace};

use crate::{
    npm::Npm,
    phase::{Failure, Runner},
};

use super::{
    install::{Means, SCRIPTS, install_others},
    making::{Found, Needs, machine},
    stack::Stack,
};

/// The script of the root's tests.
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
    let scripts: Vec<&str> = SCRIPTS.into_iter().filter(|script| root.script(script).is_some()).collect();
    // A single package's scripts are its own, and run in its build.
    if scripts.is_empty() || stack.workspace.member_in(Path::new("")).is_some() {
        return Ok(false);
    }
    let what = "the install scripts of the root".to_owned();
    let scripts = Scripts { name: "scripts", scripts, what, are_fatal: false };
    let found = scripts.run(stack, &[], means, needs, runner).await?;
    let is_new = found.is_new;
    stack.root.insert(0, found.layer);
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
    let others = others(stack, means, needs, runner).await?;
    let what = format!("the script {script} of the root");
    let scripts = Scripts { name: "build", scripts: vec![script], what, are_fatal: false };
    let found = scripts.run(stack, &others, means, needs, runner).await?;
    let is_new = found.is_new;
    if let Ok(note) = found.layer.note()
        && !note.is_empty()
    {
        runner.say(needs.phase, &String::from_utf8_lossy(&note));
    }
    stack.root.insert(0, found.layer);
    stack.is_built_by_root = true;
    Ok(is_new)
}

/// Runs the tests of the root, once for a state of the sources, over what the root builds where it builds any member.
/// True where this build ran them.
///
/// # Errors
/// See [`Failure`]; the same one for each package where the tests fail.
pub(crate) async fn test(
    stack: &mut Stack,
    options: &WorkspaceOptions,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<bool, Failure> {
    let workspace = Arc::clone(&stack.workspace);
    let built = workspace.members().iter().find_map(|member| builds(&workspace, member, options));
    let before = stack.root.len();
    if let Some(script) = built.filter(|_| !stack.is_built_by_root) {
        build(stack, &script, means, needs, runner).await?;
    }
    let others = others(stack, means, needs, runner).await?;
    let what = "the tests of the root".to_owned();
    let scripts = Scripts { name: "test", scripts: vec![TEST], what, are_fatal: true };
    let tested = scripts.run(stack, &others, means, needs, runner).await;
    // A package that builds itself sees nothing of what the root builds.
    let new = stack.root.len() - before;
    stack.root.drain(..new);
    Ok(tested?.is_new)
}

/// What is installed for members other than that of the build, where each is installed by itself.
async fn others(
    stack: &Stack,
    means: &Means<'_>,
    needs: &Needs<'_>,
    runner: &mut Runner,
) -> Result<Vec<Layer>, Failure> {
    match stack.workspace.kind() {
        Kind::Lerna => install_others(stack, means, needs, runner).await,
        Kind::Npm | Kind::Single => Ok(Vec::new()),
    }
}

/// Scripts of the root that are run together.
struct Scripts<'a> {
    /// Part of the key of their layer.
    name: &'a str,
    scripts: Vec<&'a str>,
    /// For people.
    what: String,
    /// Whether there is no layer where one fails.
    are_fatal: bool,
}

impl Scripts<'_> {
    /// A layer with what they write.
    async fn run(
        &self,
        stack: &Stack,
        also: &[Layer],
        means: &Means<'_>,
        needs: &Needs<'_>,
        runner: &mut Runner,
    ) -> Result<Found, Failure> {
        // The same for each member: what is installed for others is the same set for all, each in its own order.
        let installed: BTreeSet<&str> = also.iter().chain(&stack.installed).map(|layer| layer.key().digest()).collect();
        let below = stack.root.iter().chain([&stack.sources]).map(|layer| layer.key().digest()).chain(installed);
        let parts = [self.name].into_iter().chain(self.scripts.iter().copied()).chain(below);
        let key = Key::of("root", parts).map_err(|error| Failure::infrastructure(error.to_string()))?;
        let make = async |runner: &mut Runner, draft: &mut Draft| {
            let work = draft.work().join("overlay");
            for script in &self.scripts {
                let view = stack.root_view(also, draft.path(), work.clone());
                let argv = means.npm.run_at_root(script);
                match means.run(runner, argv, &stack.at, view).await {
                    Err(failure) if !self.are_fatal && failure.outcome == Outcome::Failed && !failure.killed => {
                        let says = format!("warning: the script {script} of the root {}", failure.first_line());
                        runner.say(needs.phase, &says);
                        draft.note(says.into_bytes());
                    }
                    done => done?,
                }
            }
            let upper = draft.path();
            let cleared = tokio::task::spawn_blocking(move || clear(&upper, Path::new(""))).await;
            cleared.map_err(io::Error::other).flatten().map_err(|error| machine(&error))
        };
        needs.layer(&key, &self.what, runner, make).await
    }
}

/// Removes what no package is made of and every build would carry: caches of tools.
fn clear(upper: &Path, folder: &Path) -> io::Result<()> {
    let cache: PathBuf = upper.join(folder).join("node_modules/.cache");
    match fs::remove_dir_all(&cache) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The script of the root that builds `member`: `None` where the member builds itself, or the root has none.
pub(crate) fn builds(workspace: &Workspace, member: &Member, options: &WorkspaceOptions) -> Option<String> {
    let is_root = member.real_folder().as_os_str().is_empty();
    let wanted = match options.root_build {
        RootBuild::Never => false,
        RootBuild::Always => true,
        RootBuild::Auto => !member.manifest().is_private() && !builds_itself(member.manifest()),
    };
    let root = workspace.manifest();
    let named = options.root_build_script.as_deref().or_else(|| before_release(root)).unwrap_or("build");
    (wanted && !is_root && root.script(named).is_some()).then(|| named.to_owned())
}

/// Whether a package has a script that its publishing runs and that may build it.
fn builds_itself(manifest: &Manifest) -> bool {
    ["build", "prepack", "prepare", "prepublishOnly"].iter().any(|script| manifest.script(script).is_some())
}

/// The script that the root's release runs before it publishes.
fn before_release(root: &Manifest) -> Option<&str> {
    const NO_BUILD: [&str; 8] = ["test", "lint", "check", "format", "version", "typecheck", "clean", "install"];
    root.scripts().find_map(|(_, command)| {
        let steps: Vec<&str> = command.split(['&', ';', '|']).map(str::trim).filter(|step| !step.is_empty()).collect();
        let publishes = |step: &&str| {
            let words: Vec<&str> = step.split_whitespace().collect();
            let publish = words.iter().position(|word| *word == "publish");
            let by = ["changeset", "lerna", "npm", "pnpm", "yarn", "nx"];
            publish.is_some_and(|at| words.iter().take(at).any(|word| by.contains(word)))
        };
        let release = steps.iter().position(publishes)?;
        let runs = |step: &&str| {
            let mut words = step.split_whitespace();
            let manager = words.next()?;
            let next = words.next()?;
            let script = if matches!(next, "run" | "run-script") { words.next()? } else { next };
            let is_build = !NO_BUILD.iter().any(|word| script.split([':', '-']).any(|part| part == *word));
            let known = root.scripts().map(|(name, _)| name).find(|name| *name == script);
            known.filter(|_| is_build && matches!(manager, "npm" | "pnpm" | "yarn"))
        };
        steps.iter().take(release).rev().find_map(runs)
    })
}

impl Npm {
    /// Runs a script of the root, in its folder.
    fn run_at_root(&self, script: &str) -> Vec<String> {
        self.command(&["run", script])
    }

    /// Runs a script of a member, in its folder. npm need not find out that it is one: that takes longer with each
    /// member, and one that npm does not understand would fail the scripts of all.
    pub(crate) fn run(&self, script: &str) -> Vec<String> {
        self.command(&["run", script, "--workspaces=false"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(scripts: &str) -> Manifest {
        Manifest::parse(format!("{{\"scripts\": {scripts}}}").as_bytes()).unwrap()
    }

    #[test]
    fn the_build_is_what_the_release_runs_before_it_publishes() {
        for (scripts, expected) in [
            (r#"{"release": "npm run compile && changeset publish", "compile": "tsc -b"}"#, Some("compile")),
            (r#"{"release": "pnpm build && changeset publish", "build": "tsdown"}"#, Some("build")),
            (
                r#"{"ci": "npm run build:all && npm test && lerna publish from-package", "build:all": "x", "test": "y"}"#,
                Some("build:all"),
            ),
            (r#"{"release": "npm run gone && npm publish --workspaces", "build": "x"}"#, None),
            (r#"{"release": "changeset publish", "build": "x"}"#, None),
            (r#"{"publish-docs": "npm run site && echo publish", "site": "x"}"#, None),
        ] {
            assert_eq!(before_release(&manifest(scripts)), expected, "{scripts}");
        }
    }
}
