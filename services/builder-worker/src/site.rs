//! Where one build happens: what it sees, how it calls npm, and which phases it has.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use packline_npm::{Environment, Settings};
use packline_recipe::LintFailure;
use packline_versions::{Offer, Own};
use packline_workspace::Manager;
use semver::Version;

use crate::{
    dependency, environment,
    folder::BuildFolder,
    isolated::{self, WorkspaceError},
    log::Journal,
    look::Look,
    manifest::Manifest,
    npm::{self, Npm},
    package_manager::PackageManager,
    phase::{self, Failure, Runner},
    phases::{Ended, Phases},
    programs::{self, Programs},
    publish_config, registry,
    script::SCRIPTS,
    table::Build,
    worker::Worker,
    workspace::{Ground, Needs, Stack},
};

/// The phase that gets the Node and the package manager of the workspace; it is in no recipe.
pub(crate) const SETUP: &str = "setup";

/// What all steps of one build know.
pub(crate) struct Site<'a> {
    pub(crate) worker: &'a Arc<Worker>,
    pub(crate) build: &'a Arc<Build>,
    pub(crate) registry: Option<String>,
    pub(crate) settings: &'a Settings,
    pub(crate) slot: u32,
    /// Whether phases of the built-in recipe run.
    pub(crate) by_npm: bool,
    /// Whether that of publishing is among them.
    pub(crate) publishes: bool,
}

