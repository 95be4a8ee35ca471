//! One order: claimed, built below a guard, answered.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use packline_broker::{BuildLog, Message, topology};
use packline_domain::{
    BuildResult, Outcome, SCHEMA,
    message::{PhaseReport, cut_error},
};
use tokio::sync::watch;

use crate::{
    RecipeSetting, environment,
    guard::Guard,
    log::Sink,
    manifest::Manifest,
    npm::{self, Npm},
    permit::{self, Noted},
    phase::{self, Command, Failure, Runner},
    publish::Publish,
    recipe::{Phase, Step, When},
    registry,
    table::{Build, Kill, now},
    worker::{Outgoing, Slot, Worker},
    workspace::{BuildFolder, WorkspaceError},
};

/// How a build ended.
#[derive(Default)]
struct Ended {
    reports: Vec<PhaseReport>,
    failure: Option<(Option<String>, Failure)>,
    version: Option<String>,
    integrity: Option<String>,
}

/// What a build leaves to be cleared up once its result is on its way.
#[derive(Default)]
struct Remains {
    folder: Option<BuildFolder>,
    log: Option<Arc<BuildLog>>,
}

/// Takes one order to its end; the slot is free again when the result is stored and the copy removed.
pub(crate) async fn build(worker: Arc<Worker>, build: Arc<Build>, slot: Slot) {
    let order = &build.order;
    if !permit::claim(&worker, &build).await {
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
    let (ended, remains) = match worker.config.recipe {
        RecipeSetting::None => (without_phases(&build), Remains::default()),
        RecipeSetting::Npm | RecipeSetting::File(_) => run_apart(&worker, &build, slot.number).await,
    };
    build.set_phase(None);
    match result(&build, ended) {
        Some(result) => {
            tell(&result);
            worker.note_outcome(result.outcome);
            build.set_result(Message::json(topology::builds_result(), &result));
            let _ = worker.results.send(Outgoing { build: Arc::clone(&build), slot: Some(Arc::clone(&slot)) });
        }
        None => drop_order(&worker, &build).await,
    }
    clear_up(&build, remains).await;
    drop(slot);
}

async fn drop_order(worker: &Worker, build: &Build) {
    worker.table.forget(&build.order.build_id);
    if let Some(acker) = build.take_acker() {
        acker.ack().await;
    }
}

/// Whether a build may not start, or not go on.
fn is_ended(build: &Build) -> bool {
    build.life.is_blown() || build.killed().is_some()
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

/// Copies, checks, and runs the phases. A failure comes with its phase, where it has one.
async fn run(
    worker: &Arc<Worker>,
    build: &Arc<Build>,
    slot: u32,
    ended: &mut Ended,
    remains: &mut Remains,
) -> Result<(), (Option<String>, Failure)> {
    let early = |failure| (None, failure);
    let registry = tokio::select! {
        registry = registry::of_order(worker, &build.order) => registry.map_err(early)?,
        () = build.to_be_killed() => return Err(early(Failure::killed())),
    };
    let folder = prepare(worker, build).await.map_err(early)?;
    let folder = &*remains.folder.insert(folder);
    let manifest = Manifest::of_folder(&folder.package, &build.order.package_name)
        .map_err(|error| early(Failure::permanent(error)))?;
    ended.version.clone_from(&manifest.version);
    if let Err(refusal) = npm::check_publish_config(&manifest.publish_config, &registry) {
        return Err(early(Failure::permanent(refusal)));
    }
    let npm = npm(worker, build, folder, registry, slot).map_err(early)?;
    let log = remains.log.insert(Arc::new(worker.broker.build_log(&build.order.build_id)));
    let (mut runner, stop) = runner(worker, build, folder, &npm, Arc::clone(log)).map_err(early)?;
    let supervised = tokio::spawn(supervise(Arc::clone(build), stop));
    let mut phases = Phases { worker, build, folder, manifest: &manifest, npm: &npm, runner: &mut runner, ended };
    let done = phases.run().await;
    supervised.abort();
    runner.guard.finish().await;
    done
}

async fn prepare(worker: &Arc<Worker>, build: &Arc<Build>) -> Result<BuildFolder, Failure> {
    let Some(scratch) = &worker.scratch else {
        return Err(Failure::infrastructure("this worker has no scratch folder"));
    };
    let (scratch, root) = (scratch.builds(), worker.config.workspace_root.clone());
    let id = build.order.build_id.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let mut copying = tokio::task::spawn_blocking({
        let stop = Arc::clone(&stop);
        move || BuildFolder::prepare(&scratch, &root, &id, &stop)
    });
    let copied = tokio::select! {
        copied = &mut copying => copied,
        () = build.to_be_killed() => {
            stop.store(true, Ordering::Relaxed);
            // Not waited for: it may hang in a file system that is away. What it has made is removed.
            tokio::spawn(async move {
                if let Ok(Ok(folder)) = copying.await {
                    let _ = tokio::task::spawn_blocking(move || folder.remove()).await;
                }
            });
            return Err(Failure::killed());
        }
    };
    match copied {
        Ok(Ok(folder)) => Ok(folder),
        Ok(Err(WorkspaceError::Refused(why))) => Err(Failure::permanent(why)),
        Ok(Err(WorkspaceError::BrokenOff)) => Err(Failure::killed()),
        Ok(Err(error)) => Err(Failure::infrastructure(error.to_string())),
        Err(error) => Err(Failure::infrastructure(format!("copying the workspace was broken off: {error}"))),
    }
}

fn npm(worker: &Worker, build: &Build, folder: &BuildFolder, registry: String, slot: u32) -> Result<Npm, Failure> {
    let userconfig = folder.settings().join("npmrc");
    std::fs::write(&userconfig, "")
        .map_err(|error| Failure::infrastructure(format!("failed to write npm's settings: {error}")))?;
    let cache = worker.scratch.as_ref().map_or_else(PathBuf::new, |scratch| scratch.cache(slot));
    let scope = build.order.package_name.scope().map(str::to_owned);
    Ok(Npm { registry, scope, userconfig, cache })
}

fn runner(
    worker: &Worker,
    build: &Build,
    folder: &BuildFolder,
    npm: &Npm,
    log: Arc<BuildLog>,
) -> Result<(Runner, watch::Sender<bool>), Failure> {
    let id = build.order.build_id.to_string();
    let guard = Guard::start(&worker.guard_program, &id, build.life.fuse())
        .map_err(|error| Failure::infrastructure(format!("failed to start a guard: {error}")))?;
    let (stop, stopped) = watch::channel(false);
    let sink: Sink = Box::new(move |phase, text| log.line(phase, text));
    let runner = Runner {
        guard,
        env: environment::of_build(&build.order, folder, &npm.registry, |name| std::env::var(name).ok()),
        cwd: folder.package.clone(),
        redactor: worker.redactor.clone(),
        sink,
        stop: stopped,
    };
    Ok((runner, stop))
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

/// The phases of one build, under way.
struct Phases<'a> {
    worker: &'a Worker,
    build: &'a Build,
    folder: &'a BuildFolder,
    manifest: &'a Manifest,
    npm: &'a Npm,
    runner: &'a mut Runner,
    ended: &'a mut Ended,
}

impl Phases<'_> {
    async fn run(&mut self) -> Result<(), (Option<String>, Failure)> {
        for left_out in &self.folder.left_out {
            self.runner.say("install", &format!("left out of the copy: {left_out}"));
        }
        for phase in self.npm.phases() {
            if is_ended(self.build) {
                return Err((None, Failure::killed()));
            }
            if let Some(why) = self.skips(&phase) {
                self.runner.say(&phase.name, &format!("skipped: {why}"));
                self.ended.reports.push(phase::skipped(&phase.name));
                continue;
            }
            self.build.set_phase(Some(&phase.name));
            self.worker.changed.notify_one();
            let started = Instant::now();
            let (done, exit_code) = match &phase.step {
                Step::Run(argv) => self.command(&phase, argv.clone()).await,
                Step::NpmPublish => (self.publish(&phase).await, None),
            };
            self.ended.reports.push(phase::report(&phase.name, started, exit_code, &done));
            done.map_err(|failure| (Some(phase.name), failure))?;
        }
        Ok(())
    }

    fn skips(&self, phase: &Phase) -> Option<String> {
        match (&phase.when, &phase.step) {
            (Some(When::Script(script)), _) if !self.manifest.has_script(script) => {
                Some(format!("package.json has no script {script}"))
            }
            (_, Step::NpmPublish) if self.manifest.private => Some("package.json says private".to_owned()),
            _ => None,
        }
    }

    async fn command(&mut self, phase: &Phase, argv: Vec<String>) -> (Result<(), Failure>, Option<i32>) {
        // What a script of the package prints about npm is the package's own doing.
        let npm = phase.when.is_none();
        let command =
            Command { phase: &phase.name, argv, limits: &phase.limits, env: &phase.env, capture: false, cwd: None };
        match self.runner.command(command).await {
            Ok((end, printed)) => (phase::verdict(&end, &printed, &phase.limits, npm), phase::exit_code(&end)),
            Err(lost) => (Err(lost.into()), None),
        }
    }

    async fn publish(&mut self, phase: &Phase) -> Result<(), Failure> {
        let token = self.worker.config.npm_token.as_ref();
        let publish = Publish {
            name: &self.build.order.package_name,
            npm: self.npm,
            phase,
            folder: self.folder.tarball(),
            private: self.folder.beside(),
            token: token.map(|token| secrecy::ExposeSecret::expose_secret(token).trim()),
            earlier: &self.build.order.integrities,
        };
        let noted = Noted { worker: self.worker, build: self.build, integrity: OnceLock::new() };
        let done = publish.run(self.runner, &noted).await;
        // Said whatever came of it: the registry may have stored it all the same.
        self.ended.integrity = noted.integrity.into_inner();
        let done = done?;
        (self.ended.version, self.ended.integrity) = (Some(done.version), Some(done.integrity));
        Ok(())
    }
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
        fix_attempts: None,
        retry: true,
        worker: build.life.name.clone(),
        started_at: build.taken_at,
        finished_at: now(),
        phases: ended.reports,
        version: ended.version,
        integrity: ended.integrity,
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
    (result.success, result.outcome, result.retry) = (false, outcome, retry);
    (result.error, result.failed_phase) = (Some(cut_error(error)), phase);
    Some(result)
}

/// One line for people.
fn tell(result: &BuildResult) {
    let (name, id) = (&result.package_name, &result.build_id);
    let version = result.version.as_deref().unwrap_or("(no version)");
    let error = result.error.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
    match (&result.outcome, &result.failed_phase) {
        (Outcome::Published, _) => tracing::info!("published {name} {version} (build {id})"),
        (Outcome::Failed | Outcome::TimedOut | Outcome::Infrastructure, Some(phase)) => {
            tracing::info!("phase {phase} failed of {name} (build {id}): {error}");
        }
        (outcome, _) => tracing::info!("{name} ended as {outcome:?} (build {id}): {error}"),
    }
}

/// Removes the copy, and waits a little for the log.
async fn clear_up(build: &Build, remains: Remains) {
    let Remains { folder, log } = remains;
    if let Some(folder) = folder {
        let _ = tokio::task::spawn_blocking(move || folder.remove()).await;
    }
    if let Some(log) = log.and_then(Arc::into_inner) {
        let lost = log.finish().await;
        if lost > 0 {
            tracing::warn!("{lost} pieces of the log of build {} were not stored", build.order.build_id);
        }
    }
}
