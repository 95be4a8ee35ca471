//! `packline up`: the whole line on a workspace of one's own, kept between starts.

mod plant;
mod site;
#[cfg(test)]
mod tests;
mod verdict;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use packline_broker::{Broker, BucketName, Entry, StreamName};
use packline_domain::{
    PackageName, Timestamp,
    record::{Queue, State},
};
use packline_local::registry::{HeldVersions, Source};
use packline_recipe::{Recipe, RecipeError};
use packline_service::{Shutdown, Unusable};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    last_poll, say, stop_with_the_terminal,
    view::{
        board::Board,
        follow::follow,
        observer::{Observer, Rest},
        progress::Progress,
        remarks, table,
        warnings::Warnings,
    },
};
use plant::Plant;
use site::Site;
pub(crate) use site::named;
use verdict::{Held, Patience};

/// How often the workspace is looked at for new packages and versions; the poller asks as often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Recipes that are no files.
const BUILT_IN: [&str; 2] = ["none", "npm"];

/// How the line runs on a workspace
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The workspace, or one package: the folder of its package.json. What is kept goes to its .packline
    #[arg(long, value_name = "DIR")]
    workspace: PathBuf,
    /// Builds at a time; 4 at first, and kept for later starts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_concurrent: Option<u32>,
    /// Worker processes, which share the builds between them
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// A recipe file in place of npm's phases (see `packline recipe check`), or `none`
    #[arg(long, value_name = "FILE")]
    recipe: Option<String>,
    /// Stop when nothing is left to do; exit status 0 if all packages are published, else 1
    #[arg(long)]
    once: bool,
}

/// Why the line ends.
enum End {
    /// Nothing is left to do.
    Over,
    /// Somebody asked for it.
    Asked,
    /// It was drained.
    Drained,
}

/// Runs the line until it is asked to stop, or, with `--once`, until nothing is left to do.
pub(crate) async fn run(settings: &Settings, shutdown: &Shutdown) -> anyhow::Result<()> {
    stop_with_the_terminal(shutdown)?;
    settings.check_recipe()?;
    let site = Site::open(&settings.workspace)?;
    let started_at = crate::now();
    let (found, published) = site.scan().map_err(|error| Unusable(with_causes(&error)))?;
    for note in &found.notes {
        say(note)?;
    }
    let held = Held::of(&found, published, started_at);
    if settings.once && held.versions.is_empty() {
        bail!(
            "{} has no packages; `workspaces` of its package.json, or `packages` of its lerna.json, name their folders",
            site.workspace.display()
        );
    }
    let plant = tokio::select! {
        plant = Plant::start(&site, settings, &site.held) => plant.map_err(crate::name_what_is_missing)?,
        () = shutdown.requested() => return settings.asked_to_stop("Stopped before the line was up."),
    };
    say(&plant.summary(&site, held.versions.len()))?;
    let held = Mutex::new(held);
    let end = tokio::select! {
        watched = watch(&plant, settings, &site, &held, started_at, shutdown) => watched,
        error = site.look_again(LOOK_EVERY, &held) => Err(error),
        () = shutdown.requested(), if !settings.once => Ok(End::Asked),
        (process, status) = plant.first_end() => if plant::is_drained(process, status) { Ok(End::Drained) } else {
            Err(anyhow::anyhow!(
                "{} ended ({status}) and should not have; its last words:\n{}", process.name(), process.last_lines(10)
            ))
        },
    };
    stop(plant, shutdown).await?;
    match end? {
        End::Over => Ok(()),
        End::Asked => settings.asked_to_stop("Stopped; the same command goes on where this was."),
        End::Drained if settings.once => bail!("drained before the end; the same command starts it again"),
        End::Drained => say("Drained; the same command starts it again."),
    }
}

