//! `packline demo`: the whole line on this machine, on real parts, from nothing to nothing.

mod expected;
mod proof;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use packline_broker::Broker;
use packline_local::{
    line::{self, Binaries},
    plant::Plant,
    tools,
};
use packline_service::Shutdown;
use tokio::time::timeout;

use crate::{
    say, stop_with_the_terminal,
    view::{follow::follow, observer::Observer, progress::Progress, table},
};

/// The bundled npm workspace.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo");

/// No line of eight packages takes so long, not even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// How the demo runs
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Keep the line up at the end, to look at it with the `nats` tool, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Runs the line from the start of its parts until they are gone again, however it goes.
pub(crate) async fn run(settings: &Settings, shutdown: &Shutdown) -> anyhow::Result<()> {
    stop_with_the_terminal(shutdown)?;
    let (plant, started) = tokio::select! {
        line = start() => line.map_err(crate::name_what_is_missing)?,
        () = shutdown.requested() => bail!("stopped before the line was up"),
    };
    let shown = tokio::select! {
        shown = show(&plant, settings, started) => shown,
        () = shutdown.requested() => Err(anyhow::anyhow!("stopped before the end")),
        (process, status) = plant.first_end() => Err(anyhow::anyhow!(
            "{} ended ({status}) and should not have; its last words:\n{}", process.name(), process.last_lines(10)
        )),
    };
    if shown.is_ok() && settings.keep {
        tokio::select! {
            kept = keep(&plant) => kept?,
            () = shutdown.requested() => {}
        }
    }
    plant.stop().await.context("failed to clean up")?;
    shown
}

/// The line, and when its first part was started.
async fn start() -> anyhow::Result<(Plant, Instant)> {
    let node = tools::node().await?;
    say("Building the programs of the line, where they are not built yet.")?;
    let binaries = Binaries::find(line::Progress::Shown).await?;
    let started = Instant::now();
    say("Starting nats-server, an npm registry and a catalogue.")?;
    let mut plant = Plant::start(&binaries, Path::new(WORKSPACE), &[]).await?;
    let found = packline_packages_api::scan::scan(plant.workspace()).context("failed to read the demo")?;
    found.notes.iter().try_for_each(|note| say(note))?;
    plant.add_orchestrator()?;
    for _ in 0..2 {
        plant.add_worker(2)?;
    }
    plant.add_poller()?;
    let (broker, registry) = (plant.broker.url(), plant.registry.url());
    say(&format!("The line is up: broker {broker}, registry {registry}, Node {}, 2 workers.\n", node.version))?;
    Ok((plant, started))
}

async fn connect(plant: &Plant) -> anyhow::Result<Observer> {
    let broker = Broker::connect(&packline_broker::Settings::at(plant.broker.url()), "packline demo").await?;
    broker.await_topology().await?;
    Ok(Observer::new(&broker))
}

async fn show(plant: &Plant, settings: &Settings, started: Instant) -> anyhow::Result<()> {
    let mut observer = connect(plant).await?;
    let mut progress = Progress::on_stdout();
    let over = async |observer: &Observer, _: &mut Progress| {
        Ok(expected::all_known(&observer.board) && observer.is_over().await?)
    };
    let followed = timeout(PATIENCE, follow(&mut observer, &mut progress, |_| names(), over)).await;
    progress.finish();
    followed.with_context(|| format!("the line is not done after {} s", PATIENCE.as_secs()))??;
    let board = observer.final_board().await?;
    say(&format!("\n{}\n{}\n", table::table(expected::names(), &board, &BTreeMap::new()), expected::verdict(&board)))?;
    timeout(PATIENCE, observer.all_reported()).await.context("the catalogue is not told every outcome")??;
    let mut differences = expected::differences(&board);
    differences.extend(expected::differences_in_catalogue(&plant.catalogue.packages().await?));
    say(&format!("Into an empty folder: npm install {}, and a program that uses it:", proof::PACKAGE))?;
    say(&proof::install_and_run(&plant.registry.url(), plant.folder()).await?)?;
    if !differences.is_empty() {
        bail!("not every outcome is the expected one:\n{}", differences.join("\n"));
    }
    say(&format!("Done in {:.0} s.\n{}", started.elapsed().as_secs_f64(), what_next(plant, settings)))
}

/// Shows what changes for as long as the line is kept up.
async fn keep(plant: &Plant) -> anyhow::Result<()> {
    follow(&mut connect(plant).await?, &mut Progress::on_stdout(), |_| names(), async |_, _| Ok(false)).await
}

fn names() -> Vec<String> {
    expected::names().map(str::to_owned).collect()
}

fn what_next(plant: &Plant, settings: &Settings) -> String {
    if !settings.keep {
        return "Next: `cargo demo --keep` leaves the line up and says how to look at it and to mend @demo/roman; \
                README.md says what else there is, and `cargo test` shows that it is so."
            .into();
    }
    let (broker, roman) = (plant.broker.url(), plant.workspace().join("packages/roman/src/index.js"));
    format!(
        "The line stays up until Ctrl-C. Next, in another terminal, with the nats tool:
  export NATS_URL={broker}
  nats kv ls orchestrator
  nats kv get --raw orchestrator queue.demo/roman
  nats req orchestrator.state ''
Mend @demo/roman, and see it and @demo/clock published:
  sed -i \"s/\\[5, 'V'\\]/[9, 'IX'], [5, 'V'], [4, 'IV']/\" {}
  nats pub control.requeue demo/roman",
        roman.display()
    )
}
