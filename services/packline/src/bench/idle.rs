//! Rest: what the parts take while there is nothing to do.

use std::fmt;

use serde::Serialize;

use super::{
    Bed, Settings,
    usage::{Usage, megabytes},
};

/// What each part takes while there is nothing to do.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Idle {
    seconds: f64,
    parts: Vec<Part>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    name: String,
    rss_bytes: u64,
    /// Of one core.
    cpu_percent: f64,
}

pub(super) async fn measure(settings: &Settings) -> anyhow::Result<Idle> {
    let mut bed = Bed::make(&[]).await?;
    bed.add_orchestrator().await?;
    bed.add_worker(1)?;
    bed.add_poller()?;
    bed.until(|state| state.slots == 1).await?;
    let before = Usage::of_all(&bed)?;
    tokio::time::sleep(settings.idle).await;
    let seconds = settings.idle.as_secs_f64();
    let after = Usage::of_all(&bed)?.into_iter().map(|usage| usage.since(&before));
    let parts = after.map(|usage| Part {
        name: usage.name().to_owned(),
        rss_bytes: usage.rss_bytes,
        cpu_percent: usage.cpu_seconds / seconds * 100.0,
    });
    Ok(Idle { seconds, parts: parts.collect() })
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "idle: nothing to do for {} s", self.seconds)?;
        self.parts.iter().try_for_each(|Part { name, rss_bytes, cpu_percent }| {
            writeln!(f, "  {name:<18} {:>6.1} MB RSS, {cpu_percent:.2} % of a core", megabytes(*rss_bytes))
        })
    }
}
