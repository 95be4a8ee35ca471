//! Storing what was decided, and only then letting it out (laws 4 and 5).

use std::time::{Duration, Instant};

use futures::FutureExt;
use packline_broker::{CommitError, Committed, DeadLetter, Write};
use packline_domain::{
    Effect,
    record::{Key, Leader},
};

use crate::{
    batch::{Batch, Standing},
    driver::{Driver, Ended},
    effects::Released,
    leader::Leadership,
    questions::Desk,
};

/// How often one batch is committed anew because of its permits before everything is read again.
const TRIES: u32 = 5;

/// The records of one commit, and which keys of effects are among them.
pub(crate) struct Prepared {
    writes: Vec<Write>,
    effect_keys: Vec<u32>,
}

/// A commit that is stored and not released.
pub(crate) struct Stored {
    commit: u64,
    records: usize,
    took: Duration,
}

impl Driver {
    /// Commits, and lets out what the commit implies.
    pub(crate) async fn commit(&mut self, batch: &mut Batch) -> Result<(), Ended> {
        let letters = std::mem::take(&mut batch.letters);
        for letter in &letters {
            tracing::warn!("refused {}: {}", letter.source_subject, letter.reason);
        }
        if !letters.is_empty() {
            let broker = self.broker.clone();
            let stored = broker.publish_stored(letters.into_iter().map(DeadLetter::message).collect());
            self.answering(async |leadership| leadership.keeping(stored).await).await.0.map_err(ended)?;
        }
        self.store_surely(batch).await?;
        for acker in std::mem::take(&mut batch.ackers).into_values() {
            acker.ack().await;
        }
        for stream in std::mem::take(&mut self.skipped) {
            let position = self.leadership.record.positions.get(stream.as_str()).cloned().unwrap_or_default();
            let state = self.broker.stream_state(stream).await.map_err(anyhow::Error::from)?;
            if state.created != position.created {
                tracing::warn!("{} was made anew", stream.as_str());
                return Err(Ended::Reload(None));
            }
            self.intake.reopen(stream, position.sequence).await?;
        }
        Ok(())
    }

    /// A conflict here says that a result named a wrong revision, or that its worker wrote once more; the
    /// decision stands, so it is committed with the revisions that the bucket has (law 8).
    async fn store_surely(&mut self, batch: &mut Batch) -> Result<(), Ended> {
        for tries in 0..TRIES {
            let prepared = self.prepare(batch, tries == 0)?;
            match self.store(batch, prepared).await {
                Ok(stored) => {
                    self.release(batch, stored);
                    return Ok(());
                }
                Err(CommitError::Conflict) => {
                    self.read_permits().await?;
                    batch.renew_permits(&self.scheduler);
                }
                Err(error) => return Err(ended(error)),
            }
        }
        Err(Ended::Reload(None))
    }

    /// All that a batch writes, under the number of the next commit.
    pub(crate) fn prepare(&mut self, batch: &Batch, trust_named: bool) -> anyhow::Result<Prepared> {
        self.free_effect_keys();
        let mut writes = batch.writes(&self.permits, trust_named)?;
        let chunks = batch.effect_chunks(self.leadership.next_commit())?;
        let effect_keys: Vec<u32> = (0..).filter(|i| !self.effect_keys.contains_key(i)).take(chunks.len()).collect();
        for (i, chunk) in effect_keys.iter().zip(chunks) {
            writes.push(Write { key: Key::Effects(*i).to_string(), value: Some(chunk.into()), expect: None });
        }
        Ok(Prepared { writes, effect_keys })
    }

