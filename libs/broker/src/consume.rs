//! Taking messages: in stream order for the leader, shared for workers and pollers.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy};
use serde::Deserialize;
use serde_json::json;

use crate::{
    Broker, BrokerError, Delivery, StreamName,
    pull::{Inbox, Pulled, Request},
    topology::{BUILDERS, CATALOGUE, LEADER_ACK_WAIT, ORCHESTRATOR, POLLER},
};

/// Messages that a leader holds ready.
const AHEAD: usize = 128;
const HEARTBEAT: Duration = Duration::from_millis(500);
/// No heartbeat for so long, or not having looked for so long: this process, the connection or the broker
/// stood still. Shorter than any lease in earnest.
const STOOD_STILL: Duration = Duration::from_secs(2);
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// An expired pull is answered; beyond this the answer was lost.
const GRACE: Duration = Duration::from_secs(2);
/// How long a message that is here waits for those beside it.
const SHORTLY: Duration = Duration::from_millis(200);

/// How much a consumer has before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerState {
    /// Not delivered yet.
    pub pending: u64,
    /// Delivered and not acknowledged.
    pub ack_pending: u64,
}

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// Messages may have been skipped, or gone elsewhere. Commit, which shows whether we still lead; then
    /// call [`Broker::consume_in_order`] again with the position committed.
    #[error("the order of {stream} was lost: {why}")]
    Skipped {
        /// Which stream.
        stream: &'static str,
        /// What happened.
        why: String,
    },
}

impl Broker {
    /// Takes a stream's messages after sequence `after`, in order, as the leader: deletes the durable
    /// `orchestrator` with whatever pulls of an earlier leader still wait on it, and makes it anew.
    ///
    /// # Errors
    /// One try: when it fails, commit before the next, which shows whether we still lead.
    pub async fn consume_in_order(&self, stream: StreamName, after: u64) -> Result<InOrder, BrokerError> {
        let name = stream.as_str();
        let gone = self.api::<serde_json::Value>(format!("CONSUMER.DELETE.{name}.{ORCHESTRATOR}"), &json!({})).await;
        match gone {
            Ok(_) | Err(BrokerError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
        let inbox = Inbox::open(self, name, ORCHESTRATOR).await?;
        let config = Config {
            durable_name: Some(ORCHESTRATOR.to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            ack_policy: AckPolicy::All,
            ack_wait: LEADER_ACK_WAIT,
            max_deliver: -1,
            max_ack_pending: -1,
            ..Config::default()
        };
        self.make_consumer(name, ORCHESTRATOR, &config).await?;
        Ok(InOrder { broker: self.clone(), stream, inbox, delivered: 0, looked: Instant::now(), ready: None })
    }

    /// Orders, from the durable `builders` that all workers share. Acknowledge one when its build is over,
    /// and say [`Delivery::progress`] every 10 s until then.
    ///
    /// # Errors
    /// When the broker is not available, or nobody has made the durable.
    pub async fn orders(&self) -> Result<Pull, BrokerError> {
        self.bind(StreamName::Builds, BUILDERS).await
    }

    /// Statuses for the catalogue, from the durable `catalogue`.
    ///
    /// # Errors
    /// When the broker is not available, or nobody has made the durable.
    pub async fn statuses(&self) -> Result<Pull, BrokerError> {
        self.bind(StreamName::Status, CATALOGUE).await
    }

    /// Commands to poll now, from the durable `poller`.
    ///
    /// # Errors
    /// When the broker is not available, or nobody has made the durable.
    pub async fn polls(&self) -> Result<Pull, BrokerError> {
        self.bind(StreamName::Control, POLLER).await
    }

    /// How much a consumer has before it.
    ///
    /// # Errors
    /// When the broker is not available, or has no such consumer.
    pub async fn pending(&self, stream: StreamName, consumer: &str) -> Result<ConsumerState, BrokerError> {
        #[derive(Deserialize)]
        struct Info {
            num_pending: u64,
            num_ack_pending: u64,
        }
        let info: Info = self.api(format!("CONSUMER.INFO.{}.{consumer}", stream.as_str()), &json!({})).await?;
        Ok(ConsumerState { pending: info.num_pending, ack_pending: info.num_ack_pending })
    }

    async fn bind(&self, stream: StreamName, consumer: &str) -> Result<Pull, BrokerError> {
        self.pending(stream, consumer).await?;
        let inbox = Inbox::open(self, stream.as_str(), consumer).await?;
        Ok(Pull {
            broker: self.clone(),
            what: format!("consumer {consumer} on {}", stream.as_str()),
            inbox,
            taken: Vec::new(),
        })
    }
}

/// A stream's messages in its order, each once.
///
/// Deliberately timid: it asks the broker for more only while it knows that it was awake all along. A
/// leader that thaws after another took over must not put a pull on the durable of its successor: that
/// pull would swallow the next message.
pub struct InOrder {
    broker: Broker,
    stream: StreamName,
    inbox: Inbox,
    delivered: u64,
    looked: Instant,
    ready: Option<Delivery>,
}

impl InOrder {
    /// The next message. Cancellation safe.
    ///
    /// # Errors
    /// See [`ConsumeError::Skipped`]; the same also when the connection was made anew, or nothing was heard
    /// of the broker for 2 s.
    pub async fn next(&mut self) -> Result<Delivery, ConsumeError> {
        loop {
            if let Some(delivery) = self.ready.take() {
                return Ok(delivery);
            }
            if self.inbox.reconnected() {
                return Err(self.skipped("the connection was made anew"));
            }
            self.ask().await?;
            let began = Instant::now();
            let pulled = tokio::time::timeout(STOOD_STILL, self.inbox.next()).await;
            self.looked = Instant::now();
            if self.looked.duration_since(began) >= STOOD_STILL {
                return Err(self.skipped("nothing was heard of the broker for 2 s"));
            }
            match pulled {
                Ok(Ok(Pulled::Message(message))) => self.ready = Some(self.check(message)?),
                Ok(Ok(Pulled::Heartbeat | Pulled::Over)) => {}
                Ok(Ok(Pulled::Deleted)) => return Err(self.skipped("its consumer was deleted")),
                Ok(Ok(Pulled::Denied(why))) => return Err(self.skipped(&why)),
                Ok(Err(error)) => return Err(self.skipped(&error.to_string())),
                Err(_) => return Err(self.skipped("nothing was heard of the broker for 2 s")),
            }
        }
    }

    /// Keeps one request with the broker, unless this process stood still.
    async fn ask(&mut self) -> Result<(), ConsumeError> {
        if self.inbox.outstanding() > 0 {
            return Ok(());
        }
        if self.looked.elapsed() >= STOOD_STILL {
            return Err(self.skipped("nobody took messages for 2 s"));
        }
        let request = Request { batch: AHEAD, expires: Some(PULL_EXPIRES), heartbeat: Some(HEARTBEAT) };
        match self.inbox.request(&request).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.skipped(&error.to_string())),
        }
    }

    fn check(&mut self, message: async_nats::Message) -> Result<Delivery, ConsumeError> {
        let Some((delivery, place)) = Delivery::new(&self.broker, message) else {
            return Err(self.skipped("a message came that is none of the stream"));
        };
        if place.consumer != self.delivered + 1 {
            return Err(self.skipped(&format!("delivery {} came after {}", place.consumer, self.delivered)));
        }
        if place.delivered > 1 {
            return Err(self.skipped(&format!("message {} came again", place.stream)));
        }
        self.delivered = place.consumer;
        Ok(delivery)
    }

    fn skipped(&self, why: &str) -> ConsumeError {
        ConsumeError::Skipped { stream: self.stream.as_str(), why: why.to_owned() }
    }
}

/// A share in a durable consumer's messages.
pub struct Pull {
    broker: Broker,
    what: String,
    inbox: Inbox,
    /// Taken, and not returned yet.
    taken: Vec<Delivery>,
}

impl Pull {
    /// Up to `max` messages: what is there at once, else the first that come within `expires`, else none.
    /// Takes no message ahead of what it returns. Dropped half-way, it keeps what it has for the next call, or
    /// for [`Self::give_back`].
    ///
    /// # Errors
    /// When the broker is not available, or the durable is gone.
    pub async fn fetch(&mut self, max: usize, expires: Duration) -> Result<Vec<Delivery>, BrokerError> {
        self.fetch_for(|| max, expires).await
    }

