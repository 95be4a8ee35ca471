//! Start-up and takeover are one path: load the bucket, rebuild what it implies (law 5).

use std::collections::BTreeMap;

use anyhow::ensure;
use packline_broker::Entry;
use packline_domain::{
    BuildOrder, Effect, Mode, Timestamp,
    control::Origin,
    effect::EffectsRecord,
    record::{Control, Key, Leader, Permit, Record},
};
use packline_scheduler::{Config, Restoring, Scheduler};

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

/// What the bucket says, as far as it is loaded.
#[derive(Default)]
pub(crate) struct Loaded {
    records: Restoring,
    permit_revisions: BTreeMap<u32, u64>,
    /// By the `i` of `effects.<i>`.
    chunks: BTreeMap<u32, EffectsRecord<'static>>,
    leader_revision: u64,
    /// What cannot be used, by its key.
    refused: BTreeMap<Key, anyhow::Error>,
}

impl Extend<Entry> for Loaded {
    fn extend<T: IntoIterator<Item = Entry>>(&mut self, entries: T) {
        for entry in entries {
            match entry.key.parse::<Key>() {
                Ok(key) => self.take(&key, entry.value.as_deref(), entry.revision),
                Err(unknown) => tracing::warn!("{unknown}; left alone"),
            }
        }
    }
}

impl Loaded {
    fn take(&mut self, key: &Key, value: Option<&[u8]>, revision: u64) {
        self.refused.remove(key);
        match key {
            Key::Leader => self.leader_revision = revision,
            Key::Permit(n) => drop(self.permit_revisions.insert(*n, revision)),
            Key::Control | Key::Intention | Key::Queue(_) | Key::Retries(_) | Key::Effects(_) => {}
        }
        let taken = match (key, value) {
            (Key::Effects(i), None) => {
                self.chunks.remove(i);
                Ok(())
            }
            (_, None) => {
                self.records.remove(key);
                Ok(())
            }
            (Key::Effects(i), Some(value)) => serde_json::from_slice(value)
                .map(|chunk| drop(self.chunks.insert(*i, chunk)))
                .map_err(|error| unreadable(key, error)),
            (_, Some(value)) => match Record::decode(key, value) {
                Ok(Some(record)) => self.records.put(key.clone(), record).map_err(Into::into),
                // Decided elsewhere.
                Ok(None) => Ok(()),
                Err(error) => Err(unreadable(key, error)),
            },
        };
        if let Err(error) = taken {
            self.refused.insert(key.clone(), error);
        }
    }

    /// Rebuilds what the bucket implies, read up to the loader's own takeover record or a renewal of it, whose
    /// revision is at least `revision`.
    ///
    /// # Errors
    /// When a record is not what its key holds; the key is named.
    pub(crate) fn rebuild(
        mut self,
        leader: &Leader,
        revision: u64,
        rules: Config,
        max_concurrent: u32,
        now: Timestamp,
        lost: bool,
    ) -> anyhow::Result<Recovered> {
        if let Some((_, error)) = self.refused.pop_first() {
            return Err(error);
        }
        ensure!(self.leader_revision >= revision, "the bucket orchestrator was read without this leader's own record");
        let scheduler = if self.records.has_control() {
            self.records.finish(rules, leader.serial, now)?
        } else {
            Scheduler::new(rules, first_control(max_concurrent, now, lost), leader.serial)
        };
        let (effects, effect_keys) =
            outstanding(self.chunks, leader, |n| Some((*self.permit_revisions.get(&n)?, scheduler.permit(n)?)));
        Ok(Recovered { scheduler, permit_revisions: self.permit_revisions, effects, effect_keys })
    }
}

