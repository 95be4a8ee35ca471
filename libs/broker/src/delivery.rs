//! What a consumer delivers, and how to say what became of it.

use std::time::Duration;

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;

use crate::{Broker, BrokerError, Source, StreamName};

/// Where a delivered message stands, as its reply subject says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// How often it was delivered, from 1.
    pub(crate) delivered: u64,
    /// Its sequence in the stream.
    pub(crate) stream: u64,
    /// Its number among the deliveries of this consumer, from 1.
    pub(crate) consumer: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub(crate) stored: u64,
    /// How many wait after it.
    pub(crate) pending: u64,
}

impl Place {
    /// Reads `$JS.ACK.[domain.account.]stream.consumer.delivered.sequence.number.time.pending[.token]`.
    pub(crate) fn parse(reply: &str) -> Option<Self> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        let skipped = if rest.split('.').count() == 7 { 2 } else { 4 };
        let mut numbers = rest.split('.').skip(skipped).map(|token| token.parse::<u64>().ok());
        let (delivered, stream, consumer) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let stored = numbers.next()??;
        Some(Self { delivered, stream, consumer, stored, pending: numbers.next()?? })
    }

    /// That of a message, where it is the next one of its consumer after `delivered`.
    pub(crate) fn after(delivered: u64, message: &async_nats::Message) -> Option<Self> {
        let place = message.reply.as_deref().and_then(Self::parse)?;
        (place.consumer == delivered + 1).then_some(place)
    }
}

/// One message of a stream, ours until it is acknowledged or its time is over.
#[derive(Clone)]
pub struct Delivery {
    /// Where it was published.
    pub subject: String,
    /// Its body.
    pub payload: Bytes,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// How often it was delivered, from 1.
    pub delivered: u64,
    stored: u64,
    headers: HeaderMap,
    acker: Acker,
}

impl Delivery {
    pub(crate) fn new(broker: &Broker, message: async_nats::Message) -> Option<(Self, Place)> {
        let reply = message.reply?;
        let place = Place::parse(&reply)?;
        let delivery = Self {
            subject: message.subject.to_string(),
            payload: message.payload,
            sequence: place.stream,
            delivered: place.delivered,
            stored: place.stored,
            headers: message.headers.unwrap_or_default(),
            acker: Acker { broker: broker.clone(), reply },
        };
        Some((delivery, place))
    }

    /// What a dead letter says of it, or of an item of it; `stream` is where it came from.
    pub fn source(&self, stream: StreamName, item: Option<usize>) -> Source {
        Source { stream, sequence: self.sequence, stored: self.stored, item }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.as_str())
    }

    /// To acknowledge it later, without keeping its body.
    pub fn acker(&self) -> Acker {
        self.acker.clone()
    }

    /// See [`Acker::ack`].
    pub async fn ack(&self) {
        self.acker.ack().await;
    }

    /// See [`Acker::ack_confirmed`].
    ///
    /// # Errors
    /// When the broker did not confirm it.
    pub async fn ack_confirmed(&self) -> Result<(), BrokerError> {
        self.acker.ack_confirmed().await
    }

    /// See [`Acker::progress`].
    pub async fn progress(&self) {
        self.acker.progress().await;
    }

    /// See [`Acker::nak`].
    pub async fn nak(&self, delay: Duration) {
        self.acker.nak(delay).await;
    }

    /// See [`Acker::term`].
    pub async fn term(&self) {
        self.acker.term().await;
    }
}

/// Says what became of a delivery. An acknowledgement tidies up and proves nothing: state decides.
#[derive(Clone)]
pub struct Acker {
    broker: Broker,
    reply: Subject,
}

impl Acker {
    /// Done. Not confirmed: where it is lost, the message comes again.
    pub async fn ack(&self) {
        self.say(Bytes::from_static(b"+ACK")).await;
    }

    /// Done, and the broker has said that it knows.
    ///
    /// # Errors
    /// When the broker did not confirm it.
    pub async fn ack_confirmed(&self) -> Result<(), BrokerError> {
        let client = self.broker.client();
        let ack = client.request(self.reply.clone(), Bytes::from_static(b"+ACK"));
        self.broker.heard(async { ack.await.map_err(BrokerError::unavailable) }).await.map(|_| ())
    }

    /// Still at work: the time starts anew.
    pub async fn progress(&self) {
        self.say(Bytes::from_static(b"+WPI")).await;
    }

    /// Not now: deliver it again after `delay`.
    pub async fn nak(&self, delay: Duration) {
        let nak = format!("-NAK {{\"delay\": {}}}", delay.as_nanos());
        self.say(nak.into()).await;
    }

    /// Never again. For what was copied to `dead.*` before.
    pub async fn term(&self) {
        self.say(Bytes::from_static(b"+TERM")).await;
    }

    async fn say(&self, what: Bytes) {
        if let Err(error) = self.broker.client().publish(self.reply.clone(), what).await {
            tracing::debug!("an acknowledgement was not sent: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_message_is_read_from_both_forms() {
        let place = Place { delivered: 1, stream: 20, consumer: 3, stored: 1_700_000_000_000_000_000, pending: 4 };
        assert_eq!(Place::parse("$JS.ACK.BUILDS.builders.1.20.3.1700000000000000000.4"), Some(place));
        assert_eq!(Place::parse("$JS.ACK._.hash.BUILDS.builders.1.20.3.1700000000000000000.4.tok"), Some(place));
        assert_eq!(Place::parse("_INBOX.x"), None);
    }
}
