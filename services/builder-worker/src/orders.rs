//! Taking orders: only for free slots, and only while the leader is sure to know of this worker.

use std::{sync::Arc, time::Duration};

use packline_broker::{BrokerError, DeadLetter, Delivery, Pull, StreamName};
use packline_domain::{BuildOrder, message};

use crate::{
    permit,
    table::{Build, Entered},
    work,
    worker::{PAUSE, Slot, Worker},
};

/// How long one request for orders waits.
const FETCH: Duration = Duration::from_secs(5);
/// How often a held order is said to be in progress; a third of the durable's patience.
const PROGRESS: Duration = Duration::from_secs(10);

/// Orders that are claimed together; one that was withdrawn has all of them claimed singly.
const GROUP: usize = 256;

/// Takes orders until this worker stops.
pub(crate) async fn take(worker: Arc<Worker>) {
    let mut pull = None;
    take_until_stopped(&worker, &mut pull).await;
    if let Some(pull) = pull {
        pull.give_back().await;
    }
}

async fn take_until_stopped(worker: &Arc<Worker>, pull: &mut Option<Pull>) {
    while !worker.is_stopping() {
        tokio::select! {
            () = room(worker) => {}
            () = worker.stopped() => return,
        }
        let fetched = tokio::select! {
            fetched = fetch(worker, pull) => fetched,
            () = worker.stopped() => return,
        };
        match fetched {
            Ok(deliveries) => {
                let mut taken = Vec::with_capacity(deliveries.len());
                for delivery in deliveries {
                    taken.extend(take_one(worker, delivery).await);
                }
                tokio::spawn(start(Arc::clone(worker), taken));
            }
            Err(error) => {
                tracing::debug!("failed to fetch orders: {error}");
                *pull = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn fetch(worker: &Worker, pull: &mut Option<Pull>) -> Result<Vec<Delivery>, BrokerError> {
    let pull = match pull {
        Some(pull) => pull,
        None => pull.insert(worker.broker.orders().await?),
    };
    pull.fetch_for(|| worker.slots.free(), FETCH).await
}

/// Returns when there is room for an order and it may be taken.
async fn room(worker: &Worker) {
    loop {
        worker.slots.some_free().await;
        if worker.may_take() {
            return;
        }
        // A rest ends, and a heartbeat is confirmed, without anybody to tell.
        let _ = tokio::time::timeout(PAUSE, worker.ready.notified()).await;
    }
}

/// Claims what was taken, together where it is much, and builds each.
async fn start(worker: Arc<Worker>, taken: Vec<(Arc<Build>, Slot)>) {
    let (builds, slots): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
    let mut slots = slots.into_iter();
    for group in builds.chunks(GROUP) {
        let claimed = permit::claim_together(&worker, group).await;
        for (build, slot) in group.iter().zip(&mut slots) {
            tokio::spawn(work::build(Arc::clone(&worker), Arc::clone(build), slot, claimed));
        }
    }
}

/// The build of an order, and its slot, where it is to be claimed.
async fn take_one(worker: &Arc<Worker>, delivery: Delivery) -> Option<(Arc<Build>, Slot)> {
    let order: BuildOrder = match message::decode(&delivery.payload) {
        Ok(order) => order,
        Err(refused) => {
            tokio::spawn(refuse(Arc::clone(worker), delivery, refused.reason));
            return None;
        }
    };
    let slot = if worker.may_take() { worker.slots.take() } else { None };
    let Some(slot) = slot else {
        delivery.nak(Duration::ZERO).await;
        return None;
    };
    match worker.table.enter(order, &worker.life(), delivery.sequence, delivery.acker()) {
        Entered::New(build) => return Some((build, slot)),
        Entered::Held => {}
        Entered::Copy => delivery.ack().await,
    }
    None
}

/// What is no order goes to the operator, and to no worker any more.
async fn refuse(worker: Arc<Worker>, delivery: Delivery, reason: String) {
    tracing::warn!("order {} is not understood: {reason}", delivery.sequence);
    let letter = DeadLetter {
        kind: "order".to_owned(),
        reason,
        source_subject: delivery.subject.clone(),
        source: Some(delivery.source(StreamName::Builds, None)),
        payload: delivery.payload.clone(),
    };
    worker.broker.dead_letter(letter).await;
    delivery.term().await;
}

/// Keeps the orders of this worker's builds from being delivered again.
pub(crate) async fn keep(worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        for acker in worker.table.ackers() {
            acker.progress().await;
        }
    }
}