impl Site<'_> {
    /// Copies, checks, and runs the phases.
    pub(crate) async fn run(
        &self,
        folder: &mut BuildFolder,
        runner: &mut Runner,
        journal: &Journal,
        ended: &mut Ended,
    ) -> Result<(), (Option<String>, Failure)> {
        let Self { worker, build, settings, by_npm, publishes, .. } = *self;
        let early = |failure| (None, failure);
        let permanent = |error| early(Failure::permanent(error));
        let stack = self.take(folder, runner).await.map_err(early)?;
        let folder = &*folder;
        let of_file = worker.recipe.of_file(&build.order);
        let look = match &stack {
            Some(stack) => stack.look(folder, &build.order.package_path),
            None => Look::Folder(folder.package.clone()),
        };
        let manifest = manifest(&look, build, by_npm).map_err(permanent)?;
        ended.version.clone_from(&manifest.version);
        let npm = self.npm(folder, stack.is_some()).await.map_err(early)?;
        if let Some(npm) = &npm {
            let config = &manifest.publish_config;
            let checked = match publishes {
                // Its warnings come with the publish, which checks what the build made of it.
                true => worker.config.publish_config.check(config, &npm.registry, &mut Vec::new()).map(drop),
                false => publish_config::check_registries(config, &npm.registry),
            };
            checked.map_err(early)?;
        }
        if of_file.is_none() && stack.is_none() {
            dependency::check(&manifest).map_err(permanent)?;
        }
        let own_path = runner.env.get("PATH").cloned().unwrap_or_default();
        let programs = match &stack {
            Some(stack) if npm.is_some() => Some(self.set_up(stack, folder, runner, journal, ended).await?),
            _ => None,
        };
        let package_manager = match (&stack, &npm, &programs) {
            (Some(stack), Some(npm), Some(programs)) => Some(package_manager(stack, npm, programs)),
            _ => None,
        };
        if let (Some(programs), Some(package_manager)) = (&programs, &package_manager) {
            runner.env.insert("PATH".to_owned(), programs.path(&own_path));
            runner.env.extend(package_manager.env());
        }
        let phases = match (of_file, &package_manager, &npm) {
            (Some(phases), ..) => phases.to_vec(),
            (None, Some(package_manager), _) => npm::workspace_phases(|script| package_manager.run(script)),
            (None, None, npm) => npm.as_ref().map(Npm::phases).unwrap_or_default(),
        };
        if publishes && !manifest.private && SCRIPTS.iter().any(|script| manifest.has_script(script)) {
            // Before the phases: that of publishing starts npm once. What goes wrong is said when a script is to run.
            let _ = runner.toolchain(&worker.toolchains, &folder.beside()).await;
        }
        if npm.as_ref().is_some_and(|npm| npm.ignore_scripts) {
            // For the scripts of publishing, which run without npm.
            runner.env.insert("npm_config_ignore_scripts".to_owned(), "true".to_owned());
        }
        let (npm, manifest) = (npm.as_ref(), &manifest);
        let lint_warns = stack.is_some() && worker.recipe.workspace().lint == LintFailure::Warn;
        let root_tests = stack.as_ref().and_then(Stack::root_tests);
        let mut phases_of_build = Phases {
            worker,
            build,
            folder,
            stack,
            manifest,
            npm,
            package_manager: package_manager.as_ref(),
            own_path,
            settings,
            runner,
            journal,
            lint_warns,
            root_tests,
            is_prepared: false,
            ended,
        };
        phases_of_build.run(&phases).await
    }

    /// Takes the sources of the workspace, or copies what the package needs of them, where it is built in isolated mode.
    async fn take(&self, folder: &mut BuildFolder, runner: &mut Runner) -> Result<Option<Stack>, Failure> {
        let Self { worker, build, .. } = *self;
        if let Some(ground) = self.ground().await {
            let scratch = worker.scratch.as_ref().map(|scratch| scratch.folder().to_owned()).unwrap_or_default();
            let path = &build.order.package_path;
            if let Some(mut taken) = ground.take(path, folder, &scratch, runner).await? {
                folder.package = taken.seen(path.below_root());
                runner.env = env(build, folder, self.registry.as_deref());
                runner.cwd.clone_from(&folder.package);
                taken.show(folder, runner).await?;
                return Ok(Some(taken));
            }
        }
        copy(worker, build, folder).await.map(|()| None)
    }

    /// What workspace mode needs, where builds are in workspace mode.
    async fn ground(&self) -> Option<Arc<Ground>> {
        let ground = self.worker.ground.clone()?;
        let (looked, path) = (Arc::clone(&ground), self.build.order.package_path.clone());
        let is_workspace = tokio::task::spawn_blocking(move || looked.is_workspace(&path)).await.unwrap_or(false);
        is_workspace.then_some(ground)
    }

    /// The first phase of a build in workspace mode: gets what the others run by.
    async fn set_up(
        &self,
        stack: &Stack,
        folder: &BuildFolder,
        runner: &mut Runner,
        journal: &Journal,
        ended: &mut Ended,
    ) -> Result<Programs, (Option<String>, Failure)> {
        self.build.set_phase(Some(SETUP));
        self.worker.changed.notify_one();
        journal.began(SETUP);
        let started = Instant::now();
        let found = self.programs(stack, folder, runner).await;
        let (report, _) = phase::settle(SETUP, started, None, found.as_ref().map(drop).map_err(Clone::clone), false);
        journal.ended(&report);
        ended.reports.push(report);
        found.map_err(|failure| (Some(SETUP.to_owned()), failure))
    }

    /// The Node and the manager that the workspace asks for.
    async fn programs(&self, stack: &Stack, folder: &BuildFolder, runner: &mut Runner) -> Result<Programs, Failure> {
        let Self { worker, build, settings, .. } = *self;
        let toolchain = runner.toolchain(&worker.toolchains, &folder.beside()).await?;
        let version = |text: &str, what: &str| {
            Version::parse(text).map_err(|_| Failure::infrastructure(format!("the version of {what} is {text:?}")))
        };
        let (node, npm) = (version(toolchain.node_version(), "Node")?, version(toolchain.npm_version(), "npm")?);
        let manager = match stack.workspace.manager() {
            Manager::Npm => Some(Offer { version: npm, node: None }),
            manager => runner.env.get("PATH").and_then(|path| programs::of_machine(manager, path)),
        };
        let own = Own { node, manager };
        let access = registry::access(&worker.config, settings, &settings.registry(None))?;
        let chosen = stack
            .state
            .programs
            .get_or_try_init(async || programs::choose_for(&stack.workspace, &own, &access, runner).await)
            .await?;
        let needs = Needs { store: &stack.store, worker, build, phase: SETUP, fix: None };
        let programs = chosen.install(stack.workspace.manager(), &access, &needs, runner).await?;
        for line in &programs.told {
            runner.say(SETUP, line);
        }
        Ok(programs)
    }

    /// How npm is called. In workspace mode it sees the settings of the workspace, but those that name registries.
    async fn npm(&self, folder: &BuildFolder, in_workspace: bool) -> Result<Option<Npm>, Failure> {
        let Some(registry) = self.registry.clone() else { return Ok(None) };
        let (worker, build) = (self.worker, self.build);
        let mut scopes: BTreeSet<String> = build.order.package_name.scope().map(str::to_owned).into_iter().collect();
        let mut ignore_scripts = false;
        if in_workspace {
            let root = worker.config.workspace_root.clone();
            let read = tokio::task::spawn_blocking(move || Settings::read_in(&root, Environment::default())).await;
            let project = read.map_err(|error| Failure::infrastructure(error.to_string()))?;
            let project = project.map_err(|error| Failure::infrastructure(error.to_string()))?;
            scopes.extend(project.scopes().into_iter().map(str::to_owned));
            ignore_scripts = project.is_on("ignore-scripts");
        }
        let userconfig = folder.settings().join("npmrc");
        let cache = worker.scratch.as_ref().map_or_else(PathBuf::new, |scratch| scratch.cache(self.slot));
        let scopes = scopes.into_iter().collect();
        let npm = Npm { registry, scopes, userconfig, cache, in_workspace, ignore_scripts };
        std::fs::write(&npm.userconfig, npm.settings())
            .map_err(|error| Failure::infrastructure(format!("failed to write npm's settings: {error}")))?;
        Ok(Some(npm))
    }
}

