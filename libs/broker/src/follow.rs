//! Reading a bucket in order without a gap, or saying that there was one.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_nats::{
    StatusCode, Subscriber,
    jetstream::consumer::{AckPolicy, Config, DeliverPolicy},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use packline_domain::record::LEADER;
use tokio::sync::watch;

use crate::{Broker, BrokerError, Bucket, Entry, delivery::Place};

const HEARTBEAT: Duration = Duration::from_secs(2);
/// No word for so long: the consumer or the broker is gone.
const SILENCE: Duration = Duration::from_secs(5);
/// After so long without us the broker drops the consumer.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// What a [`Reader`] read.
pub(crate) enum Read {
    /// The word of a key.
    Entry(Entry),
    /// The broker says that it has had nothing to send for a while.
    Idle,
}

/// An ordered read of the last words of a bucket's keys, then of all new ones.
pub(crate) struct Reader {
    broker: Broker,
    subscriber: Subscriber,
    connections: watch::Receiver<u64>,
    prefix: &'static str,
    delivered: u64,
    /// At first the number of keys there are; then what waits, as of the last word.
    pub(crate) pending: u64,
}

impl Reader {
    pub(crate) async fn open(bucket: &Bucket, filters: &[&str]) -> Result<Self, BrokerError> {
        let broker = bucket.broker().clone();
        let (client, mut connections) = (broker.client(), broker.reconnects());
        connections.mark_unchanged();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(BrokerError::unavailable)?;
        let mut config = Config {
            deliver_subject: Some(inbox),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            inactive_threshold: FORGOTTEN,
            num_replicas: 1,
            memory_storage: true,
            ..Config::default()
        };
        let mut subjects: Vec<String> = filters.iter().map(|filter| bucket.subject(filter)).collect();
        if subjects.len() == 1 {
            config.filter_subject = subjects.pop().unwrap_or_default();
        } else {
            config.filter_subjects = subjects;
        }
        let name = format!("{:016x}", fastrand::u64(..));
        let pending = broker.make_consumer(bucket.name().stream(), &name, &config).await?;
        Ok(Self { broker, subscriber, connections, prefix: bucket.name().prefix(), delivered: 0, pending })
    }

    /// What comes next. Cancellation safe.
    ///
    /// # Errors
    /// There was a gap: start anew.
    pub(crate) async fn next(&mut self) -> Result<Read, BrokerError> {
        loop {
            let message = match self.subscriber.next().now_or_never() {
                Some(message) => message,
                None => tokio::select! {
                    message = self.subscriber.next() => message,
                    _ = self.connections.changed() => return Err(gap("the connection was lost")),
                    () = tokio::time::sleep(SILENCE) => return Err(gap("the broker fell silent")),
                },
            };
            let Some(message) = message else { return Err(gap("the connection was closed")) };
            match message.status {
                None => return self.take(message).map(Read::Entry),
                Some(StatusCode::IDLE_HEARTBEAT) => {
                    if self.answer(message).await? {
                        return Ok(Read::Idle);
                    }
                }
                Some(status) => return Err(gap(&format!("the consumer is gone ({status})"))),
            }
        }
    }

    fn take(&mut self, message: async_nats::Message) -> Result<Entry, BrokerError> {
        let place = message.reply.as_deref().and_then(Place::parse);
        let Some(place) = place.filter(|place| place.consumer == self.delivered + 1) else {
            return Err(gap("messages were skipped"));
        };
        self.delivered = place.consumer;
        self.pending = place.pending;
        let key = message.subject.strip_prefix(self.prefix).unwrap_or_default().to_owned();
        let operation = message.headers.as_ref().and_then(|headers| headers.get("KV-Operation"));
        let deleted = operation.is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE"));
        let value = if deleted { None } else { Some(message.payload) };
        Ok(Entry { key, value, revision: place.stream })
    }

    /// Answers flow control, and compares what was sent with what came; whether the broker is idle.
    async fn answer(&mut self, message: async_nats::Message) -> Result<bool, BrokerError> {
        let headers = message.headers.unwrap_or_default();
        let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let stalled = text("Nats-Consumer-Stalled");
        let go_on = message.reply.map(|reply| reply.to_string()).or(stalled);
        let idle = go_on.is_none();
        if let Some(go_on) = go_on {
            self.broker.client().publish(go_on, Bytes::new()).await.map_err(BrokerError::unavailable)?;
        }
        match text("Nats-Last-Consumer").and_then(|sent| sent.parse::<u64>().ok()) {
            Some(sent) if sent != self.delivered => Err(gap("messages were lost")),
            _ => Ok(idle),
        }
    }
}

fn gap(why: &str) -> BrokerError {
    BrokerError::unavailable(format!("{why} while reading a bucket"))
}

/// One complete read, see [`Bucket::load`].
pub(crate) async fn load<V>(
    bucket: &Bucket,
    filter: &str,
    through: u64,
    read: impl Fn(&str, Option<Bytes>) -> V,
) -> Result<Vec<Entry<V>>, BrokerError> {
    // Where the filter leaves `leader` out it is read along, as the mark that `through` is about.
    let along = through > 0 && filter != ">" && filter != LEADER;
    let filters = if along { [filter, LEADER].to_vec() } else { vec![filter] };
    let mut reader = Reader::open(bucket, &filters).await?;
    let there = usize::try_from(reader.pending).unwrap_or(usize::MAX);
    let mut entries = Vec::with_capacity(there);
    let mut reached = through == 0;
    let mut enough = there;
    loop {
        if reached && reader.pending == 0 && entries.len() >= enough {
            let missing = there.saturating_sub(distinct(&entries));
            if missing == 0 {
                break;
            }
            enough = entries.len() + missing;
        }
        match reader.next().await? {
            Read::Entry(Entry { key, value, revision }) => {
                reached |= key == LEADER && revision >= through;
                let value = read(&key, value);
                entries.push(Entry { key, value, revision });
            }
            // Nothing is on its way any more: what is missing has expired.
            Read::Idle if reached => break,
            Read::Idle => return Err(gap("the leader's record did not come")),
        }
    }
    if distinct(&entries) < entries.len() {
        entries = last_words(entries);
    }
    if along {
        entries.retain(|entry| entry.key != LEADER);
    }
    Ok(entries)
}

/// How many keys there are. A key that is written while it is read may come twice; or its old word is gone
/// before it came, and its new one is still on its way when nothing seems to be pending.
fn distinct<V>(entries: &[Entry<V>]) -> usize {
    entries.iter().map(|entry| entry.key.as_str()).collect::<HashSet<_>>().len()
}

fn last_words<V>(entries: Vec<Entry<V>>) -> Vec<Entry<V>> {
    let newest: HashMap<String, u64> = entries.iter().map(|entry| (entry.key.clone(), entry.revision)).collect();
    entries.into_iter().filter(|entry| newest.get(&entry.key) == Some(&entry.revision)).collect()
}
