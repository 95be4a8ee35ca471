//! What a leader looks after now and then.

use std::{collections::BTreeMap, time::Duration};

use packline_broker::{Message, StreamName, topology};

use packline_domain::{BuildId, BuildOrder};

use crate::{clock::Clock, driver::Driver};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(10);

/// An order that nobody took for so long is looked for.
const UNTAKEN: Duration = Duration::from_secs(30);

/// Between two looks for announcements to purge.
const PURGE_ROUND: Duration = Duration::from_hours(1);

/// How long an announcement that was applied is kept.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// When the next rounds are due.
#[derive(Debug, Default)]
pub(crate) struct Housekeeping {
    due: Duration,
    purge_due: Duration,
    /// Permits that nobody has taken, by build, with the time since when that is known.
    untaken: BTreeMap<BuildId, Duration>,
}

impl Housekeeping {
    pub(crate) fn until_due(&self, clock: &Clock) -> Duration {
        self.due.saturating_sub(clock.monotonic())
    }
}

impl Driver {
    /// One round, where it is due.
    pub(crate) async fn keep_house(&mut self) {
        if !self.housekeeping.until_due(&self.clock).is_zero() || !self.leadership.lease.is_valid() {
            return;
        }
        self.housekeeping.due = self.clock.monotonic() + ROUND;
        if let Err(error) = self.order_again().await {
            tracing::warn!("failed to look after orders that nobody took: {error}");
        }
        if self.housekeeping.purge_due <= self.clock.monotonic() {
            self.housekeeping.purge_due = self.clock.monotonic() + PURGE_ROUND;
            if let Err(error) = self.purge_announcements().await {
                tracing::warn!("failed to purge old announcements: {error}");
            }
        }
    }

    /// Announcements that are applied and old go; the stream itself never drops one that is not applied.
    async fn purge_announcements(&self) -> Result<(), packline_broker::BrokerError> {
        let stream = StreamName::Packages;
        let applied = self.leadership.record.positions.get(stream.as_str()).map_or(0, |position| position.sequence);
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let before = packline_domain::Timestamp::from_millis(self.clock.now().as_millis().saturating_sub(kept));
        self.broker.purge_older(stream, before, applied).await
    }

    /// An order that nobody has taken for 30 s while none waits at the broker was lost with its worker:
    /// it is published again, without an id, for the broker would drop the repetition (law 11).
    async fn order_again(&mut self) -> Result<(), packline_broker::BrokerError> {
        let now = self.clock.monotonic();
        let seen = std::mem::take(&mut self.housekeeping.untaken);
        let mut untaken = Vec::new();
        for (n, permit) in self.scheduler.permits().filter(|(_, permit)| permit.worker.is_none()) {
            let since = seen.get(&permit.build_id).copied().unwrap_or(now);
            self.housekeeping.untaken.insert(permit.build_id.clone(), since);
            if now.saturating_sub(since) >= UNTAKEN {
                untaken.push(n);
            }
        }
        if untaken.is_empty() || self.broker.pending(StreamName::Builds, topology::BUILDERS).await?.pending > 0 {
            return Ok(());
        }
        let orders = untaken.into_iter().filter_map(|n| {
            let order = self.order(n)?;
            tracing::warn!("ordering {} again: nobody has taken it", order.build_id);
            Some(Message::json(topology::builds_start(), &order))
        });
        // Bounded, for the lease goes on; what is not out by then is tried again in the next round.
        let stored = self.broker.publish_stored(orders.collect());
        let _ = tokio::time::timeout(self.config.lease / 3, stored).await;
        Ok(())
    }

    fn order(&self, n: u32) -> Option<BuildOrder> {
        let mut order = self.scheduler.order(n)?;
        order.permit_revision = self.permits.get(&n)?.revision;
        Some(order)
    }
}
