//! What a process takes of the machine, as the kernel counts it.

use std::{fmt, path::Path};

use anyhow::Context;
use packline_local::process::Process;
use serde::Serialize;

use super::bed::Bed;

/// What one process has taken so far.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    name: String,
    /// Resident memory now, in bytes.
    pub(super) rss_bytes: u64,
    /// The most resident memory it ever had, in bytes.
    peak_rss_bytes: u64,
    /// Processor time, user and system.
    pub(super) cpu_seconds: f64,
}

impl Usage {
    fn of(name: &str, pid: i32) -> anyhow::Result<Self> {
        let process = procfs::process::Process::new(pid).with_context(|| format!("{name} is gone"))?;
        let (stat, status) = (process.stat()?, process.status()?);
        #[expect(clippy::cast_precision_loss, reason = "52 bits of clock ticks are more than a bench takes")]
        let cpu_seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        Ok(Self {
            name: name.to_owned(),
            rss_bytes: status.vmrss.unwrap_or_default() * 1024,
            peak_rss_bytes: status.vmhwm.unwrap_or_default() * 1024,
            cpu_seconds,
        })
    }

    /// Of one process.
    pub(super) fn of_process(process: &Process) -> anyhow::Result<Self> {
        Self::of(process.name(), process.pid())
    }

    /// Of the broker and all programs.
    pub(super) fn of_all(bed: &Bed) -> anyhow::Result<Vec<Self>> {
        let nats = Self::of("nats-server", bed.nats.pid());
        [nats].into_iter().chain(bed.processes.iter().map(Self::of_process)).collect()
    }

    /// The same with the processor time since `before`.
    pub(super) fn since(mut self, before: &[Self]) -> Self {
        let earlier = before.iter().find(|usage| usage.name == self.name);
        self.cpu_seconds -= earlier.map_or(0.0, |usage| usage.cpu_seconds);
        self
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, rss_bytes, peak_rss_bytes, cpu_seconds } = self;
        let (now, peak) = (megabytes(*rss_bytes), megabytes(*peak_rss_bytes));
        write!(f, "  {name:<18} {now:>6.1} MB RSS (peak {peak:>6.1}), {cpu_seconds:>6.2} CPU s")
    }
}

/// Megabytes of 10^6 bytes.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The bytes of all files below a folder.
pub(super) fn bytes_below(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let entry = entry?;
        // A file of the broker may go while it is looked at.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { bytes_below(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
