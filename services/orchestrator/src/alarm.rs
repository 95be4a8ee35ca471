//! Looking whether the line stalls, and saying so.

use std::time::Duration;

use packline_domain::{Effect, Event};
use packline_scheduler::Action;

use crate::{
    batch::Batch,
    driver::Driver,
    stall::{Look, News, Untaken},
};

/// Between two looks while all moves: the builds that nobody has taken may be many.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Driver {
    /// Looks after every decision; what is news goes out with the commit, into the log at once.
    pub(crate) fn watch_for_stalls(&mut self, batch: &mut Batch) {
        let monotonic = self.clock.monotonic();
        if monotonic < self.looked + LOOK_EVERY && self.stall.stalled().is_none() {
            return;
        }
        self.looked = monotonic;
        let (can_start, counts) = (self.scheduler.can_start(), self.scheduler.counts());
        let look = Look {
            startable: if can_start { counts.ready } else { 0 },
            serial: self.scheduler.serial(),
            congested: self.is_congested(),
            untaken: self.untaken(),
        };
        let now = self.now();
        let Some(news) = self.stall.look(monotonic, now.at, &look) else { return };
        let (kind, message) = match news {
            News::Began(text) => {
                tracing::error!("{text}");
                (Event::STALLED, text)
            }
            News::Ended(text) => ("stallEnded", text),
        };
        self.metrics.stalled(self.stall.stalled().is_some());
        let event = Event::new(kind, now.at, now.commit, message);
        batch.absorb(vec![Action::Effect(Effect::Event(Box::new(event)))]);
    }

    /// Builds that are handed out and not taken, where a live worker has a slot for one.
    fn untaken(&self) -> Option<Untaken> {
        let scheduler = &self.scheduler;
        if !scheduler.is_running() || scheduler.free_slots() == 0 {
            return None;
        }
        let permits = scheduler.untaken().filter_map(|n| scheduler.permit(n));
        let oldest = permits.min_by_key(|permit| permit.granted_at)?;
        // One that an earlier leader granted has been seen since this one leads.
        let age = self.clock.now().since(oldest.granted_at).min(self.clock.monotonic());
        Some(Untaken { builds: scheduler.untaken().len(), oldest: oldest.package_name.clone(), age })
    }
}
