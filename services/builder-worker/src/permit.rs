//! Permits, from the worker's side: claimed once, rewritten once before publishing, read with each heartbeat.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use packline_broker::{BATCH_FROM, Entry, Message};
use packline_domain::{
    BuildOrder, SCHEMA,
    record::{Key, LEADER, Leader, Permit},
};

use crate::{
    phases::is_ended,
    publish::Permits,
    table::{Build, Kill},
    worker::{Outgoing, PAUSE, Worker},
};

/// The permit of an order as its worker writes it.
fn permit(order: &BuildOrder, worker: &str, integrity: Option<&str>) -> Permit {
    Permit {
        schema: SCHEMA,
        package_name: order.package_name.clone(),
        build_id: order.build_id.clone(),
        attempt: order.attempt,
        granted_at: order.granted_at,
        worker: Some(worker.to_owned()),
        integrity: integrity.map(str::to_owned),
        ending: None,
    }
}

fn encode(permit: &Permit) -> Bytes {
    // Packline's records are always serializable, see `Record::encode`.
    Message::json("", permit).payload
}

fn key(order: &BuildOrder) -> String {
    Key::Permit(order.permit).to_string()
}

/// What stands under a key, where it is the permit of this build and held by us.
fn ours(entry: &Entry, build: &Build) -> Option<Permit> {
    let permit: Permit = serde_json::from_slice(entry.value.as_deref()?).ok()?;
    let held = permit.worker.as_deref() == Some(build.life.name.as_str());
    (held && permit.build_id == build.order.build_id).then_some(permit)
}

/// Takes many orders together, all or none: one batch costs less than as many single writes (law 4). False
/// where they are few, where one of them was withdrawn meanwhile, or where nobody knows: claim each alone then.
pub(crate) async fn claim_together(worker: &Worker, builds: &[Arc<Build>]) -> bool {
    if builds.len() < BATCH_FROM {
        return false;
    }
    let writes: Vec<_> =
        builds.iter().map(|build| (key(&build.order), claimed(build), build.order.permit_revision)).collect();
    match worker.orchestrator.update_all(&writes).await {
        Ok(first) => {
            for (build, revision) in builds.iter().zip(first..) {
                build.set_revision(revision);
            }
            true
        }
        Err(error) => {
            tracing::debug!("{} claims are written one by one: {error}", builds.len());
            false
        }
    }
}

fn claimed(build: &Build) -> Bytes {
    encode(&permit(&build.order, &build.life.name, None))
}

/// Takes an order by one compare-and-set, without reading. False when somebody else has it, or nobody may.
pub(crate) async fn claim(worker: &Worker, build: &Build) -> bool {
    match write(worker, build, claimed(build), build.order.permit_revision).await {
        Written::Done(revision) => {
            build.set_revision(revision);
            true
        }
        // Ours, and not to be begun: the next review may be seconds away.
        Written::Withdrawn(revision) => {
            build.set_revision(revision);
            build.kill(Kill::Withdrawn);
            true
        }
        Written::Other => false,
    }
}

enum Written {
    /// With this revision.
    Done(u64),
    /// The same, and withdrawn since, at this revision.
    Withdrawn(u64),
    /// The permit has other contents.
    Other,
}

