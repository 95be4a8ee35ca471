//! Everything that reaches the leader: three streams in their order, the watches, the questions.

use packline_broker::{Broker, BucketName, Delivery, Entry, Question, StreamName, Watched};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinSet,
};

use crate::questions;

/// Deliveries that wait in memory while a commit is in flight, for each stream.
const WAITING: usize = 2048;

/// Questions that wait; the last of them is answered before who asked it gives up.
const ASKED: usize = 64;

/// One thing that reached the leader.
pub(crate) enum Arrived {
    /// The next message of a stream.
    Input(StreamName, Delivery),
    /// A stream's consumer skipped: it must be made anew after the next commit.
    Skipped(StreamName),
    /// A key of `permits.*` has this value now.
    Permit(Entry),
    /// A key of the bucket `workers` has this value now.
    Worker(Entry),
    /// All keys of the bucket `workers` have been said.
    WorkersRead,
    /// A watch had a gap, and starts with all values anew.
    Gap,
    /// Somebody asks.
    Question(Box<Question>),
}

struct Lane {
    deliveries: mpsc::Receiver<Delivery>,
    ended: bool,
}

/// The open ends of all that arrives; dropped with the leadership.
pub(crate) struct Intake {
    control: Lane,
    results: Lane,
    packages: Lane,
    seen: mpsc::Receiver<Arrived>,
    asked: mpsc::Receiver<Box<Question>>,
    broker: Broker,
    tasks: JoinSet<()>,
}

/// What is taken now; the rest waits.
#[derive(Clone, Copy)]
pub(crate) struct Open {
    pub(crate) questions: bool,
    pub(crate) control: bool,
    pub(crate) results: bool,
    pub(crate) packages: bool,
}

impl Open {
    /// The same, without questions: however many come, a commit does not wait for them.
    pub(crate) fn inputs(self) -> Self {
        Self { questions: false, ..self }
    }

    /// Of the streams that of commands alone.
    pub(crate) fn control_alone(self) -> Self {
        Self { results: false, packages: false, ..self.inputs() }
    }
}

impl Intake {
    /// Makes the durables anew behind the positions given, and starts to read.
    pub(crate) async fn open(broker: &Broker, me: &str, after: impl Fn(StreamName) -> u64) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let (seen, arrived) = mpsc::channel(WAITING);
        for (bucket, filter) in [(BucketName::Orchestrator, "permits.*"), (BucketName::Workers, ">")] {
            let mut watch = broker.bucket(bucket).watch(filter);
            let seen = seen.clone();
            tasks.spawn(async move {
                loop {
                    let arrived = match (watch.next().await, bucket) {
                        (Watched::Complete, BucketName::Workers) => Arrived::WorkersRead,
                        (Watched::Complete, BucketName::Orchestrator | BucketName::Poller) => continue,
                        (Watched::Gap, _) => Arrived::Gap,
                        (Watched::Entry(entry), BucketName::Workers) => Arrived::Worker(entry),
                        (Watched::Entry(entry), BucketName::Orchestrator | BucketName::Poller) => {
                            Arrived::Permit(entry)
                        }
                    };
                    if seen.send(arrived).await.is_err() {
                        return;
                    }
                }
            });
        }
        let (asks, asked) = mpsc::channel(ASKED);
        let mut service = broker.serve(questions::SERVICE, env!("CARGO_PKG_VERSION"), questions::ENDPOINTS, me).await?;
        tasks.spawn(async move {
            loop {
                match asks.try_send(Box::new(service.next().await)) {
                    Ok(()) => {}
                    Err(TrySendError::Full(question)) => question.refuse(503, questions::BUSY).await,
                    Err(TrySendError::Closed(_)) => return,
                }
            }
        });
        let mut lane = async |stream| lane(broker, &mut tasks, stream, after(stream)).await;
        let control = lane(StreamName::Control).await?;
        let results = lane(StreamName::Results).await?;
        let packages = lane(StreamName::Packages).await?;
        Ok(Self { control, results, packages, seen: arrived, asked, broker: broker.clone(), tasks })
    }

    /// The next arrival; what operators say comes first. Losing this future loses nothing.
    pub(crate) async fn next(&mut self, open: Open) -> Arrived {
        let control = self.control.next(StreamName::Control, open.control);
        let results = self.results.next(StreamName::Results, open.results);
        let packages = self.packages.next(StreamName::Packages, open.packages);
        tokio::select! {
            biased;
            arrived = control => arrived,
            Some(arrived) = self.seen.recv() => arrived,
            Some(question) = self.asked.recv(), if open.questions => Arrived::Question(question),
            arrived = results => arrived,
            arrived = packages => arrived,
        }
    }

    /// The next question; waits for ever where nobody asks. Losing this future loses nothing.
    pub(crate) async fn question(&mut self) -> Question {
        match self.asked.recv().await {
            Some(question) => *question,
            None => std::future::pending().await,
        }
    }

    /// Makes the durable of a stream that skipped anew (law 6); call it after a confirmed commit.
    pub(crate) async fn reopen(&mut self, stream: StreamName, after: u64) -> anyhow::Result<()> {
        let lane = lane(&self.broker, &mut self.tasks, stream, after).await?;
        match stream {
            StreamName::Control => self.control = lane,
            StreamName::Results => self.results = lane,
            _ => self.packages = lane,
        }
        Ok(())
    }
}

impl Lane {
    async fn next(&mut self, stream: StreamName, open: bool) -> Arrived {
        if self.ended || !open {
            return std::future::pending().await;
        }
        match self.deliveries.recv().await {
            Some(delivery) => Arrived::Input(stream, delivery),
            None => {
                self.ended = true;
                Arrived::Skipped(stream)
            }
        }
    }
}

async fn lane(broker: &Broker, tasks: &mut JoinSet<()>, stream: StreamName, after: u64) -> anyhow::Result<Lane> {
    let mut in_order = broker.consume_in_order(stream, after).await?;
    let (sender, deliveries) = mpsc::channel(WAITING);
    tasks.spawn(async move {
        loop {
            match in_order.next().await {
                Ok(delivery) => {
                    if sender.send(delivery).await.is_err() {
                        return;
                    }
                }
                Err(reason) => {
                    tracing::warn!("{} is read anew: {reason}", stream.as_str());
                    return;
                }
            }
        }
    });
    Ok(Lane { deliveries, ended: false })
}
