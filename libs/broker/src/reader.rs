//! Reading a stream in order without a gap, or saying that there was one.

use std::time::Duration;

use async_nats::{
    StatusCode, Subscriber,
    jetstream::consumer::{AckPolicy, Config, DeliverPolicy},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use crate::{Broker, BrokerError, delivery::Place};

const HEARTBEAT: Duration = Duration::from_secs(2);
/// No word for so long: the consumer or the broker is gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);
/// After so long without us the broker drops the consumer; soon, for until then each write of the stream costs it
/// a look at it, and no reader outlives its connection.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// A message and where it stands; none: the broker says that it has had nothing to send for a while.
pub(crate) type Read = Option<(async_nats::Message, Place)>;

/// An ordered read of what a stream holds, then of all that is new.
pub(crate) struct Reader {
    broker: Broker,
    subscriber: Subscriber,
    connections: watch::Receiver<u64>,
    delivered: u64,
    /// At first how many messages there are to read; then what waits, as of the last one.
    pub(crate) pending: u64,
}

impl Reader {
    /// Opens one on these subjects of a stream.
    pub(crate) async fn open(
        broker: &Broker,
        stream: &str,
        subjects: Vec<String>,
        from: DeliverPolicy,
    ) -> Result<Self, BrokerError> {
        let (client, mut connections) = (broker.client(), broker.reconnects());
        connections.mark_unchanged();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(BrokerError::unavailable)?;
        let config = Config {
            deliver_subject: Some(inbox),
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            ..passing(subjects, from)
        };
        let name = format!("{:016x}", fastrand::u64(..));
        let pending = broker.make_consumer(stream, &name, &config).await?;
        Ok(Self { broker: broker.clone(), subscriber, connections, delivered: 0, pending })
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
                None => return self.take(message),
                Some(StatusCode::IDLE_HEARTBEAT) => {
                    if self.answer(message).await? {
                        return Ok(None);
                    }
                }
                Some(status) => return Err(gap(&format!("the consumer is gone ({status})"))),
            }
        }
    }

    fn take(&mut self, message: async_nats::Message) -> Result<Read, BrokerError> {
        let Some(place) = Place::after(self.delivered, &message) else { return Err(gap("messages were skipped")) };
        self.delivered = place.consumer;
        self.pending = place.pending;
        Ok(Some((message, place)))
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

/// A consumer of one reader, who acknowledges nothing; it is not kept, and soon forgotten.
pub(crate) fn passing(mut subjects: Vec<String>, from: DeliverPolicy) -> Config {
    let config = Config {
        deliver_policy: from,
        ack_policy: AckPolicy::None,
        max_deliver: 1,
        inactive_threshold: FORGOTTEN,
        num_replicas: 1,
        memory_storage: true,
        ..Config::default()
    };
    if subjects.len() == 1 {
        Config { filter_subject: subjects.pop().unwrap_or_default(), ..config }
    } else {
        Config { filter_subjects: subjects, ..config }
    }
}

pub(crate) fn gap(why: &str) -> BrokerError {
    BrokerError::unavailable(format!("{why} while reading in order"))
}
