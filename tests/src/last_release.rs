//! The fixture of 766d1c3: a pipeline whose every part died in the middle of its work, see its README.md.

use std::{
    collections::BTreeMap,
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use packline_broker::{Broker, Message, Settings};
use packline_domain::Timestamp;
use packline_testkit::{
    catalogue::Catalogue,
    line::{Binaries, Line, Progress},
    nats::{NatsOptions, NatsServer},
    tools,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::Console;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/766d1c3");

/// The key that holds the creation times of streams.
const LEADER: &str = "$KV.orchestrator.leader";

/// How long ago all programs died: by the calendar what a pipeline has done would be forgotten after a month.
const AGO: Duration = Duration::from_hours(2);

/// A broker with what the programs of 766d1c3 left there, the catalogue beside it, and no program yet.
pub struct LastRelease {
    /// What was recorded, by stream.
    pub recorded: BTreeMap<String, Vec<Recorded>>,
    /// The catalogue.
    pub catalogue: Catalogue,
    line: Line,
    console: Console,
    _server: NatsServer,
    _folder: TempDir,
}

/// One message as it was recorded.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    /// Its sequence in its stream.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// Where it was published.
    pub subject: String,
    /// Its headers, without those that told the broker how to store it.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub data: String,
}

impl Recorded {
    /// Its body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

/// One stream as it was recorded.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stream {
    config: Map<String, Value>,
    created: String,
    first_sequence: u64,
    last_sequence: u64,
    consumers: Vec<Consumer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consumer {
    config: Map<String, Value>,
    acknowledged_through: u64,
}

impl Deref for LastRelease {
    type Target = Console;

    fn deref(&self) -> &Console {
        &self.console
    }
}

impl LastRelease {
    /// Loads the fixture. `settings` are environment variables for all programs that are started later.
    ///
    /// # Errors
    /// When something is missing or does not start, or the broker does not take what was recorded.
    pub async fn load(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let binaries = Binaries::find(Progress::Hidden).await?;
        let folder = tempfile::Builder::new().prefix("packline-last-release-").tempdir()?;
        let server = NatsServer::start(NatsOptions::durable(tools::nats_server().await?)).await?;
        let recorded = load(&Broker::connect(&Settings::at(server.url()), "fixture").await?).await?;
        let catalogue = Self::catalogue(&binaries, folder.path())?;
        let home = folder.path().to_string_lossy().into_owned();
        let line = Line::new(&binaries, folder.path(), &server.url()).with("HOME", &home).with("TMPDIR", &home);
        let line = line.with("MCP_COMMAND", &catalogue.command());
        let line = settings.iter().fold(line, |line, (name, value)| line.with(name, value));
        let console = Console::open(&server.url(), folder.path()).await?;
        Ok(Self { recorded, catalogue, line, console, _server: server, _folder: folder })
    }

    /// A copy of the recorded catalogue.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn catalogue(binaries: &Binaries, folder: &Path) -> anyhow::Result<Catalogue> {
        let database = folder.join("packages.db");
        fs::copy(Path::new(FIXTURE).join("packages.db"), &database)?;
        Ok(Catalogue::empty(binaries, &database))
    }

    /// For programs.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// What was recorded of a stream, or of a bucket by its stream `KV_…`.
    pub fn of(&self, stream: &str) -> &[Recorded] {
        self.recorded.get(stream).map(Vec::as_slice).unwrap_or_default()
    }

    /// The recorded value of a key of the bucket `orchestrator`.
    pub fn key(&self, key: &str) -> Option<Value> {
        let subject = format!("$KV.orchestrator.{key}");
        self.of("KV_orchestrator").iter().find(|message| message.subject == subject).map(Recorded::json)
    }
}

/// Recreates the streams with their messages at their sequences, so that revisions stay what records say, and the
/// durables behind what they had acknowledged.
async fn load(broker: &Broker) -> anyhow::Result<BTreeMap<String, Vec<Recorded>>> {
    let pipeline = PathBuf::from(FIXTURE).join("pipeline");
    let streams: Vec<Stream> = serde_json::from_slice(&fs::read(pipeline.join("streams.json"))?)?;
    let (mut recorded, mut created) = (BTreeMap::new(), BTreeMap::new());
    for Stream { config, created: then, first_sequence, .. } in &streams {
        let name = text(config, "name")?;
        let mut config = config.clone();
        config.insert("first_seq".into(), (*first_sequence).into());
        let made = api(broker, &format!("STREAM.CREATE.{name}"), &config.into()).await?;
        let now = made.get("created").and_then(Value::as_str).context("a stream without a time")?.to_owned();
        created.insert(then.clone(), now);
        let lines = fs::read_to_string(pipeline.join(format!("{name}.jsonl"))).unwrap_or_default();
        let messages: Vec<Recorded> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        recorded.insert(name, messages);
    }
    rewrite(&mut recorded, &created)?;
    for Stream { config, first_sequence, last_sequence, consumers, .. } in &streams {
        let name = text(config, "name")?;
        let messages = recorded.get(&name).map(Vec::as_slice).unwrap_or_default();
        fill(broker, &name, config, (*first_sequence, *last_sequence), messages).await?;
        for consumer in consumers {
            recreate(broker, &name, config, consumer).await?;
        }
    }
    Ok(recorded)
}

/// What is not as it was recorded: the leader knows its streams by when they were created, and times are as if all had
/// been recorded [`AGO`].
fn rewrite(recorded: &mut BTreeMap<String, Vec<Recorded>>, created: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let newest = recorded.values().flatten().flat_map(|message| times(&message.data)).map(|(_, time)| time).max();
    let newest = newest.context("no times are recorded")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let later = Timestamp::default().after(now).before(AGO).as_millis() - newest.as_millis();
    for message in recorded.values_mut().flatten() {
        for (place, time) in times(&message.data) {
            let time = Timestamp::from_millis(time.as_millis() + later);
            message.data.replace_range(place..place + LENGTH, &time.to_string());
        }
        if message.subject == LEADER {
            for (then, now) in created {
                message.data = message.data.replace(then, now);
            }
        }
    }
    Ok(())
}

/// As long is a time of Packline's; those of the broker are longer.
const LENGTH: usize = "2026-11-30T17:21:24.250Z".len();

/// The times of Packline's in a text, with their places.
fn times(text: &str) -> Vec<(usize, Timestamp)> {
    let places = text.match_indices("Z\"").map(|(end, _)| (end + 1).checked_sub(LENGTH));
    let read = |place: usize| {
        let time = text.get(place..place + LENGTH).filter(|_| text.get(..place).is_some_and(|t| t.ends_with('"')))?;
        Some((place, serde_json::from_value(time.into()).ok()?))
    };
    places.flatten().filter_map(read).collect()
}

/// Publishes the messages, with fillers where there is none any more.
async fn fill(
    broker: &Broker,
    stream: &str,
    config: &Map<String, Value>,
    (first, last): (u64, u64),
    messages: &[Recorded],
) -> anyhow::Result<()> {
    let (mut next, mut all, mut fillers) = (first, Vec::new(), Vec::new());
    for message in messages {
        // In a bucket the word of a key replaces the fillers before it.
        for filler in next..message.sequence {
            all.push(Message::new(&message.subject, ""));
            fillers.push(filler);
        }
        let headers = message.headers.clone().into_iter().collect();
        all.push(Message { headers, ..Message::new(&message.subject, message.data.clone()) });
        next = message.sequence + 1;
    }
    if next <= last {
        let subject = messages.last().with_context(|| format!("{stream} is empty and not new"))?.subject.clone();
        for filler in next..=last {
            all.push(Message::new(&subject, ""));
            fillers.push(filler);
        }
    }
    let sequences = broker.publish_stored(all).await;
    ensure!(sequences.iter().copied().eq(first..first + sequences.len() as u64), "{stream} has sequences of its own");
    if config.get("max_msgs_per_subject") == Some(&json!(1)) {
        ensure!(next > last, "{stream} ends with a message that is gone");
        return Ok(());
    }
    for filler in fillers {
        api(broker, &format!("STREAM.MSG.DELETE.{stream}"), &json!({"seq": filler})).await?;
    }
    Ok(())
}

async fn recreate(
    broker: &Broker,
    stream: &str,
    stream_config: &Map<String, Value>,
    consumer: &Consumer,
) -> anyhow::Result<()> {
    let mut config = consumer.config.clone();
    let name = text(&config, "durable_name")?;
    // A work queue holds nothing that was acknowledged, and is delivered whole.
    if stream_config.get("retention") != Some(&json!("workqueue")) {
        config.insert("deliver_policy".into(), "by_start_sequence".into());
        config.insert("opt_start_seq".into(), (consumer.acknowledged_through + 1).into());
    }
    let filter = config.get("filter_subject").and_then(Value::as_str).map(|filter| format!(".{filter}"));
    let subject = format!("CONSUMER.CREATE.{stream}.{name}{}", filter.unwrap_or_default());
    api(broker, &subject, &json!({"stream_name": stream, "config": config, "action": "create"})).await?;
    Ok(())
}

fn text(config: &Map<String, Value>, field: &str) -> anyhow::Result<String> {
    Ok(config.get(field).and_then(Value::as_str).with_context(|| format!("no {field}"))?.to_owned())
}

async fn api(broker: &Broker, subject: &str, body: &Value) -> anyhow::Result<Value> {
    let answer = broker.ask(&format!("$JS.API.{subject}"), body.to_string()).await?;
    let mut answer: Value = serde_json::from_slice(&answer)?;
    match answer.get_mut("error").map(Value::take) {
        Some(error) => bail!("{subject}: {error}"),
        None => Ok(answer),
    }
}
