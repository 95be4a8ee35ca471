//! Following the line through its own records and its own answers.

use std::time::Duration;

use anyhow::Context;
use packline_broker::{Broker, BucketName, StreamName, Watch, Watched, topology};
use packline_domain::{Mode, answer::State};

use super::board::Board;

/// Follows both buckets that show how the line stands.
pub(crate) struct Observer {
    broker: Broker,
    orchestrator: Watch,
    workers: Watch,
    /// What is known so far.
    pub(crate) board: Board,
}

/// Whether anything moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Something is built, or will be.
    Busy,
    /// Nothing is left to do.
    Idle,
    /// Something is left, and nothing of it starts before a command.
    Halted,
}

impl Observer {
    /// Begins to follow.
    pub(crate) fn new(broker: &Broker) -> Self {
        let orchestrator = broker.bucket(BucketName::Orchestrator).watch(">");
        let workers = broker.bucket(BucketName::Workers).watch(">");
        Self { broker: broker.clone(), orchestrator, workers, board: Board::default() }
    }

    /// Waits for news, and takes it in. Cancellation safe.
    pub(crate) async fn news(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            seen = self.orchestrator.next() => match seen {
                Watched::Entry(entry) => self.board.note(&entry.key, entry.value.as_deref())
                    .with_context(|| format!("the record {} is not understood", entry.key))?,
                Watched::Gap => self.board.forget(),
                Watched::Complete => self.board.is_whole = true,
            },
            seen = self.workers.next() => match seen {
                Watched::Entry(entry) => self.board.note_worker(&entry.key, entry.value.as_deref())
                    .with_context(|| format!("the record of worker {} is not understood", entry.key))?,
                Watched::Gap => self.board.workers.clear(),
                Watched::Complete => {}
            },
        }
        Ok(())
    }

    /// What the leader says of it. Nobody answering is busy.
    pub(crate) async fn rest(&self) -> anyhow::Result<Rest> {
        let Ok(answer) = self.broker.ask(topology::STATE, "").await else { return Ok(Rest::Busy) };
        let State { mode, counts, .. } =
            serde_json::from_slice(&answer).context("orchestrator.state answers strangely")?;
        Ok(match mode {
            _ if counts.building > 0 => Rest::Busy,
            _ if counts.ready == 0 && counts.retrying == 0 => Rest::Idle,
            Mode::Paused | Mode::Stopped => Rest::Halted,
            Mode::Running | Mode::Draining | Mode::Drained => Rest::Busy,
        })
    }

    /// Whether the leader says that nothing is left to do.
    pub(crate) async fn is_over(&self) -> anyhow::Result<bool> {
        Ok(self.rest().await? == Rest::Idle)
    }

    /// All records as they are now, read anew.
    pub(crate) async fn final_board(&self) -> anyhow::Result<Board> {
        let mut board = Board::default();
        let mut watch = self.broker.bucket(BucketName::Orchestrator).watch(">");
        loop {
            match watch.next().await {
                Watched::Entry(entry) => board.note(&entry.key, entry.value.as_deref())?,
                Watched::Gap => board.forget(),
                Watched::Complete => {
                    board.is_whole = true;
                    return Ok(board);
                }
            }
        }
    }

    /// Returns once the poller has brought every outcome to the catalogue.
    pub(crate) async fn all_reported(&self) -> anyhow::Result<()> {
        const LOOK_EVERY: Duration = Duration::from_millis(50);
        loop {
            let consumer = self.broker.pending(StreamName::Status, "catalogue").await;
            let consumer = consumer.context("failed to see whether all is reported")?;
            if consumer.pending == 0 && consumer.ack_pending == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
