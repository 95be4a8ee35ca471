//! Latency: one package after the other on a line that is idle.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Context;
use packline_broker::{BucketName, Watch, Watched};
use packline_domain::record::Permit;
use serde::Serialize;
use tokio::time::timeout;

use super::{Bed, Settings, quantiles::Quantiles};

/// No claim on an idle line takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// From an announcement on an idle line to the claim of its build.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Latency {
    announced_to_claimed: Quantiles,
    announced_to_published: Quantiles,
}

pub(super) async fn measure(settings: &Settings) -> anyhow::Result<Latency> {
    let mut bed = Bed::make(&[]).await?;
    bed.add_orchestrator().await?;
    for _ in 0..settings.workers {
        bed.add_worker(settings.slots())?;
    }
    let slots = u64::from(settings.slots() * settings.workers);
    bed.until(|state| state.slots == slots).await?;
    let mut permits = bed.broker.bucket(BucketName::Orchestrator).watch("permits.*");
    while !matches!(permits.next().await, Watched::Complete) {}
    let (mut claims, mut ends) = (Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        let began = Instant::now();
        bed.announce(round, round + 1, 1).await;
        let claimed = timeout(PATIENCE, claimed(&mut permits)).await.context("nobody claimed")??;
        claims.push((claimed - began).as_secs_f64() * 1000.0);
        let published = round as usize + 1;
        timeout(PATIENCE, bed.until(|state| state.counts.published == published)).await.context("no end")??;
        ends.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Latency { announced_to_claimed: Quantiles::of(claims), announced_to_published: Quantiles::of(ends) })
}

/// Waits until a worker has taken a permit.
async fn claimed(permits: &mut Watch) -> anyhow::Result<Instant> {
    loop {
        match permits.next().await {
            Watched::Entry(entry) => {
                let seen = Instant::now();
                let Some(value) = entry.value else { continue };
                let permit: Permit = serde_json::from_slice(&value).context("a permit is not understood")?;
                if permit.worker.is_some() {
                    return Ok(seen);
                }
            }
            Watched::Gap => anyhow::bail!("the watch has a gap"),
            Watched::Complete => {}
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "latency: one package at a time on an idle line")?;
        writeln!(f, "  announced to claimed: {}", self.announced_to_claimed)
    }
}
