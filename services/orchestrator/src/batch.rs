//! What the next commit will hold, and what follows once it is committed.

use std::{collections::BTreeMap, io};

use packline_broker::{Acker, DeadLetter, StreamName, Write};
use packline_domain::{
    Effect, SCHEMA,
    effect::EffectsRecord,
    record::{Key, Record, State},
};
use packline_scheduler::{Action, Scheduler};

/// Records of one commit beyond which no further input is taken into it; one input adds at most as many
/// again, and the broker takes 1000.
const ROOM: usize = 450;

/// Records of one commit that announcements leave to what starts, so that a flood of them holds up no build.
const STARTS: usize = 150;

/// The largest value of `effects.<i>`, in bytes of JSON.
const EFFECTS_BYTES: usize = 200 * 1024;

/// Keys of effects that may be outstanding before the loop waits for the outbox.
pub(crate) const MAX_EFFECT_KEYS: usize = 64;

/// Inputs applied since the last commit, and what they imply.
#[derive(Default)]
pub(crate) struct Batch {
    records: BTreeMap<Key, Option<Record>>,
    effects: Vec<Effect>,
    /// Permits whose worker has named the revision of its last write.
    named: BTreeMap<u32, u64>,
    /// Last sequence taken of each stream.
    pub(crate) positions: BTreeMap<StreamName, u64>,
    /// The last delivery of each stream: acknowledging it acknowledges all before.
    pub(crate) ackers: BTreeMap<StreamName, Acker>,
    pub(crate) letters: Vec<DeadLetter>,
    closed: bool,
}

impl Batch {
    /// Takes up what the scheduler decided; of a key written twice the last value counts.
    pub(crate) fn absorb(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Put(key, record) => {
                    self.records.insert(key, Some(record));
                }
                Action::Delete(key) => {
                    self.records.insert(key, None);
                }
                Action::Effect(effect) => self.effects.push(effect),
            }
        }
    }

    /// A result named the revision of its worker's last write to its permit.
    pub(crate) fn name_revision(&mut self, permit: u32, revision: u64) {
        self.named.insert(permit, revision);
    }

    /// How many more records fit before the next commit is due.
    pub(crate) fn room(&self) -> usize {
        if self.closed { 0 } else { ROOM.saturating_sub(self.records.len() + self.letters.len()) }
    }

    /// Whether announcements may still be taken into the next commit.
    pub(crate) fn takes_announcements(&self) -> bool {
        self.room() > STARTS
    }

    /// A long announcement has begun: what comes after it goes into a later commit, so that its rest can tell.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether an operator waits for what a command does.
    pub(crate) fn is_urgent(&self) -> bool {
        self.positions.contains_key(&StreamName::Control)
    }

    /// Whether there is nothing that must be stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.effects.is_empty() && self.positions.is_empty() && self.letters.is_empty()
    }

    /// What the commit implies for the outside, once it is committed.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes up what workers wrote meanwhile into permits that this batch rewrites.
    pub(crate) fn renew_permits(&mut self, scheduler: &Scheduler) {
        for (key, record) in &mut self.records {
            if let (Key::Permit(n), Some(Record::Permit(permit))) = (key, record)
                && let Some(known) = scheduler.permit(*n)
            {
                permit.as_mut().clone_from(known);
            }
        }
    }

    /// The values of `effects.<i>` that this commit writes: its effects in order, in parts of a bearable size.
    pub(crate) fn effect_chunks(&self, commit: u64) -> serde_json::Result<Vec<Vec<u8>>> {
        let mut chunks = Vec::new();
        let (mut rest, mut fit) = (self.effects.as_slice(), 0);
        let mut bytes = 0;
        while let Some(effect) = rest.get(fit) {
            let mut size = Size(0);
            serde_json::to_writer(&mut size, effect)?;
            if bytes + size.0 > EFFECTS_BYTES && fit > 0 {
                let (full, others) = rest.split_at(fit);
                chunks.push(chunk(commit, chunks.len(), full)?);
                (rest, fit, bytes) = (others, 0, 0);
            }
            bytes += size.0;
            fit += 1;
        }
        if !rest.is_empty() {
            chunks.push(chunk(commit, chunks.len(), rest)?);
        }
        Ok(chunks)
    }

    /// The records as they are written. What starts comes last: whoever follows the bucket never sees a build
    /// start before what it waited for is published, not even in the middle of a commit.
    fn in_order(&self) -> impl Iterator<Item = (&Key, &Option<Record>)> {
        let starts = |(_, record): &(&Key, &Option<Record>)| match record {
            Some(Record::Queue(queue)) => matches!(queue.state, State::Building { .. }),
            _ => false,
        };
        self.records.iter().filter(move |record| !starts(record)).chain(self.records.iter().filter(starts))
    }

    /// The writes of the commit; each change of a permit that stands carries the revision it relies on.
    pub(crate) fn writes(
        &self,
        permits: &BTreeMap<u32, Standing>,
        trust_named: bool,
    ) -> serde_json::Result<Vec<Write>> {
        self.in_order()
            .map(|(key, record)| {
                let expect = match key {
                    Key::Permit(n) => permits.get(n).filter(|standing| standing.stands).map(|standing| {
                        let named = self.named.get(n).copied().filter(|_| trust_named).unwrap_or(0);
                        standing.revision.max(named)
                    }),
                    Key::Leader | Key::Control | Key::Intention | Key::Queue(_) | Key::Retries(_) | Key::Effects(_) => {
                        None
                    }
                };
                let value = record.as_ref().map(Record::encode).transpose()?.map(Into::into);
                Ok(Write { key: key.to_string(), value, expect })
            })
            .collect()
    }

    /// The permits that the commit writes (true) or deletes, with their place among its records.
    pub(crate) fn permits(&self) -> impl Iterator<Item = (usize, u32, bool)> {
        self.in_order().enumerate().filter_map(|(place, (key, record))| match key {
            Key::Permit(n) => Some((place, *n, record.is_some())),
            Key::Leader | Key::Control | Key::Intention | Key::Queue(_) | Key::Retries(_) | Key::Effects(_) => None,
        })
    }
}

