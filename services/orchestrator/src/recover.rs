//! Start-up and takeover are one path: load the bucket, rebuild what it implies (law 5).

use std::collections::BTreeMap;

use anyhow::ensure;
use packline_broker::Entry;
use packline_domain::{
    BuildOrder, Effect, Mode, Timestamp,
    control::Origin,
    effect::EffectsRecord,
    record::{Control, Key, Leader, Permit, Record, UnknownKey},
};
use packline_scheduler::{Config, Scheduler};

/// The effects of a commit that may not be out yet, with its number.
pub(crate) type Unsent = (u64, Vec<Effect>);

/// What a leader starts from.
pub(crate) struct Recovered {
    pub(crate) scheduler: Scheduler,
    /// The revision of each permit's key.
    pub(crate) permit_revisions: BTreeMap<u32, u64>,
    /// What may not be out yet, in commit order; orders with the revision of their permit.
    pub(crate) effects: Vec<Unsent>,
    /// Under which of `effects.<i>` they stand, with their commits.
    pub(crate) effect_keys: BTreeMap<u32, u64>,
}

/// What one key of the bucket says.
pub(crate) enum Word {
    /// Nothing that this version knows.
    Unknown(UnknownKey),
    /// It is deleted, or decided elsewhere.
    Nothing(Key),
    /// Something that cannot be read.
    Rubbish(Key, serde_json::Error),
    /// A record that the scheduler decides.
    Record(Key, Record),
    /// Messages that may not be out.
    Effects(u32, EffectsRecord<'static>),
}

/// Reads one key as it is loaded.
pub(crate) fn read(key: &str, value: Option<&[u8]>) -> Word {
    let key: Key = match key.parse() {
        Ok(key) => key,
        Err(unknown) => return Word::Unknown(unknown),
    };
    let Some(value) = value else { return Word::Nothing(key) };
    let word = match key {
        Key::Effects(i) => serde_json::from_slice(value).map(|record| Word::Effects(i, record)),
        _ => Record::decode(&key, value).map(|record| match record {
            Some(record) => Word::Record(key.clone(), record),
            None => Word::Nothing(key.clone()),
        }),
    };
    word.unwrap_or_else(|error| Word::Rubbish(key, error))
}

/// Rebuilds what the bucket implies, read up to the loader's own takeover record or a renewal of it, whose
/// revision is at least `revision`.
///
/// # Errors
/// When a record is not what its key holds; the key is named.
pub(crate) fn rebuild(
    entries: Vec<Entry<Word>>,
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
        match entry.value {
            Word::Unknown(unknown) => tracing::warn!("{unknown}; left alone"),
            Word::Nothing(Key::Leader) => own_record_seen |= entry.revision >= revision,
            Word::Nothing(Key::Permit(n)) => {
                permit_revisions.insert(n, entry.revision);
            }
            Word::Nothing(_) => {}
            Word::Rubbish(key, error) => {
                let unreadable = format!("the value of {key} in the bucket orchestrator cannot be read");
                return Err(anyhow::Error::from(error).context(unreadable));
            }
            Word::Effects(i, chunk) => chunks.push((i, chunk)),
            Word::Record(key, record) => {
                first_start &= !matches!(record, Record::Control(_));
                if let (Key::Permit(n), Record::Permit(permit)) = (&key, &record) {
                    permit_revisions.insert(*n, entry.revision);
                    permits.insert(*n, (entry.revision, permit.clone()));
                }
                records.push((key, record));
            }
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
    mut chunks: Vec<(u32, EffectsRecord<'static>)>,
    leader: &Leader,
    permits: &BTreeMap<u32, (u64, Box<Permit>)>,
) -> (Vec<Unsent>, BTreeMap<u32, u64>) {
    chunks.retain(|(_, chunk)| chunk.commit > leader.effects_through);
    chunks.sort_by_key(|(_, chunk)| (chunk.commit, chunk.part));
    let keys = chunks.iter().map(|(i, chunk)| (*i, chunk.commit)).collect();
    let mut commits: Vec<Unsent> = Vec::new();
    for (_, chunk) in chunks {
        let wanted = chunk.effects.into_owned().into_iter().filter_map(|effect| still_wanted(effect, permits));
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

#[cfg(test)]
mod tests {
    use super::*;
    use packline_domain::{BuildId, Package, SCHEMA, message::OrderConfig};
    use serde::Serialize;
    use std::time::Duration;

    const TAKEOVER: u64 = 100;

    fn entry(key: &str, revision: u64, value: &impl Serialize) -> Entry<Word> {
        Entry { key: key.into(), value: read(key, Some(&serde_json::to_vec(value).unwrap())), revision }
    }

    fn leader(effects_through: u64) -> Leader {
        Leader { commit: 9, effects_through, ..Leader::default() }
    }

    fn recovered(mut entries: Vec<Entry<Word>>, leader: &Leader) -> anyhow::Result<Recovered> {
        entries.push(entry("leader", TAKEOVER, leader));
        rebuild(entries, leader, TAKEOVER, Config::default(), 4, Timestamp::from_millis(1_000_000), false)
    }

    fn permit(worker: Option<&str>) -> Permit {
        Permit {
            schema: SCHEMA,
            package_name: "a".parse().unwrap(),
            build_id: build(),
            attempt: 1,
            granted_at: Timestamp::default(),
            worker: worker.map(str::to_owned),
            integrity: None,
            ending: None,
        }
    }

    fn build() -> BuildId {
        "a.7".parse().unwrap()
    }

    fn order() -> Effect {
        let package = Package::named("a".parse().unwrap());
        let (at, config, hour) = (Timestamp::default(), OrderConfig::default(), Duration::from_hours(1));
        Effect::Order(Box::new(BuildOrder::new(&package, build(), 1, 0, at, config, vec![], hour)))
    }

    fn chunk(commit: u64, part: u32, effects: Vec<Effect>) -> EffectsRecord<'static> {
        EffectsRecord { schema: SCHEMA, commit, part, effects: effects.into() }
    }

    fn wake(worker: &str) -> Effect {
        Effect::Wake(worker.into())
    }

    #[test]
    fn what_may_not_be_out_is_sent_again_in_the_order_of_commits() {
        let entries = vec![
            entry("effects.0", 10, &chunk(8, 1, vec![wake("b")])),
            entry("effects.1", 11, &chunk(9, 0, vec![wake("c")])),
            entry("effects.2", 12, &chunk(7, 0, vec![wake("out already")])),
            entry("effects.3", 13, &chunk(8, 0, vec![wake("a")])),
        ];
        let recovered = recovered(entries, &leader(7)).unwrap();
        assert_eq!(recovered.effects, [(8, vec![wake("a"), wake("b")]), (9, vec![wake("c")])]);
        assert_eq!(recovered.effect_keys, BTreeMap::from([(0, 8), (1, 9), (3, 8)]), "these keys are not free yet");
    }

    #[test]
    fn an_order_goes_out_again_only_while_nobody_has_taken_its_permit() {
        for (worker, sent) in [(None, true), (Some("w"), false)] {
            let chunks = vec![(0, chunk(9, 0, vec![order()]))];
            let permits = BTreeMap::from([(0, (55, Box::new(permit(worker))))]);
            let (commits, _) = outstanding(chunks, &leader(8), &permits);
            let effects = &commits[0].1;
            assert_eq!(effects.len(), usize::from(sent), "{worker:?}");
            if let Some(Effect::Order(order)) = effects.first() {
                assert_eq!(order.permit_revision, 55, "as loaded");
            }
        }
        let (commits, _) = outstanding(vec![(0, chunk(9, 0, vec![order()]))], &leader(8), &BTreeMap::new());
        assert!(commits[0].1.is_empty(), "the permit is gone");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named() {
        let key = "queue.acme/core";
        let rubbish = Entry { key: key.into(), value: read(key, Some(b"rubbish")), revision: 3 };
        let error = recovered(vec![rubbish], &leader(9)).err().unwrap();
        assert!(error.to_string().contains("queue.acme/core"), "{error}");
    }

    #[test]
    fn a_load_without_the_leaders_own_record_is_refused() {
        let old = entry("leader", TAKEOVER - 1, &leader(9));
        let loaded = rebuild(vec![old], &leader(9), TAKEOVER, Config::default(), 4, Timestamp::default(), false);
        assert!(loaded.is_err());
    }

    #[test]
    fn a_line_whose_bucket_was_lost_starts_paused_and_says_why() {
        let entries = vec![entry("leader", TAKEOVER, &leader(0))];
        let recovered =
            rebuild(entries, &leader(0), TAKEOVER, Config::default(), 4, Timestamp::default(), true).unwrap();
        let control = recovered.scheduler.control();
        assert_eq!(control.mode, Mode::Paused);
        assert!(control.origin.reason.as_ref().is_some_and(|reason| reason.contains("was lost")));
    }
}
