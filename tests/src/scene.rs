//! A whole line for one test.

use std::{
    future::Future,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use packline_broker::{Broker, BucketName, Message, Settings, Stored, StreamName, Watched};
use packline_domain::{
    BuildResult, PackageName,
    record::{Leader, Permit, Queue, Retries, State},
};
use packline_testkit::{
    line::{Binaries, Progress},
    plant::Plant,
};
use serde_json::Value;

use crate::{Fixture, Gate, PATIENCE};

/// A line of real processes with a broker connection of the test's own.
pub struct Scene {
    /// Its parts.
    pub plant: Plant,
    /// The test's connection.
    pub broker: Broker,
}

/// A worker is lost, a leader replaced, within seconds.
const QUICK: [(&str, &str); 3] = [("LEASE", "2s"), ("CLAIM", "6s"), ("MAX_CONCURRENT", "4")];

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
    pub async fn demo() -> anyhow::Result<Self> {
        Self::on(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../demo")), &[]).await
    }

    async fn on(workspace: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let binaries = Binaries::find(Progress::Hidden).await?;
        let settings: Vec<_> = QUICK.iter().chain(settings).copied().collect();
        let plant = Plant::start(&binaries, workspace, &settings).await?;
        let broker = Broker::connect(&Settings::at(plant.broker.url()), "test").await?;
        broker.ensure_topology().await?;
        Ok(Self { plant, broker })
    }

    /// Starts one orchestrator, one poller and so many workers of two slots.
    ///
    /// # Errors
    /// When one does not start.
    pub fn run(&mut self, workers: usize) -> anyhow::Result<()> {
        self.plant.add_orchestrator()?;
        self.plant.add_poller()?;
        for _ in 0..workers {
            self.plant.add_worker(2)?;
        }
        Ok(())
    }

    /// Publishes to `packages.new`, as `nats pub` does.
    ///
    /// # Errors
    /// When the broker does not store it.
    pub async fn announce(&self, body: impl Into<bytes::Bytes>) -> anyhow::Result<u64> {
        Ok(self.broker.publish(Message::new("packages.new", body)).await?)
    }

    /// Publishes a command.
    ///
    /// # Errors
    /// When the broker does not store it.
    pub async fn command(&self, command: &str, body: &'static str) -> anyhow::Result<u64> {
        Ok(self.broker.publish(Message::new(format!("control.{command}"), body)).await?)
    }

    /// Waits until the key of the bucket `orchestrator` satisfies `wanted`.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`]; with the last value and the logs.
    pub async fn until(&self, key: &str, wanted: impl Fn(Option<&Value>) -> bool) -> anyhow::Result<Option<Value>> {
        let mut watch = self.broker.bucket(BucketName::Orchestrator).watch(key);
        let mut last = None;
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                match watch.next().await {
                    Watched::Entry(entry) => {
                        last = entry.value.and_then(|value| serde_json::from_slice::<Value>(&value).ok());
                    }
                    Watched::Complete => {}
                    Watched::Gap => continue,
                }
                if wanted(last.as_ref()) {
                    return;
                }
            }
        });
        if found.await.is_err() {
            bail!("{key} stays {last:?}\n{}", self.logs());
        }
        Ok(last)
    }

    /// Waits until a package has one of these states: `published`, `failed`, …
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_state(&self, package: &str, state: &str) -> anyhow::Result<Queue> {
        let key = format!("queue.{}", name(package)?.key());
        let found = self.until(&key, |value| value.is_some_and(|value| value["state"] == state)).await?;
        Ok(serde_json::from_value(found.context("no record")?)?)
    }

    /// Waits until a worker holds the permit of a package; answers the permit as it was then.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_held(&self, package: &str) -> anyhow::Result<Permit> {
        loop {
            let queue = self.until_state(package, "building").await?;
            let State::Building { build_id, permit, .. } = queue.state else { bail!("not building") };
            let build = build_id.to_string();
            let held = self
                .until(&format!("permits.{permit}"), |value| {
                    value.is_none_or(|value| value["worker"].is_string() || value["buildId"] != build)
                })
                .await?;
            // Ended meanwhile: then the next build of it.
            match held.map(serde_json::from_value::<Permit>).transpose()? {
                Some(permit) if permit.build_id == build_id => return Ok(permit),
                _ => {}
            }
        }
    }

    /// Waits until something that no message tells of is so; looks 50 times a second.
    ///
    /// # Errors
    /// When it is not within `patience`.
    pub async fn until_seen(&self, what: &str, patience: Duration, so: impl Fn() -> bool) -> anyhow::Result<()> {
        let since = Instant::now();
        while !so() {
            if since.elapsed() > patience {
                bail!("not within {patience:?}: {what}\n{}", self.logs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until so many builds have reached the gate.
    ///
    /// # Errors
    /// As [`Self::until_seen`].
    pub async fn until_reached(&self, gate: &Gate, builds: usize) -> anyhow::Result<Vec<String>> {
        self.until_seen("builds at the gate", PATIENCE, || gate.reached().len() >= builds).await?;
        Ok(gate.reached())
    }

    /// What a package's attempts have used up.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn retries(&self, package: &str) -> anyhow::Result<Retries> {
        let key = format!("retries.{}", name(package)?.key());
        let entry = self.broker.bucket(BucketName::Orchestrator).get(&key).await?;
        match entry.and_then(|entry| entry.value) {
            Some(value) => Ok(serde_json::from_slice(&value)?),
            None => Ok(Retries::default()),
        }
    }

    /// Who leads.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn leader(&self) -> anyhow::Result<Leader> {
        let entry = self.broker.bucket(BucketName::Orchestrator).get("leader").await?;
        Ok(serde_json::from_slice(&entry.and_then(|entry| entry.value).context("no leader")?)?)
    }

    /// The keys of permits in use.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn permits(&self) -> anyhow::Result<Vec<String>> {
        let entries = self.broker.bucket(BucketName::Orchestrator).load("permits.*", 0).await?;
        Ok(entries.into_iter().filter(|entry| entry.value.is_some()).map(|entry| entry.key).collect())
    }

    /// All messages of a stream so far, as JSON where they are.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn messages(&self, stream: StreamName) -> anyhow::Result<Vec<(String, Value)>> {
        let all = self.stored(stream).await?;
        let json = |message: &Stored| serde_json::from_slice(&message.payload).unwrap_or(Value::Null);
        Ok(all.iter().map(|message| (message.subject.clone(), json(message))).collect())
    }

    /// All messages of a stream so far.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn stored(&self, stream: StreamName) -> anyhow::Result<Vec<Stored>> {
        let mut all = Vec::new();
        let mut from = 1;
        while let Some(message) = self.broker.stored(stream, from).await? {
            from = message.sequence + 1;
            all.push(message);
        }
        Ok(all)
    }

    /// All results of a package so far.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn results(&self, package: &str) -> anyhow::Result<Vec<BuildResult>> {
        let results = self.messages(StreamName::Results).await?;
        let results = results.into_iter().filter_map(|(_, body)| serde_json::from_value::<BuildResult>(body).ok());
        Ok(results.filter(|result| result.package_name.as_str() == package).collect())
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

    /// The last lines of every program.
    pub fn logs(&self) -> String {
        let plant = &self.plant;
        let programs = plant.orchestrators.iter().chain(&plant.pollers).chain(&plant.workers);
        programs.map(|program| format!("--- {}\n{}", program.name(), program.last_lines(30))).collect()
    }
}

/// A future's value, or an error after [`PATIENCE`].
///
/// # Errors
/// When it takes longer.
async fn within<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.context("it takes too long")
}

fn name(package: &str) -> anyhow::Result<PackageName> {
    Ok(package.parse()?)
}
