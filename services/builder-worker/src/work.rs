//! One order: claimed, built below a guard, answered.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use packline_broker::{Message, topology};
use packline_domain::{BuildResult, Outcome, SCHEMA, message::cut_error, text::published, warning::cut_warnings};
use packline_npm::Settings;
use packline_recipe::Step;
use tokio::sync::watch;

use crate::{
    folder::BuildFolder,
    guard::{Guard, Protected},
    log::{Journal, Redactor, Sink},
    metrics, permit,
    phase::{Failure, Runner},
    phases::{Ended, is_ended},
    recipe::Recipe,
    registry,
    site::{self, Site},
    table::{Build, Kill, now},
    worker::{Outgoing, Slot, Worker, token},
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

async fn settings() -> Result<Settings, Failure> {
    let read = tokio::task::spawn_blocking(registry::settings).await;
    read.unwrap_or_else(|error| Err(Failure::infrastructure(format!("reading npm's settings was broken off: {error}"))))
}

fn create(worker: &Worker, build: &Build) -> Result<BuildFolder, Failure> {
    let Some(scratch) = &worker.scratch else {
        return Err(Failure::infrastructure("this worker has no scratch folder"));
    };
    BuildFolder::create(&scratch.builds(), &build.order.package_path, &build.order.build_id)
        .map_err(|error| Failure::infrastructure(format!("failed to make the folder of the build: {error}")))
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
        env: site::env(build, folder, registry),
        cwd: folder.package.clone(),
        protected: protected(worker),
        view: None,
        redactor,
        sink,
        stop: stopped,
    };
    Ok((runner, stop))
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
        fix_attempts: Some(ended.fix_attempts.load(Ordering::Relaxed)).filter(|attempts| *attempts > 0),
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
        None => (failure.outcome, failure.retry && !failure.certain, failure.error),
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