/// Stops all parts; asked once more, kills them.
async fn stop(plant: Plant, shutdown: &Shutdown) -> anyhow::Result<()> {
    let listening = "failed to listen for signals";
    let mut interrupt = signal(SignalKind::interrupt()).context(listening)?;
    let mut terminate = signal(SignalKind::terminate()).context(listening)?;
    if shutdown.is_requested() {
        // Who closed the terminal does not read this.
        let _ = say(&format!("Stopping; builds get {} s, Ctrl-C again kills them.", plant::GRACE.as_secs()));
    }
    tokio::select! {
        () = plant.stop() => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// An error and its causes in one line, each once: some say theirs themselves.
fn with_causes(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !said.ends_with(&cause) {
            said = if said.is_empty() { cause } else { format!("{said}: {cause}") };
        }
    }
    said
}

/// Shows the pipeline; with `--once` until nothing is left to do or somebody asks to stop, and then what became of it.
async fn watch(
    plant: &Plant,
    settings: &Settings,
    site: &Site,
    held: &Mutex<Held>,
    started_at: Timestamp,
    shutdown: &Shutdown,
) -> anyhow::Result<End> {
    let mut observer = Observer::new(&plant.broker);
    let mut progress = Progress::on_stdout();
    let broker = plant.broker_url();
    let known = |board: &Board| {
        hold_queued(&site.held, board);
        let mut all: BTreeSet<String> = lock(held).versions.keys().cloned().collect();
        all.extend(board.queue.keys().map(ToString::to_string));
        all.into_iter().collect()
    };
    let (mut said, mut halted, mut patience) = (None, None, Patience::default());
    let mut warnings = Warnings::since(started_at);
    let over = async |observer: &Observer, progress: &mut Progress| {
        if let Some(control) = &observer.board.control {
            let now = verdict::halted(control, &broker);
            if let Some(line) = now.as_ref().filter(|line| halted.as_ref() != Some(*line)) {
                progress.say(line)?;
            }
            halted = now;
        }
        for line in warnings.news(&observer.board) {
            progress.say(&line)?;
        }
        if !settings.once {
            return Ok(false);
        }
        let since = started_at.max(lock(held).since);
        let Some(last) = last_poll(&plant.broker).await.filter(|last| last.at >= since) else { return Ok(false) };
        if last.error.is_some() {
            if last.error != said {
                progress
                    .say(&format!("the poll failed, and goes on: {}", last.error.as_deref().unwrap_or_default()))?;
                said = last.error;
            }
            return Ok(false);
        }
        match rest(&plant.broker, observer, held).await? {
            Rest::Busy => Ok(false),
            Rest::Halted => Ok(true),
            Rest::Idle if !patience.is_news(last.at) => Ok(false),
            Rest::Idle => {
                let board = observer.final_board().await?;
                Ok(patience.is_over(last.at, &lock(held), &board))
            }
        }
    };
    let followed = tokio::select! {
        followed = follow(&mut observer, &mut progress, known, over) => Some(followed),
        () = shutdown.requested(), if settings.once => None,
    };
    progress.finish();
    let held = lock(held).clone();
    let Some(followed) = followed else {
        let missing = held.missing(&observer.board);
        if !missing.is_empty() {
            // Who closed the terminal does not read this.
            let _ = say(&table::table(missing.iter().copied(), &observer.board, &held.versions));
        }
        return Ok(End::Asked);
    };
    followed?;
    let board = observer.final_board().await?;
    for line in warnings.news(&board).into_iter().chain(warnings.summary()) {
        say(&line)?;
    }
    conclude(&board, &held, &broker).map(|()| End::Over)
}

/// Holds what was announced, by whomever, and not cancelled: it will be built.
fn hold_queued(held: &HeldVersions, board: &Board) {
    let is_wanted = |record: &&Queue| !matches!(record.state, State::Cancelled { .. });
    if board.is_whole {
        held.renew(Source::Queue, board.queue.values().filter(is_wanted).map(|record| named(&record.package)));
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anything is announced, queued, building or unreported. A broker that does not answer is busy.
async fn rest(broker: &Broker, observer: &Observer, held: &Mutex<Held>) -> anyhow::Result<Rest> {
    for (stream, consumer) in [(StreamName::Packages, "orchestrator"), (StreamName::Status, "catalogue")] {
        let Ok(state) = broker.pending(stream, consumer).await else { return Ok(Rest::Busy) };
        let waiting = state.pending + state.ack_pending;
        if waiting > 0 && (stream != StreamName::Status || waiting > refused_for_good(broker, held).await?) {
            return Ok(Rest::Busy);
        }
    }
    observer.rest().await
}

/// How many reports wait that the catalogue refuses because it does not hold their packages: somebody added those.
async fn refused_for_good(broker: &Broker, held: &Mutex<Held>) -> anyhow::Result<u64> {
    const PREFIX: &str = "refused.";
    let refused = broker.bucket(BucketName::Poller).load("refused.>", 0).await?;
    let held = lock(held);
    let is_strange = |entry: &&Entry| {
        let name = entry.key.strip_prefix(PREFIX).and_then(|key| PackageName::from_key(key).ok());
        name.is_some_and(|name| !held.versions.contains_key(name.as_str()))
    };
    let waits = |entry: &&Entry| {
        let record = entry.value.as_deref().and_then(|value| serde_json::from_slice::<Value>(value).ok());
        // Given up since then.
        record.is_some_and(|record| record.get("at").is_none())
    };
    Ok(refused.iter().filter(is_strange).filter(waits).count() as u64)
}

/// All is published, or a table of what is not, and how to go on.
fn conclude(board: &Board, held: &Held, broker: &str) -> anyhow::Result<()> {
    let (missing, all) = (held.missing(board), held.versions.len());
    let mut wrong = Vec::new();
    if !missing.is_empty() {
        say(&table::table(missing.iter().copied(), board, &held.versions))?;
        let halted = board.control.as_ref().and_then(|control| verdict::halted(control, broker));
        for line in halted.into_iter().chain(verdict::remedy(&missing, board, broker)) {
            say(&line)?;
        }
        wrong.push(format!("{} of {all} packages are not published", missing.len()));
    }
    if !held.left_out.is_empty() {
        wrong.push(format!("left out, as said above: {}", held.left_out.join(", ")));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    for line in remarks::untested(held.versions.keys().map(String::as_str), board) {
        say(&line)?;
    }
    say(&held.all_done(board))
}

impl Settings {
    /// Says what is wrong with the recipe before anything is started.
    fn check_recipe(&self) -> Result<(), Unusable> {
        let Some(file) = self.recipe.as_deref().filter(|recipe| !BUILT_IN.contains(recipe)) else { return Ok(()) };
        match Recipe::read(file.as_ref()) {
            Ok(_) => Ok(()),
            Err(RecipeError::Unreadable(why)) => Err(Unusable(format!("--recipe: {why}"))),
            Err(RecipeError::Wrong(problems)) => {
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                let more = match problems.len() {
                    0 | 1 => String::new(),
                    count => format!("; and {} more, which `packline recipe check {file}` lists", count - 1),
                };
                Err(Unusable(format!("--recipe: {file}:{first}{more}")))
            }
        }
    }

    /// The recipe as a worker takes it, which runs in another folder.
    fn recipe(&self) -> anyhow::Result<Option<String>> {
        match self.recipe.as_deref() {
            Some(file) if !BUILT_IN.contains(&file) => {
                let path = std::path::absolute(file).with_context(|| format!("failed to find {file}"))?;
                Ok(Some(path.to_string_lossy().into_owned()))
            }
            built_in => Ok(built_in.map(str::to_owned)),
        }
    }

    /// Asked to stop is no failure, unless there was an end to wait for.
    fn asked_to_stop(&self, said: &str) -> anyhow::Result<()> {
        if self.once { bail!("stopped before the end") } else { say(said) }
    }
}
