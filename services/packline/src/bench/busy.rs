//! A line with a long queue, on which builds finish as fast as they can.

use std::time::Instant;

use packline_broker::{Message, topology};
use packline_domain::{Mode, answer::State};

use super::{Bed, Settings};

/// How long it was busy, and how much it built meanwhile.
pub(super) struct Busy {
    pub(super) bed: Bed,
    began: Instant,
    before: usize,
}

impl Busy {
    /// All packages are queued before the first build starts.
    pub(super) async fn make(settings: &Settings) -> anyhow::Result<Self> {
        let mut bed = Bed::make(&[("MAX_CONCURRENT", &settings.max_concurrent.to_string())]).await?;
        bed.add_orchestrator().await?;
        bed.command("pause", "").await?;
        bed.until(|state| state.mode == Mode::Paused).await?;
        bed.announce(0, settings.queued, settings.batch).await;
        bed.until(|state| state.counts.ready == settings.queued as usize).await?;
        bed.add_workers(settings).await?;
        bed.command("resume", "").await?;
        let state = bed.until(|state| state.counts.published > 0).await?;
        Ok(Self { bed, began: Instant::now(), before: state.counts.published })
    }

    /// How it stands after the measurement, and builds a second until then.
    #[expect(clippy::cast_precision_loss, reason = "counts of one run")]
    pub(super) async fn end(&self) -> anyhow::Result<(State, f64)> {
        let state = self.bed.until(|_| true).await?;
        let left = state.counts.ready + state.counts.building;
        anyhow::ensure!(left > 0, "the queue was empty before the end; measure with more `--queued` packages");
        let built = state.counts.published - self.before;
        Ok((state, built as f64 / self.began.elapsed().as_secs_f64()))
    }
}

impl Bed {
    /// A line with workers and nothing to do.
    pub(super) async fn at_rest(settings: &Settings) -> anyhow::Result<Self> {
        let mut bed = Self::make(&[("MAX_CONCURRENT", &settings.max_concurrent.to_string())]).await?;
        bed.add_orchestrator().await?;
        bed.add_workers(settings).await?;
        Ok(bed)
    }

    async fn add_workers(&mut self, settings: &Settings) -> anyhow::Result<()> {
        for _ in 0..settings.workers {
            self.add_worker(settings.slots())?;
        }
        let slots = u64::from(settings.slots() * settings.workers);
        self.until(|state| state.slots == slots).await?;
        Ok(())
    }

    /// Commands something; its sequence in `CONTROL`.
    pub(super) async fn command(&self, command: &str, body: &str) -> anyhow::Result<u64> {
        Ok(self.broker.publish(Message::new(topology::control(command), body.to_owned())).await?)
    }
}
