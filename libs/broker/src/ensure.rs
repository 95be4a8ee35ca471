//! Makes what is missing, refuses what differs, deletes nothing.

use std::time::{Duration, Instant};

use async_nats::jetstream::{
    ErrorCode,
    consumer::{self, pull},
    stream::Config,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    Broker, BrokerError, BucketName, StreamName,
    patience::Patience,
    topology::{self},
};

const LOOK_EVERY: Duration = Duration::from_millis(250);
const SAID_EVERY: Duration = Duration::from_secs(60);
/// How often the making of a consumer is tried before its caller is told; less than a second in all.
const CREATE_TRIES: usize = 5;

/// Why the streams, buckets and consumers are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// Something exists with another setting that matters. An operator has to decide.
    #[error("{what} exists with {setting} {found}, and must have {wanted}: change it, or use another account")]
    Drift {
        /// `stream BUILDS`, `consumer builders on BUILDS`, …
        what: String,
        /// As JetStream calls it.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// The broker will not make it.
    #[error("failed to make {what}: {source}")]
    Refused {
        /// `stream BUILDS`, …
        what: String,
        /// What the broker said.
        source: BrokerError,
    },
}

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// When it was made, RFC 3339, as the broker writes it: another time is another stream.
    pub created: String,
    /// Sequence of the oldest message; one more than the last where there is none.
    pub first_sequence: u64,
    /// Sequence of the newest message there ever was.
    pub last_sequence: u64,
    /// How many there are.
    pub messages: u64,
}

#[derive(Deserialize)]
struct StreamInfo {
    created: String,
    config: Config,
    state: State,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
    first_seq: u64,
    last_seq: u64,
}

#[derive(Deserialize)]
struct ConsumerInfo {
    config: consumer::Config,
}

/// Whether the number of replicas matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replicas {
    /// It is a setting of this process.
    Own,
    /// It is somebody else's.
    Any,
}

/// Whether something is there and right.
enum Found {
    Right,
    Nothing,
}

impl Broker {
    /// Makes the streams, buckets and shared consumers that are missing. Waits for as long as the broker
    /// is not available.
    ///
    /// # Errors
    /// When something exists with other settings that matter, or the broker refuses to make it.
    pub async fn ensure_topology(&self) -> Result<(), TopologyError> {
        for config in self.streams() {
            let mut patience = Patience::new(format!("look for stream {}", config.name));
            while let Err(error) = self.ensure_stream(&config).await? {
                patience.pause(&error).await;
            }
        }
        for (stream, config) in topology::durables() {
            let mut patience = Patience::new(format!("look for the consumers of {}", stream.as_str()));
            while let Err(error) = self.ensure_durable(stream, &config).await? {
                patience.pause(&error).await;
            }
        }
        Ok(())
    }

