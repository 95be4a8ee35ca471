//! Reading a bucket whole.

use std::collections::{HashMap, HashSet};

use async_nats::jetstream::consumer::DeliverPolicy;
use bytes::Bytes;
use packline_domain::record::LEADER;

use crate::{
    BrokerError, Bucket, Entry,
    delivery::Place,
    reader::{Reader, gap},
};

impl Bucket {
    /// An ordered read of the last words of all keys that match, then of all new ones.
    pub(crate) async fn read(&self, filters: &[&str]) -> Result<Reader, BrokerError> {
        let subjects = filters.iter().map(|filter| self.subject(filter)).collect();
        Reader::open(self.broker(), self.name().stream(), subjects, DeliverPolicy::LastPerSubject).await
    }

    /// The word of a key in a message of the stream below.
    pub(crate) fn entry(&self, message: async_nats::Message, place: Place) -> Entry {
        let key = message.subject.strip_prefix(self.name().prefix()).unwrap_or_default().to_owned();
        let operation = message.headers.as_ref().and_then(|headers| headers.get("KV-Operation"));
        let deleted = operation.is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE"));
        let value = if deleted { None } else { Some(message.payload) };
        Entry { key, value, revision: place.stream }
    }
}

/// One complete read, see [`Bucket::load`].
pub(crate) async fn load<V>(
    bucket: &Bucket,
    filter: &str,
    through: u64,
    read: impl Fn(&str, Option<Bytes>) -> V,
) -> Result<Vec<Entry<V>>, BrokerError> {
    // Where the filter leaves `leader` out it is read along, as the mark that `through` is about.
    let along = through > 0 && filter != ">" && filter != LEADER;
    let filters = if along { [filter, LEADER].to_vec() } else { vec![filter] };
    let mut reader = bucket.read(&filters).await?;
    let there = usize::try_from(reader.pending).unwrap_or(usize::MAX);
    let mut entries = Vec::with_capacity(there);
    let mut reached = through == 0;
    let mut enough = there;
    loop {
        if reached && reader.pending == 0 && entries.len() >= enough {
            let missing = there.saturating_sub(distinct(&entries));
            if missing == 0 {
                break;
            }
            enough = entries.len() + missing;
        }
        match reader.next().await? {
            Some((message, place)) => {
                let Entry { key, value, revision } = bucket.entry(message, place);
                reached |= key == LEADER && revision >= through;
                let value = read(&key, value);
                entries.push(Entry { key, value, revision });
            }
            // Nothing is on its way any more: what is missing has expired.
            None if reached => break,
            None => return Err(gap("the leader's record did not come")),
        }
    }
    if distinct(&entries) < entries.len() {
        entries = last_words(entries);
    }
    if along {
        entries.retain(|entry| entry.key != LEADER);
    }
    Ok(entries)
}

/// How many keys there are. A key that is written while it is read may come twice; or its old word is gone
/// before it came, and its new one is still on its way when nothing seems to be pending.
fn distinct<V>(entries: &[Entry<V>]) -> usize {
    entries.iter().map(|entry| entry.key.as_str()).collect::<HashSet<_>>().len()
}

fn last_words<V>(entries: Vec<Entry<V>>) -> Vec<Entry<V>> {
    let newest: HashMap<String, u64> = entries.iter().map(|entry| (entry.key.clone(), entry.revision)).collect();
    entries.into_iter().filter(|entry| newest.get(&entry.key) == Some(&entry.revision)).collect()
}
