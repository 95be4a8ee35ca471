//! A whole line on this machine: broker, registry, catalogue and the programs, in one temporary folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitStatus,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::future::{join_all, select_all};
use tempfile::TempDir;

use crate::{
    catalogue::Catalogue,
    line::{Binaries, Line},
    nats::{NatsOptions, NatsServer},
    process::Process,
    registry::Registry,
    tools,
};

/// What differs from the defaults, so that a line of small packages takes seconds.
const BRISK: [(&str, &str); 3] = [("RETRY_BASE", "1s"), ("RETRY_MAX", "2s"), ("GRACE", "5s")];

/// How long one program may take to stop before it is killed; longer than `GRACE`.
const STOP: Duration = Duration::from_secs(8);

/// How long the guards of killed workers may take; they promise a second.
const GUARDS: Duration = Duration::from_secs(5);

/// A whole line. On drop all of it is killed and its folder wiped.
#[derive(Debug)]
pub struct Plant {
    /// The orchestrators that were started.
    pub orchestrators: Vec<Process>,
    /// The pollers that were started.
    pub pollers: Vec<Process>,
    /// The workers that were started.
    pub workers: Vec<Process>,
    /// The catalogue.
    pub catalogue: Catalogue,
    /// The npm registry.
    pub registry: Registry,
    /// The broker.
    pub broker: NatsServer,
    line: Line,
    workspace: PathBuf,
    folder: TempDir,
}

impl Plant {
    /// Starts broker, registry and catalogue for a copy of the npm workspace in `workspace`, and no program
    /// of ours yet. `settings` are environment variables for all that are started later.
    ///
    /// # Errors
    /// When something is missing ([`tools::Missing`]) or does not start.
    pub async fn start(binaries: &Binaries, workspace: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("packline-").tempdir().context("failed to make a folder")?;
        let copy = folder.path().join("workspace");
        copy_folder(workspace, &copy).with_context(|| format!("failed to copy {}", workspace.display()))?;
        let mut options = NatsOptions::durable(tools::nats_server().await?);
        options.dir = Some(folder.path().join("broker"));
        let home = folder.path().join("registry");
        let database = folder.path().join("catalogue.db");
        let (broker, registry, catalogue) = tokio::join!(
            NatsServer::start(options),
            Registry::start(&home),
            Catalogue::scan(binaries, &copy, &database)
        );
        let (broker, registry, catalogue) = (broker?, registry?, catalogue?);
        let mut line = Line::new(binaries, folder.path(), &broker.url())
            .with("MCP_COMMAND", &catalogue.command())
            .with("NPM_REGISTRY", &registry.url())
            .with("CACHE", &folder.path().join("cache").to_string_lossy())
            .with("WORKSPACE_ROOT", &copy.to_string_lossy());
        for (name, value) in BRISK.iter().chain(settings) {
            line = line.with(name, value);
        }
        let (orchestrators, pollers, workers) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { orchestrators, pollers, workers, catalogue, registry, broker, line, workspace: copy, folder })
    }

    /// Starts one more orchestrator.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add_orchestrator(&mut self) -> anyhow::Result<()> {
        let name = format!("orchestrator-{}", self.orchestrators.len() + 1);
        self.orchestrators.push(self.line.orchestrator(&name, &[])?);
        Ok(())
    }

    /// Starts one more poller.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add_poller(&mut self) -> anyhow::Result<()> {
        let name = format!("poller-{}", self.pollers.len() + 1);
        self.pollers.push(self.line.poller(&name, &[])?);
        Ok(())
    }

    /// Starts one more worker with so many slots.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add_worker(&mut self, slots: u32) -> anyhow::Result<()> {
        let name = format!("worker-{}", self.workers.len() + 1);
        self.workers.push(self.line.worker(&name, &[("SLOTS", &slots.to_string())])?);
        Ok(())
    }

    /// Where everything is kept, logs among it (`<name>.log`).
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The copy of the npm workspace that the workers read.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// For programs beyond those that are counted here.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The first of all processes that ends.
    pub async fn first_end(&self) -> (&Process, ExitStatus) {
        let ends = self.processes().map(|process| Box::pin(async move { (process, process.exited().await) }));
        select_all(ends).await.0
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        let programs = self.workers.iter().chain(&self.pollers).chain(&self.orchestrators);
        programs.chain(self.registry.processes()).chain([self.broker.process()])
    }

    /// Asks all programs to stop, the workers first, and wipes the folder.
    ///
    /// # Errors
    /// When the folder cannot be wiped.
    pub async fn stop(self) -> anyhow::Result<()> {
        join_all(self.workers.iter().map(|process| process.stop(STOP))).await;
        join_all(self.pollers.iter().chain(&self.orchestrators).map(|process| process.stop(STOP))).await;
        let folder = self.folder.path().to_owned();
        tokio::task::spawn_blocking(move || drop(self)).await.context("the clean-up was broken off")?;
        anyhow::ensure!(!folder.exists(), "{} cannot be removed", folder.display());
        Ok(())
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        for process in self.workers.iter_mut().chain(&mut self.pollers).chain(&mut self.orchestrators) {
            process.end();
        }
        // A build that its guard is about to kill may still write.
        let give_up = Instant::now() + GUARDS;
        while fs::remove_dir_all(self.folder.path()).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
            && Instant::now() < give_up
        {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Copies a workspace without what npm has put there.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "node_modules" {
                copy_folder(&entry.path(), &target)?;
            }
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