    /// Waits until all streams, buckets and shared consumers are there; says so once a minute.
    ///
    /// # Errors
    /// When something exists with other settings that matter.
    pub async fn await_topology(&self) -> Result<(), TopologyError> {
        let mut said: Option<Instant> = None;
        loop {
            let missing = match self.first_missing(Replicas::Own).await? {
                Ok(None) => return Ok(()),
                Ok(Some(what)) => what,
                Err(error) => error.to_string(),
            };
            match said {
                Some(at) if at.elapsed() < SAID_EVERY => {}
                _ => {
                    tracing::info!("waiting for the orchestrator to set up the broker: {missing}");
                    said = Some(Instant::now());
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What a stream holds now.
    ///
    /// # Errors
    /// When the broker is not available, or has no such stream.
    pub async fn stream_state(&self, stream: StreamName) -> Result<StreamState, BrokerError> {
        let info = self.stream_info(stream.as_str()).await?;
        Ok(StreamState {
            created: info.created,
            first_sequence: info.state.first_seq,
            last_sequence: info.state.last_seq,
            messages: info.state.messages,
        })
    }

    /// Deletes the messages of a stream before `sequence`, and not that one.
    ///
    /// # Errors
    /// When the broker is not available or refuses.
    pub async fn purge_before(&self, stream: StreamName, sequence: u64) -> Result<(), BrokerError> {
        let subject = format!("STREAM.PURGE.{}", stream.as_str());
        let _: serde_json::Value = self.api(subject, &json!({"seq": sequence})).await?;
        Ok(())
    }

    fn streams(&self) -> impl Iterator<Item = Config> + use<> {
        let replicas = self.replicas();
        let buckets = BucketName::ALL.into_iter().map(move |bucket| bucket.config(replicas));
        StreamName::ALL.into_iter().map(move |stream| stream.config(replicas)).chain(buckets)
    }

    /// The highest sequence that a stream ever had.
    pub(crate) async fn last_sequence(&self, stream: &str) -> Result<u64, BrokerError> {
        Ok(self.stream_info(stream).await?.state.last_seq)
    }

    async fn stream_info(&self, name: &str) -> Result<StreamInfo, BrokerError> {
        self.api(format!("STREAM.INFO.{name}"), &json!({})).await
    }

    async fn find_stream(
        &self,
        wanted: &Config,
        replicas: Replicas,
    ) -> Result<Result<Found, BrokerError>, TopologyError> {
        match self.stream_info(&wanted.name).await {
            Ok(info) => {
                let wanted = match replicas {
                    Replicas::Own => wanted.clone(),
                    Replicas::Any => Config { num_replicas: info.config.num_replicas, ..wanted.clone() },
                };
                compare_stream(&info.config, &wanted).map(|()| Ok(Found::Right))
            }
            Err(BrokerError::Missing(_)) => Ok(Ok(Found::Nothing)),
            Err(error) => passing(error, || format!("stream {}", wanted.name)),
        }
    }

    async fn find_durable(
        &self,
        stream: StreamName,
        wanted: &pull::Config,
    ) -> Result<Result<Found, BrokerError>, TopologyError> {
        let (stream, name) = (stream.as_str(), wanted.durable_name.as_deref().unwrap_or_default());
        let what = || format!("consumer {name} on {stream}");
        match self.api::<ConsumerInfo>(format!("CONSUMER.INFO.{stream}.{name}"), &json!({})).await {
            Ok(info) => compare_durable(&info.config, wanted, &what()).map(|()| Ok(Found::Right)),
            Err(BrokerError::Missing(_)) => Ok(Ok(Found::Nothing)),
            Err(error) => passing(error, what),
        }
    }

    /// The inner error is worth another try.
    async fn ensure_stream(&self, wanted: &Config) -> Result<Result<(), BrokerError>, TopologyError> {
        match self.find_stream(wanted, Replicas::Own).await? {
            Ok(Found::Right) => return Ok(Ok(())),
            Ok(Found::Nothing) => {}
            Err(error) => return Ok(Err(error)),
        }
        let made = self.api::<serde_json::Value>(format!("STREAM.CREATE.{}", wanted.name), wanted).await;
        match made {
            Ok(_) => {
                tracing::info!("made stream {}", wanted.name);
                Ok(Ok(()))
            }
            // Another orchestrator was faster, or an earlier try of ours was done without an answer.
            Err(error) if error.has_code(ErrorCode::STREAM_NAME_EXIST) => Ok(Err(error)),
            Err(error) => passing(error, || format!("stream {}", wanted.name)),
        }
    }

    async fn ensure_durable(
        &self,
        stream: StreamName,
        wanted: &pull::Config,
    ) -> Result<Result<(), BrokerError>, TopologyError> {
        match self.find_durable(stream, wanted).await? {
            Ok(Found::Right) => return Ok(Ok(())),
            Ok(Found::Nothing) => {}
            Err(error) => return Ok(Err(error)),
        }
        let name = wanted.durable_name.as_deref().unwrap_or_default();
        match self
            .make_consumer(stream.as_str(), name, &consumer::IntoConsumerConfig::into_consumer_config(wanted))
            .await
        {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.has_code(ErrorCode::CONSUMER_ALREADY_EXISTS) => Ok(Err(error)),
            Err(error) => passing(error, || format!("consumer {name} on {}", stream.as_str())),
        }
    }

    /// Makes a consumer that must not exist yet (or exists exactly so); answers how much waits for it.
    pub(crate) async fn make_consumer(
        &self,
        stream: &str,
        name: &str,
        config: &consumer::Config,
    ) -> Result<u64, BrokerError> {
        #[derive(Deserialize)]
        struct Made {
            num_pending: u64,
        }
        let filter =
            if config.filter_subject.is_empty() { String::new() } else { format!(".{}", config.filter_subject) };
        let subject = format!("CONSUMER.CREATE.{stream}.{name}{filter}");
        let request = json!({"stream_name": stream, "config": config, "action": "create"});
        let mut patience = Patience::new(format!("make consumer {name} on {stream}"));
        for _ in 0..CREATE_TRIES {
            match self.api::<Made>(subject.clone(), &request).await {
                // The broker still clears up one of this name, and stumbles over its own files.
                Err(error) if error.has_code(ErrorCode::CONSUMER_CREATE) => patience.pause(&error).await,
                made => return made.map(|made| made.num_pending),
            }
        }
        Err(BrokerError::unavailable(format!("consumer {name} on {stream} cannot be made now")))
    }

    pub(crate) async fn first_missing(
        &self,
        replicas: Replicas,
    ) -> Result<Result<Option<String>, BrokerError>, TopologyError> {
        for config in self.streams() {
            match self.find_stream(&config, replicas).await? {
                Ok(Found::Right) => {}
                Ok(Found::Nothing) => return Ok(Ok(Some(format!("no stream {}", config.name)))),
                Err(error) => return Ok(Err(error)),
            }
        }
        for (stream, config) in topology::durables() {
            match self.find_durable(stream, &config).await? {
                Ok(Found::Right) => {}
                Ok(Found::Nothing) => {
                    let name = config.durable_name.unwrap_or_default();
                    return Ok(Ok(Some(format!("no consumer {name} on {}", stream.as_str()))));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(None))
    }
}

/// During an election JetStream answers 503, which is no reason to make anything.
fn passing<T>(error: BrokerError, what: impl FnOnce() -> String) -> Result<Result<T, BrokerError>, TopologyError> {
    if error.is_passing() { Ok(Err(error)) } else { Err(TopologyError::Refused { what: what(), source: error }) }
}

fn compare_stream(found: &Config, wanted: &Config) -> Result<(), TopologyError> {
    let what = format!("stream {}", wanted.name);
    let same = |setting, found: String, wanted: String| differ(&what, setting, found, wanted);
    same("subjects", found.subjects.join(", "), wanted.subjects.join(", "))?;
    same("retention", format!("{:?}", found.retention), format!("{:?}", wanted.retention))?;
    same("discard", format!("{:?}", found.discard), format!("{:?}", wanted.discard))?;
    same("storage", format!("{:?}", found.storage), format!("{:?}", wanted.storage))?;
    same("max_age", format!("{:?}", found.max_age), format!("{:?}", wanted.max_age))?;
    same("num_replicas", found.num_replicas.to_string(), wanted.num_replicas.to_string())?;
    let limit = |limit: i64| if limit <= 0 { "none".to_owned() } else { limit.to_string() };
    same("max_msgs_per_subject", limit(found.max_messages_per_subject), limit(wanted.max_messages_per_subject))?;
    let flags = |setting, found: bool, wanted: bool| same(setting, found.to_string(), wanted.to_string());
    flags("allow_atomic", found.allow_atomic_publish || !wanted.allow_atomic_publish, true)?;
    flags("allow_direct", found.allow_direct && wanted.name.starts_with("KV_"), false)?;
    flags("allow_rollup_hdrs", found.allow_rollup, wanted.allow_rollup)?;
    flags("deny_purge", found.deny_purge || !wanted.deny_purge, true)?;
    flags("no_ack", found.no_ack, wanted.no_ack)?;
    flags("sealed", found.sealed, wanted.sealed)?;
    // A shorter window than ours would let repeated dead letters through; a longer one does no harm.
    if found.duplicate_window < wanted.duplicate_window {
        let (found, wanted) = (format!("{:?}", found.duplicate_window), format!("{:?}", wanted.duplicate_window));
        same("duplicate_window", found, wanted)?;
    }
    Ok(())
}

fn compare_durable(found: &consumer::Config, wanted: &pull::Config, what: &str) -> Result<(), TopologyError> {
    let same = |setting, found: String, wanted: String| differ(what, setting, found, wanted);
    same("ack_policy", format!("{:?}", found.ack_policy), format!("{:?}", wanted.ack_policy))?;
    same("ack_wait", format!("{:?}", found.ack_wait), format!("{:?}", wanted.ack_wait))?;
    same("max_deliver", found.max_deliver.to_string(), wanted.max_deliver.to_string())?;
    same("max_ack_pending", found.max_ack_pending.to_string(), wanted.max_ack_pending.to_string())?;
    same("filter_subject", found.filter_subject.clone(), wanted.filter_subject.clone())?;
    same("deliver_subject", format!("{:?}", found.deliver_subject), format!("{:?}", None::<String>))?;
    same("backoff", format!("{:?}", found.backoff), format!("{:?}", wanted.backoff))
}

fn differ(what: &str, setting: &'static str, found: String, wanted: String) -> Result<(), TopologyError> {
    if found == wanted { Ok(()) } else { Err(TopologyError::Drift { what: what.to_owned(), setting, found, wanted }) }
}
