//! Control: how soon a command is in force, at rest and under load.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Context;
use packline_broker::{BucketName, Watch, Watched};
use packline_domain::{Mode, record::Control as Record};
use serde::Serialize;
use tokio::{sync::mpsc, time::timeout};

use super::{Bed, Settings, busy::Busy, quantiles::Quantiles};

/// No command takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of so many commands one is a pause, which withdraws orders.
const PAUSE_EACH: u32 = 10;
/// Between two commands: at most twice this, so that they meet every moment of a commit.
const APART: Duration = Duration::from_millis(50);

/// How soon commands are in force.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Control {
    idle: Commands,
    busy: Commands,
    queued: u32,
    builds_per_second: f64,
}

/// From before a command was published.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Commands {
    /// Until the bucket shows it.
    in_force: Quantiles,
    /// Of pauses, until all orders that nobody had taken are withdrawn.
    pause_complete: Quantiles,
}

pub(super) async fn measure(settings: &Settings) -> anyhow::Result<Control> {
    let idle = {
        let bed = Bed::at_rest(settings).await?;
        commands(&bed, settings).await.context("on the idle line")?
    };
    let busy = Busy::make(settings).await?;
    let commands = commands(&busy.bed, settings).await.context("under load")?;
    let (_, builds_per_second) = busy.end().await?;
    Ok(Control { idle, busy: commands, queued: settings.queued, builds_per_second })
}

async fn commands(bed: &Bed, settings: &Settings) -> anyhow::Result<Commands> {
    let mut watch = bed.broker.bucket(BucketName::Orchestrator).watch("control");
    while !matches!(watch.next().await, Watched::Complete) {}
    let (sender, mut seen) = mpsc::unbounded_channel();
    // Beside the commands: a record may be there before its command is acknowledged.
    let watching = tokio::spawn(async move { while sender.send(next(&mut watch).await).is_ok() {} });
    let (mut in_force, mut complete) = (Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        let pause = round % PAUSE_EACH == 0;
        let limit = (settings.max_concurrent - round % 2).max(1).to_string();
        let (command, body) = if pause { ("pause", "") } else { ("adjust-concurrency", limit.as_str()) };
        let began = Instant::now();
        let sequence = bed.command(command, body).await?;
        let mut until = async |so: fn(&Record) -> bool| loop {
            let (at, record) =
                timeout(PATIENCE, seen.recv()).await.context("no record of it")?.context("no watch")??;
            if record.last.as_ref().is_some_and(|last| last.sequence >= sequence) && so(&record) {
                return anyhow::Ok((at, record));
            }
        };
        let (at, record) = until(|_| true).await?;
        in_force.push((at - began).as_secs_f64() * 1000.0);
        if pause {
            let done = if record.complete { at } else { until(|record| record.complete).await?.0 };
            complete.push((done - began).as_secs_f64() * 1000.0);
            bed.command("resume", "").await?;
            bed.until(|state| state.mode == Mode::Running).await?;
        }
        tokio::time::sleep(APART.mul_f64(2.0 * fraction(round))).await;
    }
    watching.abort();
    Ok(Commands { in_force: Quantiles::of(in_force), pause_complete: Quantiles::of(complete) })
}

/// Spread evenly over 0 to 1, whatever the period of what is met.
fn fraction(round: u32) -> f64 {
    (f64::from(round) * 0.618_033_988_75).fract()
}

async fn next(watch: &mut Watch) -> anyhow::Result<(Instant, Record)> {
    loop {
        match watch.next().await {
            Watched::Entry(entry) => {
                let at = Instant::now();
                let Some(value) = entry.value else { continue };
                return Ok((at, serde_json::from_slice(&value).context("the record control is not understood")?));
            }
            Watched::Gap => anyhow::bail!("the watch has a gap"),
            Watched::Complete => {}
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "control: from a command to the record in the bucket")?;
        for (when, commands) in [("idle", &self.idle), ("busy", &self.busy)] {
            writeln!(f, "  {when}: {}", commands.in_force)?;
            writeln!(f, "    pause, until it is complete: {}", commands.pause_complete)?;
        }
        writeln!(f, "  busy: {} packages queued, {:.0} builds/s meanwhile", self.queued, self.builds_per_second)
    }
}
