//! One order: claimed, built below a guard, answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use packline_broker::{Message, topology};
use packline_domain::{BuildResult, Outcome, SCHEMA, message::cut_error, text::published, warning::cut_warnings};
use packline_npm::{Environment, Settings};
use packline_recipe::{LintFailure, Step};
use packline_workspace::MemberId;
use tokio::sync::watch;

use crate::{
    dependency, environment,
    folder::BuildFolder,
    guard::{Guard, Protected},
    isolated::{self, WorkspaceError},
    log::{Journal, Redactor, Sink},
    look::Look,
    manifest::Manifest,
    metrics,
    npm::{self, Npm},
    permit,
    phase::{Failure, Runner},
    phases::{Ended, Phases, is_ended},
    publish_config,
    recipe::Recipe,
    registry,
    script::SCRIPTS,
    table::{Build, Kill, now},
    worker::{Outgoing, Slot, Worker, token},
    workspace::{Ground, Stack},
};

/// What a build leaves to be cleared up once its result is on its way.
#[derive(Default)]
struct Remains {
    folder: Option<BuildFolder>,
    journal: Option<Arc<Journal>>,
}

/// Takes one order, `claimed` or not yet, to its end; the slot is free again when the result is stored and
/// the copy removed.
pub(crate) async fn build(worker: Arc<Worker>, build: Arc<Build>, slot: Slot, claimed: bool) {
    let order = &build.order;
    if !claimed && !permit::claim(&worker, &build).await {
        tracing::debug!("build {} is another's, or nobody's", order.build_id);
        drop_order(&worker, &build).await;
        return;
    }
    tracing::info!(
        "took {} (build {}, attempt {}, permit {})",
        order.package_name,
        order.build_id,
        order.attempt,
        order.permit
    );
    let slot = Arc::new(slot);
    let (ended, remains) = match worker.recipe {
        Recipe::None => (without_phases(&build), Remains::default()),
        Recipe::Npm | Recipe::File(_) => run_apart(&worker, &build, slot.number).await,
    };
    build.set_phase(None);
    let result = result(&build, ended);
    if let Some(journal) = &remains.journal {
        journal.over(result.as_ref());
    }
    match result {
        Some(result) => {
            tell(&result);
            worker.note_outcome(result.outcome);
            if worker.config.health.http_addr.is_some() {
                metrics::ended(&result, build.taken.elapsed());
            }
            build.set_result(Message::json(topology::builds_result(), &result));
            let _ = worker.results.send(Outgoing { build: Arc::clone(&build), slot: Some(Arc::clone(&slot)) });
        }
        None => drop_order(&worker, &build).await,
    }
    if let Some(folder) = remains.folder {
        let _ = tokio::task::spawn_blocking(move || folder.remove()).await;
    }
    drop(slot);
    finish(&worker, &build, remains.journal).await;
}

async fn drop_order(worker: &Worker, build: &Build) {
    worker.table.forget(&build.order.build_id);
    if let Some(acker) = build.take_acker() {
        acker.ack().await;
    }
}

fn without_phases(build: &Build) -> Ended {
    let failure = is_ended(build).then(|| (None, Failure::killed()));
    Ended { failure, ..Ended::default() }
}

/// In a task of its own: a bug in here is one build's failure, not a permit that is held for ever.
async fn run_apart(worker: &Arc<Worker>, build: &Arc<Build>, slot: u32) -> (Ended, Remains) {
    let task = tokio::spawn({
        let (worker, build) = (Arc::clone(worker), Arc::clone(build));
        async move {
            let (mut ended, mut remains) = (Ended::default(), Remains::default());
            if let Err(failure) = run(&worker, &build, slot, &mut ended, &mut remains).await {
                ended.failure = Some(failure);
            }
            (ended, remains)
        }
    });
    let limited = tokio::spawn(limit(Arc::clone(build)));
    let done = task.await.unwrap_or_else(|error| {
        let failure = Failure::infrastructure(format!("the worker failed: {error}"));
        (Ended { failure: Some((None, failure)), ..Ended::default() }, Remains::default())
    });
    limited.abort();
    done
}