fn unreadable(key: &Key, error: serde_json::Error) -> anyhow::Error {
    anyhow::Error::from(error).context(format!("the value of {key} in the bucket orchestrator cannot be read"))
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
/// permit. `permit` answers the permit with that number, and the revision of its key.
fn outstanding<'a>(
    chunks: BTreeMap<u32, EffectsRecord<'static>>,
    leader: &Leader,
    permit: impl Fn(u32) -> Option<(u64, &'a Permit)>,
) -> (Vec<Unsent>, BTreeMap<u32, u64>) {
    let mut chunks: Vec<_> = chunks.into_iter().filter(|(_, chunk)| chunk.commit > leader.effects_through).collect();
    chunks.sort_by_key(|(_, chunk)| (chunk.commit, chunk.part));
    let keys = chunks.iter().map(|(i, chunk)| (*i, chunk.commit)).collect();
    let mut commits: Vec<Unsent> = Vec::new();
    for (_, chunk) in chunks {
        let wanted = chunk.effects.into_owned().into_iter().filter_map(|effect| still_wanted(effect, &permit));
        match commits.last_mut() {
            Some((last, effects)) if *last == chunk.commit => effects.extend(wanted),
            _ => commits.push((chunk.commit, wanted.collect())),
        }
    }
    (commits, keys)
}

fn still_wanted<'a>(effect: Effect, permit: impl Fn(u32) -> Option<(u64, &'a Permit)>) -> Option<Effect> {
    let Effect::Order(mut order) = effect else { return Some(effect) };
    let (revision, permit) = permit(order.permit)?;
    is_untaken(permit, &order).then(|| {
        order.permit_revision = revision;
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
    use serde_json::json;
    use std::time::Duration;

    const TAKEOVER: u64 = 100;

    fn entry(key: &str, revision: u64, value: &impl Serialize) -> Entry {
        Entry { key: key.into(), value: Some(serde_json::to_vec(value).unwrap().into()), revision }
    }

    fn loaded(entries: Vec<Entry>) -> Loaded {
        let mut loaded = Loaded::default();
        loaded.extend(entries);
        loaded
    }

    fn leader(effects_through: u64) -> Leader {
        Leader { commit: 9, effects_through, ..Leader::default() }
    }

    fn recovered(mut entries: Vec<Entry>, leader: &Leader) -> anyhow::Result<Recovered> {
        entries.push(entry("leader", TAKEOVER, leader));
        loaded(entries).rebuild(leader, TAKEOVER, Config::default(), 4, Timestamp::from_millis(1_000_000), false)
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
            let chunks = BTreeMap::from([(0, chunk(9, 0, vec![order()]))]);
            let permit = permit(worker);
            let (commits, _) = outstanding(chunks, &leader(8), |_| Some((55, &permit)));
            let effects = &commits[0].1;
            assert_eq!(effects.len(), usize::from(sent), "{worker:?}");
            if let Some(Effect::Order(order)) = effects.first() {
                assert_eq!(order.permit_revision, 55, "as loaded");
            }
        }
        let (commits, _) = outstanding(BTreeMap::from([(0, chunk(9, 0, vec![order()]))]), &leader(8), |_| None);
        assert!(commits[0].1.is_empty(), "the permit is gone");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named() {
        let key = "queue.acme/core";
        let rubbish = Entry { key: key.into(), value: Some("rubbish".into()), revision: 3 };
        let error = recovered(vec![rubbish], &leader(9)).err().unwrap();
        assert!(error.to_string().contains("queue.acme/core"), "{error}");
    }

    #[test]
    fn of_a_key_that_came_twice_the_later_word_counts() {
        let deleted = |key: &str, revision| Entry { key: key.into(), value: None, revision };
        let package = json!({"package": {"name": "a"}, "state": "queued", "arrival": 1, "commit": 1,
            "queuedAt": Timestamp::default(), "announcedAt": Timestamp::default()});
        let control = first_control(4, Timestamp::default(), false);
        let rubbish = Entry { key: "permits.0".into(), value: Some("rubbish".into()), revision: 4 };
        let entries = vec![
            entry("control", 1, &control),
            entry("queue.a", 2, &package),
            entry("retries.a", 3, &json!({"packageName": "b"})),
            rubbish,
            entry("permits.1", 5, &permit(None)),
            entry("effects.0", 6, &chunk(9, 0, vec![wake("a")])),
            deleted("retries.a", 7),
            deleted("permits.0", 8),
            deleted("permits.1", 9),
            deleted("effects.0", 10),
            entry("control", 11, &Control { max_concurrent: 7, ..control.clone() }),
        ];
        let recovered = recovered(entries, &leader(8)).unwrap();
        assert_eq!(recovered.scheduler.control().max_concurrent, 7);
        assert_eq!((recovered.scheduler.packages().count(), recovered.scheduler.permits().count()), (1, 0));
        assert_eq!(recovered.permit_revisions, BTreeMap::from([(0, 8), (1, 9)]));
        assert!(recovered.effects.is_empty() && recovered.effect_keys.is_empty());
    }

    #[test]
    fn a_load_without_the_leaders_own_record_is_refused() {
        let old = entry("leader", TAKEOVER - 1, &leader(9));
        let rebuilt =
            loaded(vec![old]).rebuild(&leader(9), TAKEOVER, Config::default(), 4, Timestamp::default(), false);
        assert!(rebuilt.is_err());
    }

    #[test]
    fn a_line_whose_bucket_was_lost_starts_paused_and_says_why() {
        let entries = vec![entry("leader", TAKEOVER, &leader(0))];
        let recovered =
            loaded(entries).rebuild(&leader(0), TAKEOVER, Config::default(), 4, Timestamp::default(), true).unwrap();
        let control = recovered.scheduler.control();
        assert_eq!(control.mode, Mode::Paused);
        assert!(control.origin.reason.as_ref().is_some_and(|reason| reason.contains("was lost")));
    }
}
