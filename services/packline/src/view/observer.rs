//! Following the line through its own records and its own answers.

use std::time::Duration;

use anyhow::Context;
use packline_broker::{Broker, BucketName, StreamName, Watch, Watched};
use serde::Deserialize;

use super::board::Board;

/// Follows both buckets that show how the line stands.
pub(crate) struct Observer {
    broker: Broker,
    orchestrator: Watch,
    workers: Watch,
    /// What is known so far.
    pub(crate) board: Board,
}

/// The part of the answer of `orchestrator.state` that says whether anything is left to do.
#[derive(Debug, Default, Deserialize)]
struct State {
    counts: Counts,
}

#[derive(Debug, Default, Deserialize)]
struct Counts {
    ready: u64,
    building: u64,
    retrying: u64,
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
                Watched::Complete => {}
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

    /// Whether the leader says that nothing is left to do. Nobody answering is a no.
    pub(crate) async fn is_over(&self) -> anyhow::Result<bool> {
        let Ok(answer) = self.broker.ask("orchestrator.state", "").await else { return Ok(false) };
        let state: State = serde_json::from_slice(&answer).context("orchestrator.state answers strangely")?;
        Ok(state.counts.ready == 0 && state.counts.building == 0 && state.counts.retrying == 0)
    }

    /// All records as they are now, read anew.
    pub(crate) async fn final_board(&self) -> anyhow::Result<Board> {
        let mut board = Board::default();
        let mut watch = self.broker.bucket(BucketName::Orchestrator).watch(">");
        loop {
            match watch.next().await {
                Watched::Entry(entry) => board.note(&entry.key, entry.value.as_deref())?,
                Watched::Gap => board.forget(),
                Watched::Complete => return Ok(board),
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
