//! The worker's key, rewritten every CLAIM/6, and its fuse.

use std::{sync::Arc, time::Duration};

use packline_broker::Message;
use packline_domain::{SCHEMA, record};
use packline_service::Health;

use crate::{
    guard::boottime_millis,
    life::Life,
    worker::{PAUSE, Worker},
};

/// Changes of the record are shown at most so often beyond the regular heartbeats.
const SHOWN_EVERY: Duration = Duration::from_secs(1);
/// The fuse's clock runs on while this machine sleeps, which no timer sees.
const LOOK_AT_FUSE: Duration = Duration::from_millis(250);

/// Keeps the worker's key alive for as long as this process lives.
pub(crate) async fn beat(worker: Arc<Worker>, health: Health) {
    let mut name: Option<String> = None;
    loop {
        let life = worker.life();
        // Six heartbeats, confirmed or not: this loop waits for nothing without a limit.
        health.expect_within(life.claim());
        health.turn();
        let confirmed = beat_once(&worker, &life).await;
        if confirmed && let Some(old) = name.replace(life.name.clone()).filter(|old| *old != life.name) {
            let _ = worker.workers.delete(&old).await;
        }
        if confirmed {
            worker.ready.notify_one();
        }
        let period = if confirmed { life.claim() / 6 } else { PAUSE.min(life.claim() / 6) };
        let spacing = SHOWN_EVERY.min(period);
        tokio::time::sleep(spacing).await;
        let _ = tokio::time::timeout(period - spacing, worker.changed.notified()).await;
    }
}

/// One heartbeat; whether it was confirmed.
pub(crate) async fn beat_once(worker: &Worker, life: &Life) -> bool {
    let claim = life.claim();
    let resting = worker.is_resting();
    let record = record::Worker {
        schema: SCHEMA,
        host: worker.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: record::PROTOCOL,
        slots: if resting || worker.is_stopping() { 0 } else { worker.config.slots },
        claim_millis: u64::try_from(claim.as_millis()).unwrap_or(u64::MAX),
        since: worker.since,
        resting: resting.then(|| "its last builds failed for want of the network, the registry or the machine".into()),
        builds: worker.table.listed(&life.name),
    };
    let value = Message::json("", &record).payload;
    let patience = (claim / 4).max(PAUSE);
    // Counted from here: the leader cannot have seen it earlier.
    let sent = boottime_millis();
    life.send(sent, claim);
    match tokio::time::timeout(patience, worker.workers.put(&life.name, value)).await {
        Ok(Ok(_)) => {
            life.confirm(sent, claim);
            true
        }
        Ok(Err(error)) => {
            tracing::debug!("a heartbeat was not confirmed: {error}");
            false
        }
        Err(_) => false,
    }
}

/// Ends a life, with all its builds, when its fuse blows; the guards do so by themselves as well.
pub(crate) async fn watch_fuse(worker: Arc<Worker>) {
    loop {
        let life = worker.life();
        if life.is_blown() {
            worker.begin_new_life(&life);
            continue;
        }
        let left = life.left().unwrap_or(LOOK_AT_FUSE).min(LOOK_AT_FUSE);
        tokio::time::sleep(left + Duration::from_millis(1)).await;
    }
}