/// Makes the build's folder and its guard, and runs the phases below it. A failure comes with its phase, where it has
/// one.
async fn run(
    worker: &Arc<Worker>,
    build: &Arc<Build>,
    slot: u32,
    ended: &mut Ended,
    remains: &mut Remains,
) -> Result<(), (Option<String>, Failure)> {
    let early = |failure| (None, failure);
    let journal = Arc::new(Journal::open(&worker.broker, &build.order.build_id));
    remains.journal = Some(Arc::clone(&journal));
    let settings = tokio::select! {
        settings = settings() => settings.map_err(early)?,
        () = build.to_be_killed() => return Err(early(Failure::killed())),
    };
    let registry = registry::of_order(&worker.config, &build.order, &settings).map_err(early)?;
    let of_file = worker.recipe.of_file(&build.order);
    // What is built in is for packages of npm.
    let has = |is_meant: fn(&Step) -> bool| of_file.is_none_or(|all| all.iter().any(|phase| is_meant(&phase.step)));
    let by_npm = has(|step| !matches!(step, Step::Run(_)));
    let publishes = has(|step| *step == Step::Publish);
    if by_npm && registry.is_none() {
        return Err(early(Failure::infrastructure("npm is not on PATH of this worker")));
    }
    let folder = remains.folder.insert(create(worker, build).map_err(early)?);
    let redactor = redactor(worker, &settings);
    let (mut runner, stop) =
        runner(worker, build, folder, registry.as_deref(), Arc::clone(&journal), redactor).map_err(early)?;
    let supervised = tokio::spawn(supervise(Arc::clone(build), stop));
    let site = Site { worker, build, registry, settings: &settings, slot, by_npm, publishes };
    let done = site.run(folder, &mut runner, &journal, ended).await;
    supervised.abort();
    runner.guard.finish().await;
    done
}

/// What all steps of one build know.
struct Site<'a> {
    worker: &'a Arc<Worker>,
    build: &'a Arc<Build>,
    registry: Option<String>,
    settings: &'a Settings,
    slot: u32,
    /// Whether phases of the built-in recipe run.
    by_npm: bool,
    /// Whether that of publishing is among them.
    publishes: bool,
}

