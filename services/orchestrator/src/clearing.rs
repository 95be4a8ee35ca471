//! Clears orders that are over from the broker, many at a time: at `sync_interval: always` each
//! acknowledgement on a work queue costs a sync of its own, and one purge of many costs one. A saving, never
//! needed: what is not cleared goes by its worker's acknowledgement.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use packline_broker::{Broker, StreamName};
use tokio::task::JoinHandle;

/// How long orders that are over are gathered at most.
const GATHERED: Duration = Duration::from_millis(100);

/// Before the next try, where the broker does not clear.
const REFUSED: Duration = Duration::from_secs(10);

/// Clears beside whoever publishes orders; at most one purge is under way.
pub(crate) struct Clearing {
    broker: Broker,
    handed: Handed,
    task: JoinHandle<()>,
}

impl Drop for Clearing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Clearing {
    /// Knows of no order yet.
    pub(crate) fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone(), handed: Handed::default(), task: tokio::spawn(async {}) }
    }

    /// The order of the build with this serial was stored at this sequence.
    pub(crate) fn note(&mut self, serial: u64, sequence: u64) {
        self.handed.note(serial, sequence);
    }

    /// Clears what is over; builds from the serial `standing` on may not be.
    pub(crate) fn clear(&mut self, standing: u64) {
        if !self.task.is_finished() {
            return;
        }
        let Some(before) = self.handed.over(standing) else { return };
        let broker = self.broker.clone();
        self.task = tokio::spawn(async move {
            let sent = Instant::now();
            if let Err(error) = broker.purge_before(StreamName::Builds, before).await {
                tracing::debug!("orders that are over are left to their workers: {error}");
                tokio::time::sleep(REFUSED).await;
            }
            tokio::time::sleep((sent.elapsed() * 20).min(GATHERED)).await;
        });
    }
}

/// Orders remembered; beyond that every second is forgotten, which only makes the steps longer.
const MOST: usize = 4096;

/// What is known of the orders in the stream, oldest first: up to `sequence` none has a higher serial.
#[derive(Debug, Default)]
struct Handed {
    orders: VecDeque<Order>,
}

#[derive(Debug)]
struct Order {
    serial: u64,
    sequence: u64,
}

impl Handed {
    fn note(&mut self, serial: u64, sequence: u64) {
        // One that had to be sent again stands behind later ones: they hold back what was before them.
        for earlier in self.orders.iter_mut().rev().take_while(|earlier| earlier.sequence >= sequence) {
            earlier.sequence = sequence.saturating_sub(1);
        }
        if self.orders.len() >= MOST {
            let mut kept = false;
            self.orders.retain(|_| {
                kept = !kept;
                kept
            });
        }
        self.orders.push_back(Order { serial, sequence });
    }

    /// The sequence before which every order is over, where that is news; builds from `standing` on may not be.
    fn over(&mut self, standing: u64) -> Option<u64> {
        let mut over = None;
        while let Some(order) = self.orders.pop_front_if(|order| order.serial < standing) {
            over = Some(order.sequence + 1);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(orders: impl IntoIterator<Item = (u64, u64)>) -> Handed {
        let mut handed = Handed::default();
        for (serial, sequence) in orders {
            handed.note(serial, sequence);
        }
        handed
    }

    #[test]
    fn orders_are_over_up_to_the_first_build_that_stands() {
        let mut handed = handed([(10, 1), (11, 2), (13, 3), (14, 4)]);
        assert_eq!(handed.over(10), None);
        assert_eq!(handed.over(13), Some(3));
        assert_eq!(handed.over(13), None);
        assert_eq!(handed.over(u64::MAX), Some(5));
        assert_eq!(handed.over(u64::MAX), None);
    }

    #[test]
    fn an_order_that_was_sent_again_takes_no_later_one_along() {
        let mut handed = handed([(10, 6), (11, 2), (12, 3)]);
        assert_eq!(handed.over(11), Some(2), "the order of 11 stays");
        assert_eq!(handed.over(13), Some(4));
    }

    #[test]
    fn a_build_that_never_ends_neither_fills_the_memory_nor_loses_an_order() {
        let mut handed = handed((0..100_000).map(|i| (i, i + 1)));
        assert!(handed.orders.len() <= MOST);
        for standing in [1, 5_000, 77_777, 100_000] {
            let over = handed.over(standing);
            assert!(over.is_none_or(|before| before <= standing + 1), "{over:?} of {standing}");
        }
    }
}