/// The manager of a workspace.
fn package_manager(stack: &Stack, npm: &Npm, programs: &Programs) -> PackageManager {
    let workspace = &stack.workspace;
    let own = workspace.members().iter().filter_map(|member| member.manifest().name()).map(str::to_owned).collect();
    PackageManager::new(workspace.manager(), programs, npm.clone(), own, workspace.is_pnp())
}

/// The rules of `package.json` hold where npm builds or publishes, and where there is one.
fn manifest(look: &Look, build: &Build, by_npm: bool) -> Result<Manifest, String> {
    let name = &build.order.package_name;
    if by_npm {
        Manifest::of_folder(look, Path::new(""), name)
    } else {
        Ok(Manifest::of_folder_if_there(look, name)?.unwrap_or_default())
    }
}

/// Copies what the package needs from the workspace to the folder of its build.
async fn copy(worker: &Worker, build: &Build, folder: &mut BuildFolder) -> Result<(), Failure> {
    let (root, name) = (worker.config.workspace_root.clone(), build.order.package_name.clone());
    let path = build.order.package_path.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let mut copying = tokio::task::spawn_blocking({
        let (stop, mut folder) = (Arc::clone(&stop), folder.clone());
        move || isolated::copy(&mut folder, &root, &path, &name, &stop).map(|()| folder)
    });
    let copied = tokio::select! {
        copied = &mut copying => copied,
        () = build.to_be_killed() => {
            stop.store(true, Ordering::Relaxed);
            // Not waited for: it may hang in a file system that is away. What it has made is removed.
            let folder = folder.clone();
            tokio::spawn(async move {
                let _ = copying.await;
                let _ = tokio::task::spawn_blocking(move || folder.remove()).await;
            });
            return Err(Failure::killed());
        }
    };
    match copied {
        Ok(Ok(copied)) => {
            *folder = copied;
            Ok(())
        }
        Ok(Err(WorkspaceError::Refused(why))) => Err(Failure::permanent(why)),
        Ok(Err(WorkspaceError::BrokenOff)) => Err(Failure::killed()),
        Ok(Err(error)) => Err(Failure::infrastructure(error.to_string())),
        Err(error) => Err(Failure::infrastructure(format!("copying the workspace was broken off: {error}"))),
    }
}

/// What all phases of a build find in their environment.
pub(crate) fn env(build: &Build, folder: &BuildFolder, registry: Option<&str>) -> BTreeMap<String, String> {
    environment::of_build(&build.order, folder, registry, |name| std::env::var(name).ok())
}
