//! A whole line for one test.

use std::{future::Future, ops::Deref, path::Path, time::Duration};

use anyhow::Context;
use packline_domain::record::LEADER;
use packline_testkit::{
    line::{Binaries, Progress},
    plant::Plant,
};

use crate::{Console, Fixture, LEASE, PATIENCE};

/// A line of real processes, and the console at which the test sits.
pub struct Scene {
    /// Its parts.
    pub plant: Plant,
    console: Console,
}

impl Deref for Scene {
    type Target = Console;

    fn deref(&self) -> &Console {
        &self.console
    }
}

/// A leader is replaced within seconds.
const QUICK: [(&str, &str); 2] = [LEASE, ("MAX_CONCURRENT", "4")];

impl Scene {
    /// Starts broker, registry and a catalogue filled from a workspace of these packages; no program yet.
    ///
    /// # Errors
    /// When something is missing or does not start.
    pub async fn start(packages: &[Fixture], settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let workspace = tempfile::Builder::new().prefix("packline-fixture-").tempdir()?;
        std::fs::write(
            workspace.path().join("package.json"),
            r#"{"name": "fixture", "private": true, "workspaces": ["packages/*"]}"#,
        )?;
        std::fs::create_dir(workspace.path().join("packages"))?;
        for package in packages {
            package.write(workspace.path())?;
        }
        Self::on(workspace.path(), settings).await
    }

    /// The same on the workspace of the demo.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn demo(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::on(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../demo")), settings).await
    }

    async fn on(workspace: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let binaries = Binaries::find(Progress::Hidden).await?;
        let settings: Vec<_> = QUICK.iter().chain(settings).copied().collect();
        let plant = Plant::start(&binaries, workspace, &settings).await?;
        let console = Console::open(&plant.broker.url(), plant.folder()).await?;
        Ok(Self { plant, console })
    }

    /// Starts one orchestrator, one poller and so many workers of two slots. The workers start when somebody
    /// leads, so that they obey the CLAIM in force from their first second on.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn run(&mut self, workers: usize) -> anyhow::Result<()> {
        self.plant.add_orchestrator()?;
        self.plant.add_poller()?;
        self.until(LEADER, |leader| leader.is_some()).await?;
        for _ in 0..workers {
            self.plant.add_worker(2)?;
        }
        Ok(())
    }

    /// Waits until the catalogue shows this status of a package.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`].
    pub async fn until_catalogue(&self, package: &str, status: &str) -> anyhow::Result<()> {
        let patient = within(async {
            loop {
                let packages = self.plant.catalogue.packages().await?;
                if packages.iter().any(|found| found["name"] == package && found["status"] == status) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        patient.await.with_context(|| format!("{package} is not {status} in the catalogue\n{}", self.logs()))?
    }
}

/// A future's value, or an error after [`PATIENCE`].
///
/// # Errors
/// When it takes longer.
async fn within<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.context("it takes too long")
}
