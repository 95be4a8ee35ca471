//! A line for tests in which no build matters.

use std::{ops::Deref, path::Path};

use packline_testkit::{
    line::{Binaries, Line, Progress},
    nats::{NatsOptions, NatsServer},
    process::Process,
    tools,
};
use tempfile::TempDir;

use crate::{Console, LEASE, Workshop};

/// A broker, an orchestrator and what the test adds: no registry, no catalogue, no workspace.
pub struct Bare {
    /// The orchestrator.
    pub orchestrator: Process,
    /// The workers that were started.
    pub workers: Vec<Process>,
    /// The broker.
    pub server: NatsServer,
    line: Line,
    console: Console,
    folder: TempDir,
}

impl Deref for Bare {
    type Target = Console;

    fn deref(&self) -> &Console {
        &self.console
    }
}

impl Bare {
    /// Starts broker and orchestrator. `settings` are environment variables for all programs of the line.
    ///
    /// # Errors
    /// When something is missing or does not start.
    pub async fn start(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let binaries = Binaries::find(Progress::Hidden).await?;
        let folder = tempfile::Builder::new().prefix("packline-bare-").tempdir()?;
        // One folder deeper: what climbs out of it is seen in the other.
        let inner = folder.path().join("line");
        std::fs::create_dir(&inner)?;
        let server = NatsServer::start(NatsOptions::durable(tools::nats_server().await?)).await?;
        let home = inner.to_string_lossy().into_owned();
        let line = Line::new(&binaries, &inner, &server.url()).with("HOME", &home).with("TMPDIR", &home);
        let line = line.with("CACHE", &inner.join("cache").to_string_lossy());
        let line = [LEASE].iter().chain(settings).fold(line, |line, (name, value)| line.with(name, value));
        let orchestrator = line.orchestrator("orchestrator", &[])?;
        let console = Console::open(&server.url(), &inner).await?;
        // Results before the first leader would mean that its bucket was lost.
        console.until("control", |control| control.is_some()).await?;
        Ok(Self { orchestrator, workers: Vec::new(), server, line, console, folder })
    }

    /// Starts a worker with so many slots whose builds have no phases and succeed at once.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add_worker(&mut self, slots: u32) -> anyhow::Result<()> {
        let name = format!("worker-{}", self.workers.len() + 1);
        self.workers.push(self.line.worker(&name, &[("SLOTS", &slots.to_string()), ("RECIPE", "none")])?);
        Ok(())
    }

    /// Starts a worker with so many slots that builds what is in the workshop.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add_builder(&mut self, workshop: &Workshop, slots: u32, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        let name = format!("worker-{}", self.workers.len() + 1);
        let own = workshop.settings();
        let slots = slots.to_string();
        let all: Vec<_> = own
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain([("SLOTS", slots.as_str())])
            .chain(settings.iter().copied())
            .collect();
        self.workers.push(self.line.worker(&name, &all)?);
        Ok(())
    }

    /// For programs beyond those.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Where everything but the broker's store is kept; its parent holds nothing else.
    pub fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join("line")
    }

    /// The folder around [`Self::folder`].
    pub fn outside(&self) -> &Path {
        self.folder.path()
    }
}