    /// Stores a batch as one commit; release it when the scheduler knows all that it decided.
    pub(crate) async fn store(&mut self, batch: &Batch, prepared: Prepared) -> Result<Stored, CommitError> {
        let commit = self.leadership.next_commit();
        let (through, serial) = (self.outbox.through(), self.scheduler.serial());
        let positions = &batch.positions;
        let change = |leader: &mut Leader| {
            leader.effects_through = through;
            leader.serial = serial;
            for (stream, sequence) in positions {
                leader.positions.entry(stream.as_str().to_owned()).or_default().sequence = *sequence;
            }
        };
        let (records, sent) = (prepared.writes.len(), Instant::now());
        let (committed, at) =
            self.answering(async |leadership| leadership.commit(change, &prepared.writes).await).await;
        let (committed, took) = (committed?, at.duration_since(sent));
        self.pace.wrote(took);
        self.effect_keys.extend(prepared.effect_keys.into_iter().map(|i| (i, commit)));
        self.liveness.readable(self.clock.monotonic(), self.config.lease);
        self.note_permits(batch, committed);
        Ok(Stored { commit, records, took })
    }

    /// Does what needs the leadership alone, and answers meanwhile what is asked: that waits for no disk. The work's
    /// outcome, and when it was there.
    async fn answering<'a, T>(
        &'a mut self,
        work: impl AsyncFnOnce(&'a mut Leadership) -> Result<T, CommitError>,
    ) -> (Result<T, CommitError>, Instant) {
        let (leader, lease) = (self.leadership.record.clone(), self.leadership.lease.clone());
        let mut desk = Desk {
            scheduler: &mut self.scheduler,
            liveness: &self.liveness,
            stall: &self.stall,
            clock: &self.clock,
            claim: self.config.claim,
            leader: &leader,
            lease: &lease,
            glance: &mut self.glance,
        };
        let knows_workers = self.knows_workers;
        let mut work = std::pin::pin!(work(&mut self.leadership));
        loop {
            let question = tokio::select! {
                biased;
                done = &mut work => return (done, Instant::now()),
                question = self.intake.question(), if knows_workers => question,
            };
            let answering = Instant::now();
            desk.answer(&question).await;
            if let Some(done) = (&mut work).now_or_never() {
                return (done, answering);
            }
        }
    }

    fn note_permits(&mut self, batch: &Batch, committed: Committed) {
        for (place, n, stands) in batch.permits() {
            let revision = committed.first + 1 + u64::try_from(place).unwrap_or(u64::MAX);
            self.permits.insert(n, Standing { revision, stands });
        }
    }

    /// Hands what the commit implies to the outbox, and counts it; an order carries the revision of its permit.
    pub(crate) fn release(&mut self, batch: &mut Batch, stored: Stored) {
        let Stored { commit, records, took } = stored;
        self.scheduler.stored();
        let mut effects = batch.take_effects();
        let mut orders = false;
        for effect in &mut effects {
            match effect {
                Effect::Order(order) => {
                    orders = true;
                    order.permit_revision = self.permits.get(&order.permit).map_or(0, |standing| standing.revision);
                    self.metrics.started(order, &self.scheduler);
                }
                Effect::Event(event) => self.metrics.told(event, &self.scheduler),
                Effect::Status(_) | Effect::Wake(_) => {}
            }
        }
        let standing = orders.then(|| self.scheduler.permits().map(|(_, permit)| permit.build_id.serial).min());
        let standing = standing.flatten().unwrap_or(0);
        self.outbox.send(Released { commit, effects, standing });
        self.metrics.committed(records, took, &self.scheduler);
        self.desk().glance();
    }

    pub(crate) fn free_effect_keys(&mut self) {
        let through = self.outbox.through();
        self.effect_keys.retain(|_, commit| *commit > through);
    }

    pub(crate) fn effects_are_out(&mut self) -> bool {
        self.free_effect_keys();
        self.effect_keys.is_empty()
    }
}

/// What a commit that failed means for the leader.
pub(crate) fn ended(error: CommitError) -> Ended {
    match error {
        CommitError::Deposed => Ended::Deposed,
        CommitError::Conflict => Ended::Reload(None),
        CommitError::TooLarge(_) | CommitError::Fatal(_) => Ended::Failed(error.into()),
    }
}
