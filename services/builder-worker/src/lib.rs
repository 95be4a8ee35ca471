//! Takes build orders and runs their phases, each build below a guard of its own.
//!
//! An order is taken by one compare-and-set on its permit, built in a view or a private copy of the workspace, and
//! answered on `builds.result`; from before the first to after the last it stands in the worker's table.
//! Whatever happens to the worker, the [`guard`] sees to it that none of the build's processes outlives
//! the time in which the leader could give the package to somebody else.

mod acks;
mod config;
mod dependency;
pub mod document;
pub mod entry;
pub mod environment;
mod error_code;
pub mod folder;
mod git;
pub mod guard;
mod heartbeat;
mod installed;
pub mod isolated;
mod life;
pub mod log;
pub mod look;
pub mod manifest;
mod metrics;
pub mod npm;
mod orders;
pub mod pack;
mod package_manager;
mod permit;
pub mod phase;
mod phases;
mod programs;
pub mod publish;
pub mod publish_config;
pub mod put;
mod recipe;
mod registry;
mod rest;
mod results;
mod scratch;
pub mod script;
mod site;
mod table;
mod tag;
pub mod test_script;
mod upload;
pub mod view;
mod work;
mod worker;
pub mod workspace;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use packline_broker::{Broker, ConnectError};
use packline_layers::Bounds;
use packline_recipe::WorkspaceMode;
use packline_service::{Health, Shutdown, Unusable};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

pub use config::{Config, RecipeSetting};
use recipe::Recipe;
use scratch::Scratch;
use table::Kill;
use view::Support;
use worker::Worker;
use workspace::Ground;

/// For handing back what was killed, after GRACE.
const HAND_BACK: Duration = Duration::from_secs(10);

/// For the logs of the last builds.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Packs a folder, as a command of a phase.
pub(crate) const PACK: &str = "pack";
/// Makes the request that publishes, as a command of a phase.
pub(crate) const PUT: &str = "put";
/// Takes the sources of a workspace, as a command of a build.
pub(crate) const SOURCES: &str = "sources";

/// Plays the part that the arguments of this process name: a guard or a link below one, or what a phase runs
/// of this program. Call it first in `main`, before any thread is started.
pub fn subcommand() -> Option<ExitCode> {
    guard::subcommand().or_else(|| match std::env::args_os().nth(1)?.to_str()? {
        PACK => Some(pack::run()),
        PUT => Some(put::run()),
        SOURCES => Some(workspace::sources::run()),
        _ => None,
    })
}

/// Builds until it is asked to stop.
///
/// # Errors
/// [`Unusable`] where the settings or this machine cannot work; anything else where a part of it failed.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let recipe = Recipe::load(&config.recipe)?;
    check(&config, &recipe)?;
    // Builds are not to read tokens out of this process, where they run as the same user.
    nix::sys::prctl::set_dumpable(false).context("failed to close this process to others")?;
    let health = Health::start(&config.health, Duration::from_secs(60), &shutdown).await?;
    let broker = tokio::select! {
        broker = health.waiting(connect(&config)) => broker?,
        () = shutdown.requested() => return Ok(()),
    };
    let scratch = scratch(&config)?;
    let ground = ground(&config, &recipe, scratch.as_ref()).await?;
    let (results, waiting) = mpsc::unbounded_channel();
    let worker = Arc::new(Worker::new(config, recipe, broker, scratch, ground, results));
    tracing::info!("{} takes up to {} builds at a time", worker.life().name, worker.config.slots);
    let (ready, shown) = (Arc::clone(&worker), Arc::clone(&worker));
    health.ready_when(move || metrics::ready(&ready));
    health.refresh_with(move || metrics::refresh(&shown));
    let mut parts = JoinSet::new();
    let mut part = |name: &'static str, task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        parts.spawn(async move {
            task.await;
            name
        });
    };
    part("heartbeat", Box::pin(heartbeat::beat(Arc::clone(&worker), health)));
    part("fuse", Box::pin(heartbeat::watch_fuse(Arc::clone(&worker))));
    part("permits", Box::pin(permit::follow(Arc::clone(&worker))));
    part("nudges", Box::pin(permit::listen(Arc::clone(&worker))));
    part("orders", Box::pin(orders::take(Arc::clone(&worker))));
    part("progress", Box::pin(orders::keep(Arc::clone(&worker))));
    part("acks", Box::pin(acks::send(Arc::clone(&worker))));
    part("results", Box::pin(results::send(Arc::clone(&worker), waiting)));
    tokio::select! {
        () = shutdown.requested() => {}
        ended = parts.join_next() => {
            let name = ended.transpose().context("a part of the worker failed")?;
            anyhow::bail!("the part `{}` of the worker ended", name.unwrap_or("all"));
        }
    }
    stop(&worker).await;
    // No heartbeat may write the key again once it is gone.
    parts.shutdown().await;
    let _ = timeout(Duration::from_secs(2), worker.workers.delete(&worker.life().name)).await;
    let clear_up = move || worker.scratch.as_ref().map(Scratch::remove);
    tokio::task::spawn_blocking(clear_up).await.context("failed to clear up")?;
    Ok(())
}

