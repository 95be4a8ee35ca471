//! What a test sees of a line, and says to it: over the broker, and in the logs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use packline_broker::{Broker, BucketName, Message, Settings, Stored, StreamName, Watched};
use packline_domain::{
    BuildResult, PackageName,
    record::{Leader, Permit, Queue, Retries, State},
};
use serde_json::Value;

use crate::{Gate, PATIENCE};

/// Lines of each log that a failure shows.
const SHOWN: usize = 30;

/// A connection of the test's own to the broker of a line.
pub struct Console {
    /// The connection.
    pub broker: Broker,
    folder: PathBuf,
}

impl Console {
    /// Connects, and makes the streams and buckets that are missing; `folder` holds the line's logs.
    ///
    /// # Errors
    /// When the broker is not there.
    pub async fn open(nats_url: &str, folder: &Path) -> anyhow::Result<Self> {
        let broker = Broker::connect(&Settings::at(nats_url), "test").await?;
        broker.ensure_topology().await?;
        Ok(Self { broker, folder: folder.to_owned() })
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
    pub async fn command(&self, command: &str, body: impl Into<bytes::Bytes>) -> anyhow::Result<u64> {
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

    /// The last lines of every program.
    pub fn logs(&self) -> String {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut logs: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
        logs.sort();
        let last_lines = |log: &PathBuf| {
            let text = fs::read(log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().rev().take(SHOWN).collect();
            let lines: String = lines.iter().rev().map(|line| format!("{line}\n")).collect();
            format!("--- {}\n{lines}", log.file_name().unwrap_or_default().display())
        };
        logs.iter().map(last_lines).collect()
    }
}

fn name(package: &str) -> anyhow::Result<PackageName> {
    Ok(package.parse()?)
}
