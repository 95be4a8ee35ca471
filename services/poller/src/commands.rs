//! `control.poll`: taken as it comes, and done once.

use std::time::Duration;

use packline_broker::{Broker, BrokerError, Pull, StreamName, topology};
use packline_domain::Command;
use tokio::time::sleep;

/// The most commands that are taken at once; all that wait are one.
const MOST: usize = 256;
const FETCH: Duration = Duration::from_secs(30);

/// Commands to poll now.
///
/// They are acknowledged as they come. What counts is which was the newest when the last poll began: that stands
/// in its record, so a poller that dies meanwhile is followed by one that polls.
pub(crate) struct Commands {
    broker: Broker,
    pull: Option<Pull>,
    covered: u64,
}

impl Commands {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker, pull: None, covered: 0 }
    }

    /// The sequence of the newest command; 0 where there is none.
    ///
    /// # Errors
    /// When the broker is not available.
    pub(crate) async fn newest(&self) -> Result<u64, BrokerError> {
        let newest = self.broker.newest(StreamName::Control, &topology::control("poll")).await?;
        Ok(newest.map_or(0, |command| command.sequence))
    }

    /// A poll begins: it does all commands up to this one.
    pub(crate) fn cover(&mut self, newest: u64) {
        self.covered = newest;
    }

    /// Up to which command all are done.
    pub(crate) fn covered(&self) -> u64 {
        self.covered
    }

    /// Returns once somebody commands a poll that is not done yet.
    pub(crate) async fn poll_now(&mut self) {
        loop {
            match self.fetch().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("failed to take control.poll: {error}");
                    self.pull = None;
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn fetch(&mut self) -> Result<bool, BrokerError> {
        let pull = match &mut self.pull {
            Some(pull) => pull,
            none => none.insert(self.broker.polls().await?),
        };
        let mut commanded = false;
        for delivery in pull.fetch(MOST, FETCH).await? {
            // what cannot be understood is dead-lettered by the orchestrator, which sees all commands
            let understood = Command::parse("poll", &delivery.payload).is_ok();
            commanded |= understood && delivery.sequence > self.covered;
            delivery.ack().await;
        }
        Ok(commanded)
    }
}
