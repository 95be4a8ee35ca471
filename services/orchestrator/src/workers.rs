//! Telling the scheduler who lives and who is lost.

use packline_broker::BucketName;
use packline_scheduler::Input;

use crate::{
    batch::Batch,
    driver::{Driver, Ended},
};

impl Driver {
    /// Tells the scheduler who lives, and which workers are lost: those that stood still for CLAIM and
    /// more, and whose key, read once more, still does (law 9).
    pub(crate) async fn see_workers(&mut self, batch: &mut Batch) -> Result<(), Ended> {
        let now = self.now();
        let monotonic = self.clock.monotonic();
        let workers = self.broker.bucket(BucketName::Workers);
        for (worker, revision) in self.liveness.overdue(monotonic, self.config.claim) {
            match workers.get(&worker).await {
                Ok(entry) if entry.as_ref().map_or(0, |entry| entry.revision) <= revision => {
                    let holds_builds = self.scheduler.held_by(&worker).next().is_some();
                    if holds_builds {
                        tracing::warn!("worker {worker} is lost: no heartbeat for {:?}", self.config.claim);
                    }
                    self.liveness.declare_lost(monotonic, &worker, holds_builds);
                    self.feed(batch, &now, Input::WorkerLost { worker })?;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("failed to read the key of worker {worker}: {error}");
                    self.liveness.start_anew(monotonic);
                }
            }
        }
        let live = self.liveness.live(monotonic, self.config.claim);
        if live != self.live {
            self.live.clone_from(&live);
            self.feed(batch, &now, Input::WorkersSeen { live })?;
        }
        if let Some(input) = self.newly_behind() {
            self.feed(batch, &now, input)?;
        }
        self.knows_workers |= self.liveness.is_read();
        Ok(())
    }

    /// Which workers are of an earlier release, where the scheduler was told otherwise last.
    pub(crate) fn newly_behind(&mut self) -> Option<Input> {
        let behind = self.liveness.behind(self.clock.monotonic(), self.config.claim);
        if behind == self.behind {
            return None;
        }
        self.behind.clone_from(&behind);
        Some(Input::WorkersBehind { behind })
    }
}
