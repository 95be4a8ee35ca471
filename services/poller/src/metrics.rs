//! What a poller counts, for `/metrics`.

use metrics::{counter, gauge};
use packline_broker::{Broker, BucketName, Watched};
use packline_domain::record::{LAST, LastPoll};
use packline_service::{Health, metric};
use tokio::task::JoinSet;

/// Follows what every poller needs to know of itself: its connection, and the last poll, whoever made it.
/// Until what is returned is dropped.
pub(crate) fn follow(health: &Health, broker: &Broker) -> JoinSet<()> {
    let (away, ready, shown) = (broker.clone(), broker.clone(), broker.clone());
    health.excuse_while(move || !away.is_connected());
    health.ready_when(
        move || {
            if ready.is_connected() { Ok(()) } else { Err("it is not connected to the broker".into()) }
        },
    );
    health.refresh_with(move || metric::set_broker(shown.is_connected(), shown.dead_letters()));
    let mut watch = broker.bucket(BucketName::Poller).watch(LAST);
    gauge!(metric::LEADER).set(0.0);
    gauge!(metric::TERM).set(0.0);
    gauge!(metric::LAST_POLL).set(0.0);
    let mut following = JoinSet::new();
    following.spawn(async move {
        loop {
            let Watched::Entry(entry) = watch.next().await else { continue };
            let last = entry.value.and_then(|value| serde_json::from_slice::<LastPoll>(&value).ok());
            if let Some(LastPoll { at, packages, error: None, .. }) = last {
                gauge!(metric::LAST_POLL).set(at.as_millis() as f64 / 1000.0);
                gauge!(metric::POLLED).set(packages as f64);
            }
        }
    });
    following
}

/// A poll has ended.
pub(crate) fn polled(well: bool) {
    counter!(metric::POLLS, "result" => if well { "ok" } else { "failed" }).increment(1);
}

/// This poller is the active one, until this is dropped.
pub(crate) struct Active;

impl Active {
    #[expect(clippy::cast_precision_loss, reason = "terms are few")]
    pub(crate) fn begin(term: u64) -> Self {
        gauge!(metric::TERM).set(term as f64);
        gauge!(metric::LEADER).set(1.0);
        Self
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        gauge!(metric::LEADER).set(0.0);
    }
}
