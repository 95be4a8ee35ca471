//! Throughput: all packages are announced at once, and built as fast as the line can.

use std::{fmt, time::Duration};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use packline_broker::{BucketName, StreamName};
use packline_domain::BuildResult;
use serde::Serialize;

use super::{
    Bed, Settings,
    bed::{now, number},
    quantiles::Quantiles,
    usage::{Usage, megabytes},
};

/// Between two looks whether all is over; the last status says itself when it was stored.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Messages read at a time when all is over.
const READ_AHEAD: usize = 64;

/// How the line did.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    packages: u32,
    max_concurrent: u32,
    workers: u32,
    batch: u32,
    /// From before the first announcement to the last status.
    seconds: f64,
    builds_per_second: f64,
    /// From the announcement of a package to the confirmed claim of its build.
    announced_to_claimed: Quantiles,
    commits: u64,
    commits_per_second: f64,
    /// Records that the leader wrote, its own key among them.
    records_per_commit: f64,
    bytes_on_disk: u64,
    parts: Vec<Usage>,
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run")]
pub(super) async fn measure(settings: &Settings) -> anyhow::Result<Line> {
    let limit = settings.max_concurrent.to_string();
    let mut bed = Bed::make(&[("MAX_CONCURRENT", &limit)]).await?;
    bed.add_orchestrator().await?;
    for _ in 0..settings.workers {
        bed.add_worker(settings.slots())?;
    }
    let slots = u64::from(settings.slots() * settings.workers);
    let before = bed.until(|state| state.slots == slots).await?;
    let records = bed.records().await?;
    let used = Usage::of_all(&bed)?;
    let began = now();
    let sent = bed.announce(0, settings.packages, settings.batch).await;
    let statuses = u64::from(settings.packages) * 2;
    let last = loop {
        match bed.broker.stored(StreamName::Status, statuses).await? {
            Some(last) => break last,
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    let seconds = last.stored_at.since(began).as_secs_f64();
    let parts = Usage::of_all(&bed)?.into_iter().map(|usage| usage.since(&used)).collect();
    let after = bed.until(|state| state.counts.published == settings.packages as usize).await?;
    let commits = after.commit - before.commit;
    // Each build's claim is a record too, and its worker's.
    let written = (bed.records().await? - records).saturating_sub(u64::from(settings.packages));
    Ok(Line {
        packages: settings.packages,
        max_concurrent: settings.max_concurrent,
        workers: settings.workers,
        batch: settings.batch,
        seconds,
        builds_per_second: f64::from(settings.packages) / seconds,
        announced_to_claimed: claims(&bed, &sent).await?,
        commits,
        commits_per_second: commits as f64 / seconds,
        records_per_commit: written as f64 / commits as f64,
        bytes_on_disk: bed.bytes_on_disk()?,
        parts,
    })
}

impl Bed {
    /// How many records were ever written to the bucket of the orchestrator.
    async fn records(&self) -> anyhow::Result<u64> {
        Ok(self.broker.bucket(BucketName::Orchestrator).revision().await?)
    }
}

/// Without phases a build is over as soon as its claim is confirmed: its result says when.
async fn claims(bed: &Bed, sent: &[(u32, packline_domain::Timestamp)]) -> anyhow::Result<Quantiles> {
    let last = bed.broker.stream_state(StreamName::Results).await?.last_sequence;
    let read = stream::iter(1..=last).map(|sequence| bed.broker.stored(StreamName::Results, sequence));
    let stored: Vec<_> = read.buffered(READ_AHEAD).try_collect().await?;
    let waited = stored.into_iter().flatten().map(|stored| {
        let result: BuildResult = serde_json::from_slice(&stored.payload).context("a result is not understood")?;
        let number = number(result.package_name.as_str()).context("a result of a package that nobody announced")?;
        let place = sent.partition_point(|(first, _)| *first <= number).checked_sub(1);
        let (_, at) = place.and_then(|place| sent.get(place)).context("a package that was not announced")?;
        Ok(result.finished_at.since(*at).as_secs_f64() * 1000.0)
    });
    Ok(Quantiles::of(waited.collect::<anyhow::Result<_>>()?))
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "line: {} packages in announcements of {}, limit {}, {} workers, RECIPE=none, every write synced",
            self.packages, self.batch, self.max_concurrent, self.workers
        )?;
        writeln!(f, "  {:.0} builds/s ({:.2} s to the last status)", self.builds_per_second, self.seconds)?;
        writeln!(f, "  announced to claimed: {}", self.announced_to_claimed)?;
        writeln!(
            f,
            "  {} commits, {:.1}/s, {:.1} records each",
            self.commits, self.commits_per_second, self.records_per_commit
        )?;
        writeln!(f, "  {:.1} MB on disk", megabytes(self.bytes_on_disk))?;
        self.parts.iter().try_for_each(|usage| writeln!(f, "{usage}"))
    }
}
