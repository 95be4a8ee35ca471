//! A long queue: what it takes in memory, and how long a restart with it takes.

use std::{fmt, time::Instant};

use anyhow::Context;
use serde::Serialize;

use super::{
    Bed, Settings,
    usage::{Usage, megabytes},
};

/// What a long queue costs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queue {
    packages: u32,
    /// From the first announcement until the leader counts all.
    seconds: f64,
    /// Resident memory of the orchestrator before, in bytes.
    rss_before_bytes: u64,
    /// And with all packages queued.
    rss_queued_bytes: u64,
    /// From the start of another, after the first has stopped, to its first answer.
    restart_seconds: f64,
    /// Resident memory of the other.
    rss_restarted_bytes: u64,
}

/// Nothing is built: there is no worker.
pub(super) async fn measure(settings: &Settings) -> anyhow::Result<Queue> {
    let packages = settings.queued;
    let mut bed = Bed::make(&[]).await?;
    bed.add_orchestrator().await?;
    let rss_before_bytes = orchestrator(&bed)?.rss_bytes;
    let began = Instant::now();
    bed.announce(0, packages, settings.batch).await;
    bed.until(|state| state.counts.ready == packages as usize).await?;
    let seconds = began.elapsed().as_secs_f64();
    let rss_queued_bytes = orchestrator(&bed)?.rss_bytes;
    bed.stop_last().await;
    let restart_seconds = bed.add_orchestrator().await?.as_secs_f64();
    let state = bed.until(|_| true).await?;
    anyhow::ensure!(state.counts.ready == packages as usize, "{} are queued after the restart", state.counts.ready);
    let rss_restarted_bytes = orchestrator(&bed)?.rss_bytes;
    Ok(Queue { packages, seconds, rss_before_bytes, rss_queued_bytes, restart_seconds, rss_restarted_bytes })
}

fn orchestrator(bed: &Bed) -> anyhow::Result<Usage> {
    Usage::of_process(bed.processes.last().context("no orchestrator runs")?)
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = |bytes: u64| megabytes(bytes.saturating_sub(self.rss_before_bytes));
        writeln!(f, "queue: {} packages queued in {:.2} s", self.packages, self.seconds)?;
        writeln!(f, "  {:.1} MB RSS more than without", more(self.rss_queued_bytes))?;
        writeln!(
            f,
            "  restarted in {:.2} s, then {:.1} MB RSS more than one without",
            self.restart_seconds,
            more(self.rss_restarted_bytes)
        )
    }
}
