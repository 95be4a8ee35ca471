//! `packline up`: the whole line on an npm workspace of one's own, kept between starts.

mod plant;
mod site;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use packline_broker::{Broker, BucketName, StreamName};
use packline_domain::{Timestamp, record::LastPoll};
use packline_service::{Shutdown, Unusable};

use crate::{
    say, stop_with_the_terminal,
    view::{board::Board, follow::follow, observer::Observer, progress::Progress, standing::Standing, table},
};
use plant::Plant;
use site::Site;

/// How often the workspace is looked at for new packages and versions; the poller asks as often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How the line runs on a workspace
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The npm workspace: the folder whose package.json has `workspaces`. What is kept goes to its .packline
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

/// Runs the line until it is asked to stop, or, with `--once`, until nothing is left to do.
pub(crate) async fn run(settings: &Settings, shutdown: &Shutdown) -> anyhow::Result<()> {
    stop_with_the_terminal(shutdown)?;
    let site = Site::open(&settings.workspace)?;
    let started_at = crate::now();
    let packages = site.scan().map_err(|error| Unusable(error.to_string()))?;
    for note in &packages.notes {
        say(note)?;
    }
    let names: BTreeSet<String> = packages.packages.iter().map(|package| package.name.to_string()).collect();
    let plant = tokio::select! {
        plant = Plant::start(&site, settings, &names) => plant.map_err(crate::name_what_is_missing)?,
        () = shutdown.requested() => bail!("stopped before the line was up"),
    };
    say(&plant.summary(&site, names.len()))?;
    let names = Arc::new(Mutex::new(names));
    let watched = tokio::select! {
        watched = watch(&plant, settings, &names, started_at) => watched,
        error = site.look_again(LOOK_EVERY, &names) => Err(error),
        () = shutdown.requested() => if settings.once { Err(anyhow::anyhow!("stopped before the end")) } else { Ok(()) },
        (process, status) = plant.first_end() => Err(anyhow::anyhow!(
            "{} ended ({status}) and should not have; its last words:\n{}", process.name(), process.last_lines(10)
        )),
    };
    plant.stop().await;
    watched?;
    if settings.once { Ok(()) } else { say("Stopped; the same command goes on where this was.") }
}

type Names = Mutex<BTreeSet<String>>;

/// Shows the line; with `--once` until nothing is left to do, and then what became of it.
async fn watch(plant: &Plant, settings: &Settings, names: &Names, started_at: Timestamp) -> anyhow::Result<()> {
    let mut observer = Observer::new(&plant.broker);
    let mut progress = Progress::on_stdout();
    let known = |board: &Board| {
        let mut all = names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(board.queue.keys().map(ToString::to_string));
        all.into_iter().collect()
    };
    let mut said = None;
    let over = async |observer: &Observer| {
        if !settings.once {
            return Ok(false);
        }
        let last = last_poll(&plant.broker).await.filter(|last| last.at >= started_at);
        let error = last.as_ref().and_then(|last| last.error.clone());
        if error.is_some() && error != said {
            eprintln!("the poll failed, and goes on: {}", error.as_deref().unwrap_or_default());
            said.clone_from(&error);
        }
        Ok(last.is_some() && error.is_none() && is_settled(&plant.broker, observer).await?)
    };
    let followed = follow(&mut observer, &mut progress, known, over).await;
    progress.finish();
    followed?;
    conclude(&observer.final_board().await?, &known(&Board::default()))
}

/// The last poll, where there was one and the broker says so.
async fn last_poll(broker: &Broker) -> Option<LastPoll> {
    let entry = broker.bucket(BucketName::Poller).get("last").await.ok()??;
    serde_json::from_slice(&entry.value?).ok()
}

/// Whether nothing is announced, queued, building or unreported. A broker that does not answer is a no.
async fn is_settled(broker: &Broker, observer: &Observer) -> anyhow::Result<bool> {
    for (stream, consumer) in [(StreamName::Packages, "orchestrator"), (StreamName::Status, "catalogue")] {
        match broker.pending(stream, consumer).await {
            Ok(state) if state.pending + state.ack_pending == 0 => {}
            _ => return Ok(false),
        }
    }
    observer.is_over().await
}

/// All is published, or a table of what is not.
fn conclude(board: &Board, names: &[String]) -> anyhow::Result<()> {
    let published = |name: &&String| {
        let known = board.queue.keys().find(|known| known.as_str() == name.as_str());
        matches!(known.and_then(|known| Standing::of(known, board)), Some(Standing::Published { .. }))
    };
    let missing: Vec<&str> = names.iter().filter(|name| !published(name)).map(String::as_str).collect();
    if missing.is_empty() {
        return say(&format!("All {} packages are published.", names.len()));
    }
    let count = missing.len();
    say(&table::table(missing, board))?;
    bail!("{count} of {} packages are not published", names.len())
}

impl Settings {
    /// The recipe as a worker takes it, which runs in another folder.
    fn recipe(&self) -> anyhow::Result<Option<String>> {
        match self.recipe.as_deref() {
            None | Some("none" | "npm") => Ok(self.recipe.clone()),
            Some(file) => {
                let path = std::path::absolute(file).with_context(|| format!("failed to find {file}"))?;
                Ok(Some(path.to_string_lossy().into_owned()))
            }
        }
    }
}
