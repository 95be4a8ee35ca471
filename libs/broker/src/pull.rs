//! Pulling from a consumer: an inbox, and numbered requests.

use std::time::Duration;

use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures::{FutureExt, StreamExt};
use serde_json::json;
use tokio::sync::watch;

use crate::{Broker, BrokerError};

/// What an inbox got.
pub(crate) enum Pulled {
    /// A message of the stream.
    Message(Message),
    /// The broker is there, and there is nothing.
    Heartbeat,
    /// The request has brought all that it will.
    Over,
    /// The consumer is gone.
    Deleted,
    /// The broker does not serve the request, and says why.
    Denied(String),
}

/// What to ask for.
pub(crate) struct Request {
    pub(crate) batch: usize,
    /// Wait this long for messages; `None`: take what is there.
    pub(crate) expires: Option<Duration>,
    pub(crate) heartbeat: Option<Duration>,
}

/// Where a consumer's messages arrive. Requests are numbered, so that the end of an earlier one is not
/// taken for the end of the last one.
pub(crate) struct Inbox {
    broker: Broker,
    next: Subject,
    prefix: String,
    subscriber: Subscriber,
    connections: watch::Receiver<u64>,
    number: u64,
    outstanding: usize,
}

impl Inbox {
    pub(crate) async fn open(broker: &Broker, stream: &str, consumer: &str) -> Result<Self, BrokerError> {
        let (client, mut connections) = (broker.client(), broker.reconnects());
        connections.mark_unchanged();
        let prefix = client.new_inbox();
        let subscriber = client.subscribe(format!("{prefix}.*")).await.map_err(BrokerError::unavailable)?;
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        Ok(Self {
            broker: broker.clone(),
            next: next.into(),
            prefix,
            subscriber,
            connections,
            number: 0,
            outstanding: 0,
        })
    }

    /// How many messages the broker still owes.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Whether the connection was made anew since the last call: the request is lost, and so may be messages.
    pub(crate) fn reconnected(&mut self) -> bool {
        let changed = self.connections.has_changed().unwrap_or(false);
        if changed {
            self.connections.mark_unchanged();
            self.outstanding = 0;
        }
        changed
    }

    /// Asks for messages.
    pub(crate) async fn request(&mut self, request: &Request) -> Result<(), BrokerError> {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut body = json!({"batch": request.batch});
        if let Some(fields) = body.as_object_mut() {
            match request.expires {
                Some(expires) => fields.insert("expires".into(), nanos(expires).into()),
                None => fields.insert("no_wait".into(), true.into()),
            };
            if let Some(heartbeat) = request.heartbeat {
                fields.insert("idle_heartbeat".into(), nanos(heartbeat).into());
            }
        }
        self.number += 1;
        let reply = format!("{}.{}", self.prefix, self.number);
        let client = self.broker.client();
        client
            .publish_with_reply(self.next.clone(), reply, body.to_string().into())
            .await
            .map_err(BrokerError::unavailable)?;
        self.outstanding += request.batch;
        Ok(())
    }

    /// What comes next. Cancellation safe.
    ///
    /// # Errors
    /// When the connection is closed, or made anew, which ends the request.
    pub(crate) async fn next(&mut self) -> Result<Pulled, BrokerError> {
        loop {
            let message = tokio::select! {
                biased;
                message = self.subscriber.next() => message,
                _ = self.connections.changed() => {
                    self.outstanding = 0;
                    return Err(BrokerError::unavailable("the connection was lost"));
                }
            };
            let Some(message) = message else { return Err(BrokerError::unavailable("the connection was closed")) };
            if let Some(pulled) = self.sort(message) {
                return Ok(pulled);
            }
        }
    }

    /// A message that is already here.
    pub(crate) fn buffered(&mut self) -> Option<Message> {
        loop {
            let message = self.subscriber.next().now_or_never()??;
            if let Some(Pulled::Message(message)) = self.sort(message) {
                return Some(message);
            }
        }
    }

    fn sort(&mut self, message: Message) -> Option<Pulled> {
        let Some(status) = message.status else {
            self.outstanding = self.outstanding.saturating_sub(1);
            return Some(Pulled::Message(message));
        };
        let number = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        if number != Some(self.number) {
            return None;
        }
        if status == StatusCode::IDLE_HEARTBEAT {
            return Some(Pulled::Heartbeat);
        }
        self.outstanding = 0;
        let said = message.description.unwrap_or_default();
        Some(match status {
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Pulled::Over,
            _ if said.eq_ignore_ascii_case("consumer deleted") => Pulled::Deleted,
            _ => Pulled::Denied(format!("{status} {said}")),
        })
    }
}