impl Site<'_> {
    /// Copies, checks, and runs the phases.
    async fn run(
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
            Some((stack, _)) => stack.look(folder, &build.order.package_path),
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
        let phases = match (of_file, &npm) {
            (Some(phases), _) => phases.to_vec(),
            (None, Some(npm)) if stack.is_some() => npm::workspace_phases(|script| npm.run(script)),
            (None, npm) => npm.as_ref().map(Npm::phases).unwrap_or_default(),
        };
        if publishes && !manifest.private && SCRIPTS.iter().any(|script| manifest.has_script(script)) {
            // Before the phases: that of publishing starts npm once. What goes wrong is said when a script is to run.
            let _ = runner.toolchain(&worker.toolchain, &folder.beside()).await;
        }
        if npm.as_ref().is_some_and(|npm| npm.ignore_scripts) {
            // For the scripts of publishing, which run without npm.
            runner.env.insert("npm_config_ignore_scripts".to_owned(), "true".to_owned());
        }
        let (npm, manifest) = (npm.as_ref(), &manifest);
        let lint_warns = stack.is_some() && worker.recipe.workspace().lint == LintFailure::Warn;
        let root_tests = stack.as_ref().and_then(|(stack, _)| stack.root_tests());
        let mut phases_of_build = Phases {
            worker,
            build,
            folder,
            stack,
            manifest,
            npm,
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
    async fn take(&self, folder: &mut BuildFolder, runner: &mut Runner) -> Result<Option<(Stack, MemberId)>, Failure> {
        let Self { worker, build, .. } = *self;
        if let Some(ground) = self.ground().await {
            let scratch = worker.scratch.as_ref().map(|scratch| scratch.folder().to_owned()).unwrap_or_default();
            let path = &build.order.package_path;
            if let Some(taken) = ground.take(path, folder, &scratch, runner).await? {
                folder.root = ground.at().to_owned();
                folder.package = taken.0.seen(path.below_root());
                runner.env = env(build, folder, self.registry.as_deref());
                runner.cwd.clone_from(&folder.package);
                runner.view = Some(taken.0.view(folder));
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

async fn settings() -> Result<Settings, Failure> {
    let read = tokio::task::spawn_blocking(registry::settings).await;
    read.unwrap_or_else(|error| Err(Failure::infrastructure(format!("reading npm's settings was broken off: {error}"))))
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

fn create(worker: &Worker, build: &Build) -> Result<BuildFolder, Failure> {
    let Some(scratch) = &worker.scratch else {
        return Err(Failure::infrastructure("this worker has no scratch folder"));
    };
    BuildFolder::create(&scratch.builds(), &build.order.package_path, &build.order.build_id)
        .map_err(|error| Failure::infrastructure(format!("failed to make the folder of the build: {error}")))
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

/// Blanks the worker's own token, and what opens registries by npm's settings: a script may read it where npm does.
fn redactor(worker: &Worker, settings: &Settings) -> Redactor {
    let secrets = settings.secrets();
    Redactor::new(token(&worker.config).into_iter().chain(secrets.iter().map(String::as_str)))
}

fn runner(
    worker: &Worker,
    build: &Build,
    folder: &BuildFolder,
    registry: Option<&str>,
    journal: Arc<Journal>,
    redactor: Redactor,
) -> Result<(Runner, watch::Sender<bool>), Failure> {
    let id = build.order.build_id.to_string();
    let guard = Guard::start(&worker.guard_program, &id, build.life.fuse())
        .map_err(|error| Failure::infrastructure(format!("failed to start a guard: {error}")))?;
    let (stop, stopped) = watch::channel(false);
    let sink: Sink = Box::new(move |phase, text| journal.lines(phase, &text));
    let runner = Runner {
        guard,
        env: env(build, folder, registry),
        cwd: folder.package.clone(),
        protected: protected(worker),
        view: None,
        redactor,
        sink,
        stop: stopped,
    };
    Ok((runner, stop))
}

fn env(build: &Build, folder: &BuildFolder, registry: Option<&str>) -> BTreeMap<String, String> {
    environment::of_build(&build.order, folder, registry, |name| std::env::var(name).ok())
}

/// The source of all copies, but for what this worker itself has there.
fn protected(worker: &Worker) -> Option<Protected> {
    let except = worker.scratch.as_ref()?.folder().to_owned();
    let folder = worker.config.workspace_root.canonicalize().ok()?;
    Some(Protected { folder, except })
}

/// Kills the build at its deadline.
async fn limit(build: Arc<Build>) {
    let left = Duration::from_secs(build.order.deadline_seconds).saturating_sub(build.taken.elapsed());
    tokio::time::sleep(left).await;
    build.kill(Kill::Deadline);
}

/// Stops the phases when the build is to be killed.
async fn supervise(build: Arc<Build>, stop: watch::Sender<bool>) {
    build.to_be_killed().await;
    stop.send_replace(true);
    stop.closed().await;
}

/// What is said to the orchestrator; nothing where nobody waits for it.
fn result(build: &Build, ended: Ended) -> Option<BuildResult> {
    let order = &build.order;
    let mut result = BuildResult {
        schema: SCHEMA,
        build_id: order.build_id.clone(),
        attempt: order.attempt,
        permit: order.permit,
        permit_revision: build.revision(),
        package_name: order.package_name.clone(),
        success: true,
        outcome: Outcome::Published,
        error: None,
        failed_phase: None,
        fix_attempts: (ended.fix_attempts > 0).then_some(ended.fix_attempts),
        retry: true,
        worker: build.life.name.clone(),
        started_at: build.taken_at,
        finished_at: now(),
        phases: ended.reports,
        version: ended.version,
        integrity: ended.integrity,
        warnings: cut_warnings(ended.warnings),
        private: ended.private,
        tests: ended.tests,
    };
    let Some((phase, failure)) = ended.failure else { return Some(result) };
    let killed = build.killed().or_else(|| (failure.killed || build.life.is_blown()).then_some(Kill::FuseBlown));
    let why = |outcome, error: String| (outcome, true, error);
    let (outcome, retry, error) = match killed {
        Some(Kill::Gone) => return None,
        Some(Kill::Withdrawn) => why(Outcome::Cancelled, "killed: its permit was withdrawn".to_owned()),
        Some(Kill::Deadline) => {
            why(Outcome::TimedOut, format!("killed: it took longer than the {} s it may", order.deadline_seconds))
        }
        Some(Kill::Stopping) => why(Outcome::Returned, "handed back: the worker stops".to_owned()),
        Some(Kill::FuseBlown) => {
            why(Outcome::Returned, "handed back: the worker could not reach the broker".to_owned())
        }
        None => (failure.outcome, failure.retry, failure.error),
    };
    let error = phase.as_ref().map_or_else(|| error.clone(), |phase| format!("{phase}: {error}"));
    (result.success, result.private, result.outcome, result.retry) = (false, false, outcome, retry);
    (result.error, result.failed_phase) = (Some(cut_error(error)), phase);
    Some(result)
}

/// One line for people.
fn tell(result: &BuildResult) {
    let (name, id) = (&result.package_name, &result.build_id);
    let version = result.version.as_deref().unwrap_or("(no version)");
    let error = result.error.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
    match (&result.outcome, &result.failed_phase) {
        (Outcome::Published, _) => tracing::info!("{} {name} {version} (build {id})", published(result.private)),
        (Outcome::Failed | Outcome::TimedOut | Outcome::Infrastructure, Some(phase)) => {
            tracing::info!("phase {phase} failed of {name} (build {id}): {error}");
        }
        (outcome, _) => tracing::info!("{name} ended as {outcome:?} (build {id}): {error}"),
    }
}

/// Waits a little for the log. Nobody waits for this but a worker that leaves.
async fn finish(worker: &Worker, build: &Build, journal: Option<Arc<Journal>>) {
    let _last_words = worker.last_words.read().await;
    if let Some(journal) = journal.and_then(Arc::into_inner) {
        let lost = journal.finish().await;
        if lost > 0 {
            tracing::warn!("{lost} pieces of the log of build {} are not known to be stored", build.order.build_id);
        }
    }
}
