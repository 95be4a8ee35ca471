//! Following a stream: what it holds from some place on, then all that is new, each message once.

use async_nats::{
    datetime::{DateTime, from_nanos},
    jetstream::consumer::DeliverPolicy,
};
use packline_domain::Timestamp;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{Broker, BrokerError, Stored, StreamName, patience::Patience, reader::Reader};

/// Messages that wait for a slow taker; beyond it the broker's flow control holds them back.
const WAITING: usize = 256;

/// Where following begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the message of this sequence, or the first after it; 0 and 1: with the oldest.
    Sequence(u64),
    /// With the first that was stored at this time or later.
    Time(Timestamp),
}

/// What a [`Follow`] saw.
#[derive(Clone, Debug)]
pub enum Followed {
    /// The next message.
    Message(Stored),
    /// All that the stream held at the beginning has been said; said once.
    CaughtUp,
}

/// The messages of a stream on one subject, in the order of the stream, each once, however often the
/// connection or the broker is lost on the way. Ends when dropped.
pub struct Follow {
    seen: mpsc::Receiver<Result<Followed, BrokerError>>,
    task: JoinHandle<()>,
}

impl Broker {
    /// Follows what `stream` holds on `subject` (a pattern too), beginning with `from`.
    pub fn follow(&self, stream: StreamName, subject: &str, from: From) -> Follow {
        let (sender, seen) = mpsc::channel(WAITING);
        let mut following = Following {
            broker: self.clone(),
            stream,
            subject: subject.to_owned(),
            from,
            created: None,
            caught_up: false,
            sender,
        };
        let task = tokio::spawn(async move {
            let mut patience = Patience::new(format!("follow {}", stream.as_str()));
            while let Some(error) = following.run(&mut patience).await {
                if !error.is_passing() {
                    let _ = following.sender.send(Err(error)).await;
                    return;
                }
                patience.pause(&error).await;
            }
        });
        Follow { seen, task }
    }
}

impl Follow {
    /// What comes next; waits for as long as there is nothing. Cancellation safe.
    ///
    /// # Errors
    /// When the broker refuses, or has no such stream; waits for ever after that.
    pub async fn next(&mut self) -> Result<Followed, BrokerError> {
        match self.seen.recv().await {
            Some(seen) => seen,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Following {
    broker: Broker,
    stream: StreamName,
    subject: String,
    /// What is not said yet begins here.
    from: From,
    /// Another time is another stream: its sequences begin anew.
    created: Option<String>,
    caught_up: bool,
    sender: mpsc::Sender<Result<Followed, BrokerError>>,
}

impl Following {
    /// Follows until a gap, which is returned, or until nobody listens.
    async fn run(&mut self, patience: &mut Patience) -> Option<BrokerError> {
        let mut reader = match self.open().await {
            Ok(reader) => reader,
            Err(error) => return Some(error),
        };
        patience.reset();
        loop {
            if reader.pending == 0 && !self.caught_up {
                self.caught_up = true;
                self.sender.send(Ok(Followed::CaughtUp)).await.ok()?;
            }
            let read = tokio::select! {
                read = reader.next() => read,
                () = self.sender.closed() => return None,
            };
            match read {
                Ok(Some((message, place))) => {
                    self.sender.send(Ok(Followed::Message(Stored::new(message, place)))).await.ok()?;
                    self.from = From::Sequence(place.stream + 1);
                }
                // What is missing has expired meanwhile.
                Ok(None) => reader.pending = 0,
                Err(error) => return Some(error),
            }
        }
    }

    async fn open(&mut self) -> Result<Reader, BrokerError> {
        let created = self.broker.stream_state(self.stream).await?.created;
        if self.created.as_ref().is_some_and(|before| *before != created) {
            self.from = From::Sequence(1);
        }
        self.created = Some(created);
        let from = match self.from {
            From::Sequence(sequence) => DeliverPolicy::ByStartSequence { start_sequence: sequence.max(1) },
            From::Time(time) => DeliverPolicy::ByStartTime { start_time: start(time)? },
        };
        Reader::open(&self.broker, self.stream.as_str(), vec![self.subject.clone()], from).await
    }
}

fn start(time: Timestamp) -> Result<DateTime, BrokerError> {
    from_nanos(i128::from(time.as_millis()) * 1_000_000).map_err(|error| BrokerError::refused(error.to_string()))
}