/// Writes until it is decided. A refusal may be about a try whose answer was lost: only then it is read, and
/// what stands there with our name counts as our own write, `ending` or not.
async fn write(worker: &Worker, build: &Build, value: Bytes, expected: u64) -> Written {
    let wrote: Permit = match serde_json::from_slice(&value) {
        Ok(permit) => permit,
        Err(_) => return Written::Other,
    };
    let key = key(&build.order);
    if let Ok(revision) = worker.orchestrator.write_until_decided(&key, value, expected).await {
        return Written::Done(revision);
    }
    loop {
        match worker.orchestrator.get(&key).await {
            Ok(Some(entry)) => {
                let found = ours(&entry, build).filter(|found| found.integrity == wrote.integrity);
                return match found {
                    None => Written::Other,
                    Some(Permit { ending: None, .. }) => Written::Done(entry.revision),
                    Some(_) => Written::Withdrawn(entry.revision),
                };
            }
            Ok(None) => return Written::Other,
            Err(error) => {
                tracing::warn!("failed to read {key}, trying again: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The permit of one build, for its `publish`.
pub(crate) struct Noted<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) build: &'a Build,
    /// What was noted, or may have been.
    pub(crate) integrity: OnceLock<String>,
}

impl Permits for Noted<'_> {
    async fn note(&self, integrity: &str) -> bool {
        let _ = self.integrity.set(integrity.to_owned());
        confirm(self.worker, self.build, Some(integrity)).await
    }

    async fn spare(&self) -> Option<Duration> {
        let life = &self.build.life;
        let mut fuse = life.fuse();
        loop {
            if is_ended(self.build) {
                return None;
            }
            if let Some(spare) = life.spare() {
                return Some(spare);
            }
            tokio::select! {
                moved = fuse.changed() => moved.ok()?,
                () = self.build.to_be_killed() => return None,
            }
        }
    }
}

/// Writes the permit once more before something is published; false when that is not to be.
pub(crate) async fn confirm(worker: &Worker, build: &Build, integrity: Option<&str>) -> bool {
    let value = encode(&permit(&build.order, &build.life.name, integrity));
    let written = tokio::select! {
        written = write(worker, build, value, build.revision()) => written,
        () = build.to_be_killed() => return false,
    };
    match written {
        Written::Done(revision) => {
            build.set_revision(revision);
            !build.life.is_blown() && build.killed().is_none()
        }
        // The review finds out why, and kills the build for it.
        Written::Withdrawn(_) | Written::Other => {
            worker.review.notify_one();
            build.to_be_killed().await;
            false
        }
    }
}

/// Reads permits with each heartbeat and each nudge, for as long as this worker lives.
pub(crate) async fn follow(worker: Arc<Worker>) {
    loop {
        // What takes longer is started anew: the next nudge may be about something else.
        let patience = (worker.life().claim() / 6).max(Duration::from_secs(1));
        match tokio::time::timeout(patience, review(&worker)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("failed to read permits: {error}"),
            Err(_) => tracing::debug!("failed to read permits within {} s", patience.as_secs()),
        }
        let period = worker.life().claim() / 6;
        let _ = tokio::time::timeout(period, worker.review.notified()).await;
    }
}

/// Listens for nudges under each name.
pub(crate) async fn listen(worker: Arc<Worker>) {
    let mut lives = worker.lives();
    loop {
        let name = lives.borrow_and_update().name.clone();
        match worker.broker.wakeups(&name).await {
            Ok(mut wakeups) => loop {
                tokio::select! {
                    () = wakeups.next() => worker.review.notify_one(),
                    changed = lives.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                }
            },
            Err(error) => {
                tracing::debug!("failed to listen for nudges: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Reads the leader's settings, and all permits where this worker has builds.
async fn review(worker: &Worker) -> Result<(), packline_broker::BrokerError> {
    let leader = worker.orchestrator.get(LEADER).await?;
    let through = leader.as_ref().map_or(0, |entry| entry.revision);
    if let Some(leader) = leader.and_then(|entry| serde_json::from_slice::<Leader>(entry.value.as_deref()?).ok()) {
        // Until a heartbeat names the new CLAIM, the leader counts with the old one.
        if worker.life().obey(Duration::from_millis(leader.claim_millis)) {
            worker.changed.notify_one();
        }
    }
    // Before the read: what is claimed while it runs is not judged by it.
    let builds: Vec<(Arc<Build>, u64)> = worker
        .table
        .all()
        .into_iter()
        .map(|build| {
            let revision = build.revision();
            (build, revision)
        })
        .filter(|(_, revision)| *revision != 0)
        .collect();
    if builds.is_empty() {
        return Ok(());
    }
    let entries = worker.orchestrator.load("permits.*", through).await?;
    let permits: HashMap<&str, &Entry> = entries.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    for (build, revision) in builds {
        let Some(entry) = permits.get(key(&build.order).as_str()) else { continue };
        match ours(entry, &build) {
            Some(permit) => standing(worker, &build, &permit),
            // A replica that lags shows what was there before our own write, and proves nothing.
            None if entry.revision > revision => gone(worker, &build),
            None => {}
        }
    }
    Ok(())
}

/// The permit is ours: a build that is withdrawn is killed, a result that may be lost is sent again.
fn standing(worker: &Worker, build: &Arc<Build>, permit: &Permit) {
    if !build.is_over() {
        if let Some(ending) = &permit.ending {
            tracing::info!(
                "{} is withdrawn ({ending:?}): killing build {}",
                build.order.package_name,
                build.order.build_id
            );
            build.kill(Kill::Withdrawn);
        }
    } else if build.stored_at().is_some_and(|stored| stored.elapsed() >= worker.life().claim() / 6) {
        let _ = worker.results.send(Outgoing { build: Arc::clone(build), slot: None });
    }
}

/// The permit is another's, or nobody's: a build that is over is forgotten, one that runs is killed.
fn gone(worker: &Worker, build: &Build) {
    if build.is_over() {
        worker.table.forget(&build.order.build_id);
    } else if build.killed().is_none() {
        tracing::warn!("the permit of build {} is gone: killing it", build.order.build_id);
        build.kill(Kill::Gone);
    }
}