/// How large something is as JSON.
struct Size(usize);

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn chunk(commit: u64, part: usize, effects: &[Effect]) -> serde_json::Result<Vec<u8>> {
    let part = u32::try_from(part).unwrap_or(u32::MAX);
    serde_json::to_vec(&EffectsRecord { schema: SCHEMA, commit, part, effects: effects.into() })
}

/// What the leader knows of the key of a permit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// The last revision seen or written.
    pub(crate) revision: u64,
    /// Whether it has a value.
    pub(crate) stands: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn queue(name: &str, state: &serde_json::Value) -> Action {
        let time = packline_domain::Timestamp::from_millis(0);
        let mut record =
            json!({"package": {"name": name}, "arrival": 1, "commit": 1, "queuedAt": time, "announcedAt": time});
        record.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
        let key = Key::Queue(name.parse().unwrap());
        Action::Put(key.clone(), Record::decode(&key, record.to_string().as_bytes()).unwrap().unwrap())
    }

    #[test]
    fn what_was_refused_must_be_stored_even_where_nothing_else_is() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        let (kind, reason, source_subject) = ("packages".into(), "no name".into(), "packages.new".into());
        batch.letters.push(DeadLetter { kind, reason, source_subject, source: None, payload: "{}".into() });
        assert!(!batch.is_empty());
    }

    #[test]
    fn a_batch_in_which_a_long_announcement_began_takes_nothing_more() {
        let mut batch = Batch::default();
        assert_eq!(batch.room(), ROOM);
        batch.close();
        assert_eq!(batch.room(), 0);
    }

    #[test]
    fn what_starts_is_written_after_all_that_it_may_have_waited_for() {
        let mut batch = Batch::default();
        batch.absorb(vec![
            queue("a-dependent", &json!({"state": "building", "buildId": "a-dependent.2", "permit": 0})),
            queue("z-dependency", &json!({"state": "published"})),
        ]);
        let writes = batch.writes(&BTreeMap::new(), true).unwrap();
        let keys: Vec<&str> = writes.iter().map(|write| write.key.as_str()).collect();
        assert_eq!(keys, ["queue.z-dependency", "queue.a-dependent"]);
    }
}