    /// The same, where room may be made for more while it waits: all that came together is answered together.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn fetch_for(
        &mut self,
        max: impl Fn() -> usize,
        expires: Duration,
    ) -> Result<Vec<Delivery>, BrokerError> {
        self.inbox.reconnected();
        while self.taken.len() < max()
            && let Some(message) = self.inbox.buffered()
        {
            self.keep(message);
        }
        self.take_at_once(max(), GRACE + GRACE).await?;
        if self.taken.is_empty() && max() > 0 {
            if self.inbox.outstanding() == 0 {
                let first = Request { batch: 1, expires: Some(expires), heartbeat: None };
                self.inbox.request(&first).await?;
            }
            self.collect(expires + GRACE).await?;
            // The first of many: the others are there by now, and can be dealt with together.
            if !self.taken.is_empty() {
                self.take_at_once(max(), SHORTLY).await?;
            }
        }
        let rest = self.taken.split_off(max().min(self.taken.len()));
        Ok(std::mem::replace(&mut self.taken, rest))
    }

    /// Lets others have what was taken and not returned.
    pub async fn give_back(self) {
        for delivery in self.taken {
            delivery.nak(Duration::ZERO).await;
        }
    }

    /// What is there now, up to `max` in all.
    async fn take_at_once(&mut self, max: usize, patience: Duration) -> Result<(), BrokerError> {
        if self.inbox.outstanding() > 0 || self.taken.len() >= max {
            return Ok(());
        }
        let at_once = Request { batch: max - self.taken.len(), expires: None, heartbeat: None };
        match self.inbox.request(&at_once).await {
            Err(error) if self.taken.is_empty() => Err(error),
            Err(_) => Ok(()),
            Ok(()) => self.collect(patience).await,
        }
    }

    /// Takes what the request brings, until it is over.
    async fn collect(&mut self, patience: Duration) -> Result<(), BrokerError> {
        let until = Instant::now() + patience;
        while self.inbox.outstanding() > 0 {
            match tokio::time::timeout_at(until.into(), self.inbox.next()).await {
                Ok(Ok(Pulled::Message(message))) => self.keep(message),
                Ok(Ok(Pulled::Heartbeat | Pulled::Over)) => {}
                // What was taken is ours: the caller is told of the failure by the next call.
                _ if !self.taken.is_empty() => return Ok(()),
                Ok(Ok(Pulled::Deleted)) => return Err(BrokerError::Missing(self.what.clone())),
                Ok(Ok(Pulled::Denied(why))) => return Err(BrokerError::unavailable(why)),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(BrokerError::unavailable("a pull was not answered")),
            }
        }
        Ok(())
    }

    fn keep(&mut self, message: async_nats::Message) {
        match Delivery::new(&self.broker, message) {
            Some((delivery, _)) => self.taken.push(delivery),
            None => tracing::warn!("{} delivered what is no message of its stream", self.what),
        }
    }
}
