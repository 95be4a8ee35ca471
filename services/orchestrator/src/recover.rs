//! Start-up and takeover are one path: load the bucket, rebuild what it implies (law 5).

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use packline_broker::{Bucket, Entry};
use packline_domain::{
    BuildOrder, Effect, Mode, Timestamp,
    control::Origin,
    effect::EffectsRecord,
    record::{Control, Key, Leader, Permit, Record},
};
use packline_scheduler::{Config, Scheduler};

use crate::effects::Committed;

/// What a leader starts from.
pub(crate) struct Recovered {
    pub(crate) scheduler: Scheduler,
    /// The revision of each permit's key.
    pub(crate) permit_revisions: BTreeMap<u32, u64>,
    /// What may not be out yet, in commit order; orders with the revision of their permit.
    pub(crate) effects: Vec<Committed>,
    /// Under which of `effects.<i>` they stand, with their commits.
    pub(crate) effect_keys: BTreeMap<u32, u64>,
}

/// Reads everything up to the loader's own takeover record, which `leader` is.
///
/// # Errors
/// When the broker cannot be read, or a record is not what its key holds; the key is named.
pub(crate) async fn load(
    bucket: &Bucket,
    leader: &Leader,
    revision: u64,
    rules: Config,
    max_concurrent: u32,
    now: Timestamp,
    lost: bool,
) -> anyhow::Result<Recovered> {
    let entries = bucket.load(">", revision).await.context("failed to load the bucket orchestrator")?;
    rebuild(entries, leader, revision, rules, max_concurrent, now, lost)
}

fn rebuild(
    entries: Vec<Entry>,
    leader: &Leader,
    revision: u64,
    rules: Config,
    max_concurrent: u32,
    now: Timestamp,
    lost: bool,
) -> anyhow::Result<Recovered> {
    let mut records = Vec::with_capacity(entries.len());
    let mut chunks = Vec::new();
    let mut permits = BTreeMap::new();
    let mut permit_revisions = BTreeMap::new();
    let mut own_record_seen = false;
    let mut first_start = true;
    for entry in entries {
        let key: Key = match entry.key.parse() {
            Ok(key) => key,
            Err(unknown) => {
                tracing::warn!("{unknown}; left alone");
                continue;
            }
        };
        own_record_seen |= key == Key::Leader && entry.revision >= revision;
        if let Key::Permit(n) = key {
            permit_revisions.insert(n, entry.revision);
        }
        let Some(value) = entry.value else { continue };
        let readable = || format!("the value of {key} in the bucket orchestrator cannot be read");
        if let Key::Effects(i) = key {
            chunks.push((i, serde_json::from_slice::<EffectsRecord>(&value).with_context(readable)?));
        } else if let Some(record) = Record::decode(&key, &value).with_context(readable)? {
            first_start &= !matches!(record, Record::Control(_));
            if let (Key::Permit(n), Record::Permit(permit)) = (&key, &record) {
                permits.insert(*n, (entry.revision, permit.clone()));
            }
            records.push((key, record));
        }
    }
    ensure!(own_record_seen, "the bucket orchestrator was read without this leader's own record");
    let scheduler = if first_start {
        Scheduler::new(rules, first_control(max_concurrent, now, lost), leader.serial)
    } else {
        Scheduler::restore(rules, records, leader.serial, now)?
    };
    let (effects, effect_keys) = outstanding(chunks, leader, &permits);
    Ok(Recovered { scheduler, permit_revisions, effects, effect_keys })
}

/// The control of a new line. One whose bucket was lost starts paused, for a person to look (law 6).
fn first_control(max_concurrent: u32, now: Timestamp, lost: bool) -> Control {
    let (mode, reason) = if lost {
        let reason = "the bucket orchestrator was lost: the queue was rebuilt from what PACKAGES still holds, \
                      and outcomes are forgotten; look at it, then resume";
        tracing::error!("{reason}");
        (Mode::Paused, Some(reason.to_owned()))
    } else {
        (Mode::Running, None)
    };
    Control {
        schema: packline_domain::SCHEMA,
        mode,
        max_concurrent,
        origin: Origin { by: reason.is_some().then(|| "orchestrator".to_owned()), reason },
        since: now,
        complete: true,
        drained_commit: None,
        last: None,
    }
}

/// Exactly what is younger than the mark, in order; an order goes out only while nobody has taken its
/// permit.
fn outstanding(
    mut chunks: Vec<(u32, EffectsRecord)>,
    leader: &Leader,
    permits: &BTreeMap<u32, (u64, Box<Permit>)>,
) -> (Vec<Committed>, BTreeMap<u32, u64>) {
    chunks.retain(|(_, chunk)| chunk.commit > leader.effects_through);
    chunks.sort_by_key(|(_, chunk)| (chunk.commit, chunk.part));
    let keys = chunks.iter().map(|(i, chunk)| (*i, chunk.commit)).collect();
    let mut commits: Vec<Committed> = Vec::new();
    for (_, chunk) in chunks {
        let wanted = chunk.effects.into_iter().filter_map(|effect| still_wanted(effect, permits));
        match commits.last_mut() {
            Some((last, effects)) if *last == chunk.commit => effects.extend(wanted),
            _ => commits.push((chunk.commit, wanted.collect())),
        }
    }
    (commits, keys)
}

fn still_wanted(effect: Effect, permits: &BTreeMap<u32, (u64, Box<Permit>)>) -> Option<Effect> {
    let Effect::Order(mut order) = effect else { return Some(effect) };
    let (revision, permit) = permits.get(&order.permit)?;
    is_untaken(permit, &order).then(|| {
        order.permit_revision = *revision;
        Effect::Order(order)
    })
}

fn is_untaken(permit: &Permit, order: &BuildOrder) -> bool {
    permit.build_id == order.build_id && permit.worker.is_none() && permit.ending.is_none()
}