/// Settings that cannot work are said before anything is waited for.
fn check(config: &Config, recipe: &Recipe) -> anyhow::Result<()> {
    if matches!(recipe, Recipe::None) {
        return Ok(());
    }
    let root = &config.workspace_root;
    if !root.is_dir() {
        return unusable(format!("WORKSPACE_ROOT is a folder with packages in it; {} is none", root.display()));
    }
    if recipe.builds_by_npm() && !registry::npm_is_there() {
        return unusable(
            "npm is not on PATH: install Node 20 or newer with npm 10.5.2 or newer, or set RECIPE to a file with phases of your own".to_owned(),
        );
    }
    if let Some(version) = registry::outdated_npm().filter(|_| recipe.builds_by_npm()) {
        let oldest = registry::OLDEST_NPM;
        return unusable(format!("npm {version} is on PATH, and publishing needs {oldest} or newer: install Node 22"));
    }
    Ok(())
}

fn unusable<T>(why: String) -> anyhow::Result<T> {
    Err(Unusable(why).into())
}

/// The broker, with all that the orchestrator creates.
async fn connect(config: &Config) -> anyhow::Result<Broker> {
    let broker = match Broker::connect(&config.nats, "builder-worker").await {
        Ok(broker) => broker,
        Err(ConnectError::Settings(why)) => return unusable(why),
        Err(error) => return Err(error.into()),
    };
    broker.await_topology().await?;
    Ok(broker)
}

fn scratch(config: &Config) -> anyhow::Result<Option<Scratch>> {
    if config.recipe == RecipeSetting::None {
        return Ok(None);
    }
    let base = config.scratch.clone().unwrap_or_else(|| std::env::temp_dir().join("packline-scratch"));
    let identity = format!("{}-{:08x}", std::process::id(), fastrand::u32(..));
    match Scratch::open(&base, &identity) {
        Ok(scratch) => Ok(Some(scratch)),
        Err(error) => unusable(format!("SCRATCH is a folder that can be written to; {}: {error}", shown(&base))),
    }
}

/// What workspace mode needs; `None` where the recipe wants isolated mode.
async fn ground(config: &Config, recipe: &Recipe, scratch: Option<&Scratch>) -> anyhow::Result<Option<Arc<Ground>>> {
    let Some(scratch) = scratch.filter(|_| recipe.workspace().mode == WorkspaceMode::Workspace) else {
        return Ok(None);
    };
    let cache = config.cache.clone().unwrap_or_else(default_cache);
    let bounds = Bounds { bytes: config.cache_size, age: config.cache_age };
    match Ground::open(&cache, bounds, &config.workspace_root) {
        Ok(ground) => {
            let support = view::probe(guard::OWN_PROGRAM.as_ref(), scratch.folder(), ground.cache()).await;
            Ok(Some(Arc::new(if support == Support::Overlay { ground } else { ground.with_copies() })))
        }
        Err(error) => unusable(format!("CACHE is a folder that can be written to; {}: {error}", shown(&cache))),
    }
}

/// In the user's cache folder, as the XDG base directory specification has it.
fn default_cache() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let of_user = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    of_user.unwrap_or_else(std::env::temp_dir).join("packline/layers")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Takes no more orders, lets builds finish within GRACE, hands back the others, and leaves.
async fn stop(worker: &Worker) {
    let until = Instant::now() + worker.config.grace;
    worker.stop();
    tracing::info!("stopping: builds may finish within {} s", worker.config.grace.as_secs_f64());
    heartbeat::beat_once(worker, &worker.life()).await;
    if timeout_at(until, worker.slots.all_free()).await.is_err() {
        for build in worker.table.all() {
            if !build.is_over() {
                build.kill(Kill::Stopping);
            }
        }
        if timeout(HAND_BACK, worker.slots.all_free()).await.is_err() {
            tracing::warn!("the broker did not take all results: the leader will count those builds as lost");
        }
    }
    // Without it they are delivered again, and dropped.
    let _ = timeout(Duration::from_secs(2), worker.acks.flush()).await;
    let _ = timeout(LAST_WORDS, worker.last_words.write()).await;
}
