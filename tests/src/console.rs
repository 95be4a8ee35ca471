//! What a test sees of a line, and says to it: over the broker, and in the logs.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use packline_broker::{Broker, BucketName, Message, Settings, Stored, StreamName, Watched, topology};
use packline_domain::{
    BuildResult, Event, PackageName,
    record::{CONTROL, Control, LEADER, Leader, Permit, Queue, Retries, State, Worker},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{Gate, PATIENCE};

/// Readers of one stream at a time.
const READERS: u64 = 32;

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
        let stored = self.publish_once(vec![Message::new(format!("control.{command}"), body)]);
        let stored = tokio::time::timeout(PATIENCE, stored).await;
        stored.context("the command is not stored")?.first().copied().context("no sequence")
    }

    /// Stores all messages, each once: without an id, what is sent again after a lost answer is another message. Answers
    /// their sequences.
    pub async fn publish_once(&self, messages: Vec<Message>) -> Vec<u64> {
        let call = fastrand::u64(..);
        let messages = messages.into_iter().zip(0..);
        let with_id = messages.map(|(message, n)| Message { id: Some(format!("{call:016x}-{n}")), ..message });
        self.broker.publish_stored(with_id.collect()).await
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

    /// Waits until the heartbeats of so many workers name this CLAIM: a worker that is killed sooner is lost later.
    ///
    /// # Errors
    /// When they do not within [`PATIENCE`].
    pub async fn until_obeyed(&self, claim: Duration, workers: usize) -> anyhow::Result<()> {
        let workers_of = self.broker.bucket(BucketName::Workers);
        let obeyed = async {
            loop {
                let entries = workers_of.load(">", 0).await?;
                let records =
                    entries.iter().filter_map(|entry| serde_json::from_slice::<Worker>(entry.value.as_deref()?).ok());
                let obeys = |worker: &Worker| u128::from(worker.claim_millis) == claim.as_millis();
                if records.filter(obeys).count() >= workers {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, obeyed).await.context("the workers do not obey CLAIM")?
    }

    /// Who leads.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn leader(&self) -> anyhow::Result<Leader> {
        let entry = self.broker.bucket(BucketName::Orchestrator).get("leader").await?;
        Ok(serde_json::from_slice(&entry.and_then(|entry| entry.value).context("no leader")?)?)
    }

    /// Waits until a command is applied, and all that it withdraws is withdrawn.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_complete(&self, command: u64) -> anyhow::Result<Control> {
        let parse = |value: &Value| serde_json::from_value::<Control>(value.clone()).ok();
        let last = |value: &Value| parse(value)?.last;
        let complete = |value: &Value| last(value).is_some_and(|last| last.sequence >= command && last.complete);
        let control = self.until(CONTROL, |value| value.is_some_and(complete)).await?;
        control.as_ref().and_then(parse).context("no control")
    }

    /// Waits until somebody leads and has come as far as answering.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_leading(&self) -> anyhow::Result<Leader> {
        let leads = async {
            loop {
                match (self.leader().await, self.ask("orchestrator.state", "").await) {
                    (Ok(leader), Ok(state)) if state.get("term") == Some(&leader.term.into()) => return leader,
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, leads).await.with_context(|| format!("nobody leads\n{}", self.logs()))
    }

    /// Waits until all that is decided so far is out.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_out(&self) -> anyhow::Result<()> {
        let decided = self.leader().await?.commit;
        let is_out = |leader: &Value| leader["effectsThrough"].as_u64() >= Some(decided);
        self.until(LEADER, |leader| leader.is_some_and(is_out)).await?;
        Ok(())
    }

    /// The keys of permits in use.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn permits(&self) -> anyhow::Result<Vec<String>> {
        let entries = self.broker.bucket(BucketName::Orchestrator).load("permits.*", 0).await?;
        Ok(entries.into_iter().filter(|entry| entry.value.is_some()).map(|entry| entry.key).collect())
    }

    /// The permits in use, as they are in the bucket.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn held(&self) -> anyhow::Result<Vec<Permit>> {
        let entries = self.broker.bucket(BucketName::Orchestrator).load("permits.*", 0).await?;
        let values = entries.into_iter().filter_map(|entry| entry.value);
        Ok(values.map(|value| serde_json::from_slice(&value)).collect::<Result<_, _>>()?)
    }

    /// The state of every package in the bucket, as its record calls it.
    ///
    /// # Errors
    /// When the bucket cannot be read.
    pub async fn states(&self) -> anyhow::Result<BTreeMap<PackageName, String>> {
        let entries = self.broker.bucket(BucketName::Orchestrator).load("queue.>", 0).await?;
        let mut states = BTreeMap::new();
        for value in entries.into_iter().filter_map(|entry| entry.value) {
            let record: Queue = serde_json::from_slice(&value)?;
            let state = serde_json::to_value(&record.state)?;
            let state = state.get("state").and_then(Value::as_str).unwrap_or_default().to_owned();
            states.insert(record.package.name, state);
        }
        Ok(states)
    }

    /// Waits until the leader knows of all that the bucket shows now: a record can be seen there before the leader
    /// has heard that it is stored.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`], or nobody leads.
    pub async fn until_known(&self) -> anyhow::Result<()> {
        let seen = self.leader().await?.commit;
        let known = async {
            let commit = |state: &Value| state.get("commit").and_then(Value::as_u64);
            while commit(&self.asked(topology::STATE, "").await?) < Some(seen) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, known).await.with_context(|| format!("not known\n{}", self.logs()))?
    }

    /// What the leader answers to a question, with all that the bucket shows now.
    ///
    /// # Errors
    /// When there is none within [`PATIENCE`], or it refuses.
    pub async fn ask(&self, question: &str, body: &str) -> anyhow::Result<Value> {
        self.until_known().await?;
        self.asked(question, body).await
    }

    /// One whose lease ran out during a slow commit says nothing, and is asked again.
    async fn asked(&self, question: &str, body: &str) -> anyhow::Result<Value> {
        let since = Instant::now();
        loop {
            match self.broker.ask(question, body.to_owned()).await {
                Err(error) if error.is_passing() && since.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                answer => return Ok(serde_json::from_slice(&answer?)?),
            }
        }
    }

    /// The events so far, in the order in which they were decided. What a leader that died may have sent
    /// already is sent again by the next one: of such copies the first counts.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn events(&self) -> anyhow::Result<Vec<Event>> {
        let (mut events, mut seen) = (Vec::new(), HashSet::new());
        for message in self.stored(StreamName::Events).await? {
            if seen.insert(message.payload.clone()) {
                events.push(serde_json::from_slice(&message.payload)?);
            }
        }
        Ok(events)
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
        let state = self.broker.stream_state(stream).await?;
        let (first, last) = (state.first_sequence.max(1), state.last_sequence);
        // Each read waits for one answer: many wait at a time.
        let length = (last + 1).saturating_sub(first).div_ceil(READERS).max(1);
        let mut readers = JoinSet::new();
        for (place, from) in (first..=last).step_by(usize::try_from(length)?).enumerate() {
            let (broker, until) = (self.broker.clone(), (from + length - 1).min(last));
            readers.spawn(async move { anyhow::Ok((place, read(&broker, stream, from, until).await?)) });
        }
        let mut parts: Vec<_> = readers.join_all().await.into_iter().collect::<Result<_, _>>()?;
        parts.sort_by_key(|(place, _)| *place);
        Ok(parts.into_iter().flat_map(|(_, part)| part).collect())
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

async fn read(broker: &Broker, stream: StreamName, mut from: u64, until: u64) -> anyhow::Result<Vec<Stored>> {
    let mut read = Vec::new();
    while from <= until
        && let Some(message) = broker.stored(stream, from).await?.filter(|message| message.sequence <= until)
    {
        from = message.sequence + 1;
        read.push(message);
    }
    Ok(read)
}

fn name(package: &str) -> anyhow::Result<PackageName> {
    Ok(package.parse()?)
}
