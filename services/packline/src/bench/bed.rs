//! What is measured stands here: a broker that syncs every write, and the programs as processes.

use std::time::{Duration, Instant};

use anyhow::Context;
use packline_broker::{Broker, Message, topology};
use packline_domain::{Timestamp, answer::State};
use packline_local::{
    catalogue::Catalogue,
    line::{Binaries, Line, Progress},
    nats::{NatsOptions, NatsServer},
    process::Process,
    tools,
};
use serde_json::json;
use tempfile::TempDir;

/// How long one program may take to stop.
const STOP: Duration = Duration::from_secs(8);
/// Between two questions to the orchestrator while something is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A broker, and the programs started at it. On drop all is killed and wiped.
pub(super) struct Bed {
    pub(super) processes: Vec<Process>,
    pub(super) nats: NatsServer,
    pub(super) broker: Broker,
    line: Line,
    folder: TempDir,
}

impl Bed {
    /// A broker alone.
    pub(super) async fn make(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let binaries = Binaries::find(Progress::Hidden).await?;
        let folder = tempfile::Builder::new().prefix("packline-bench-").tempdir().context("failed to make a folder")?;
        let mut options = NatsOptions::durable(tools::nats_server().await?);
        options.dir = Some(folder.path().join("broker"));
        let nats = NatsServer::start(options).await?;
        let catalogue = Catalogue::empty(&binaries, &folder.path().join("catalogue.db"));
        let mut line = Line::new(&binaries, folder.path(), &nats.url())
            .with("RECIPE", "none")
            .with("MCP_COMMAND", &catalogue.command())
            .with("WORKSPACE_ROOT", &folder.path().to_string_lossy());
        for (name, value) in settings {
            line = line.with(name, value);
        }
        let broker = Broker::connect(&packline_broker::Settings::at(nats.url()), "packline bench").await?;
        Ok(Self { processes: Vec::new(), nats, broker, line, folder })
    }

    /// One more orchestrator; returns once it leads.
    pub(super) async fn add_orchestrator(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.processes.push(self.line.orchestrator("orchestrator", &[])?);
        self.broker.await_topology().await?;
        self.until(|_| true).await?;
        Ok(began.elapsed())
    }

    /// One more worker.
    pub(super) fn add_worker(&mut self, slots: u32) -> anyhow::Result<()> {
        let name = format!("builder-worker-{}", self.processes.len());
        self.processes.push(self.line.worker(&name, &[("SLOTS", &slots.to_string())])?);
        Ok(())
    }

    /// One more poller.
    pub(super) fn add_poller(&mut self) -> anyhow::Result<()> {
        self.processes.push(self.line.poller("poller", &[])?);
        Ok(())
    }

    /// Asks the last program that was started to stop, and waits until it is gone.
    pub(super) async fn stop_last(&mut self) {
        if let Some(process) = self.processes.pop() {
            process.stop(STOP).await;
        }
    }

    /// Asks the leader until it answers what is `enough`.
    pub(super) async fn until(&self, enough: impl Fn(&State) -> bool) -> anyhow::Result<State> {
        loop {
            if let Some(dead) = self.processes.iter().find(|process| !process.is_running()) {
                anyhow::bail!("{} ended; its last words:\n{}", dead.name(), dead.last_lines(5));
            }
            if let Ok(answer) = self.broker.ask(topology::STATE, "").await {
                let state = serde_json::from_slice(&answer).context("orchestrator.state answers strangely")?;
                if enough(&state) {
                    return Ok(state);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Announces packages `from..to` in messages of `batch`; when each message was sent.
    pub(super) async fn announce(&self, from: u32, to: u32, batch: u32) -> Vec<(u32, Timestamp)> {
        let mut messages = Vec::new();
        let mut sent = Vec::new();
        let mut next = from;
        let call = fastrand::u64(..);
        while next < to {
            let until = next.saturating_add(batch).min(to);
            let packages: Vec<_> = (next..until).map(|i| json!({"name": name(i)})).collect();
            // Sent again after a lost answer it is no second announcement.
            let id = Some(format!("{call:016x}-{next}"));
            messages.push(Message { id, ..Message::json(topology::packages_new(), &packages) });
            sent.push((next, now()));
            next = until;
        }
        self.broker.publish_stored(messages).await;
        sent
    }

    /// What the broker keeps on disk, in bytes.
    pub(super) fn bytes_on_disk(&self) -> anyhow::Result<u64> {
        super::usage::bytes_below(&self.folder.path().join("broker"))
    }
}

/// The name of package `i`.
pub(super) fn name(i: u32) -> String {
    format!("@bench/package-{i}")
}

/// The number of the package with this name.
pub(super) fn number(name: &str) -> Option<u32> {
    name.rsplit('-').next()?.parse().ok()
}

/// This machine's clock; all parts of a bed run on the same machine.
pub(super) fn now() -> Timestamp {
    crate::now()
}
