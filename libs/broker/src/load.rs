//! Reading a bucket whole.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
    time::Duration,
};

use async_nats::jetstream::consumer::DeliverPolicy;
use packline_domain::record::LEADER;

use crate::{
    BrokerError, Bucket, Entry,
    delivery::Place,
    pull::{Inbox, Pulled, Request},
    reader::{Reader, SILENCE, gap, passing},
};

/// Messages asked for at a time; of the largest records that is 32 MB.
const PAGE: usize = 250;
/// How long a request for a page stands; a broker that needs longer is asked again.
const PAGE_WITHIN: Duration = Duration::from_secs(2);

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

/// One complete read, see [`Bucket::load_into`].
pub(crate) async fn load<T: Default + Extend<Entry>>(
    bucket: &Bucket,
    filter: &str,
    through: u64,
) -> Result<T, BrokerError> {
    // Where the filter leaves `leader` out it is read along, as the mark that `through` is about.
    let along = through > 0 && filter != ">" && filter != LEADER;
    let filters = if along { [filter, LEADER].to_vec() } else { vec![filter] };
    let mut pages = Pages::open(bucket, &filters).await?;
    let there = usize::try_from(pages.pending).unwrap_or(usize::MAX);
    let mut loaded = T::default();
    let mut keys = Keys::default();
    let mut reached = through == 0;
    loop {
        let complete = reached && keys.seen.len() >= there;
        if complete && pages.pending == 0 {
            return Ok(loaded);
        }
        let Some((message, place)) = pages.next().await? else {
            if complete {
                return Ok(loaded);
            }
            // It has expired, or the broker lags: one who reads anew sees which.
            return Err(gap("what was there did not come"));
        };
        let entry = bucket.entry(message, place);
        keys.see(&entry.key);
        reached |= entry.key == LEADER && entry.revision >= through;
        if !along || entry.key != LEADER {
            loaded.extend([entry]);
        }
    }
}

/// An ordered read in pages: no more comes than is asked for, so that however large a bucket is, little of it waits
/// in memory for whoever takes it. (What is pushed comes ahead by up to 32 MB, which as messages take several times
/// that.)
struct Pages {
    inbox: Inbox,
    delivered: u64,
    /// What was delivered when the last page was asked for.
    asked_at: u64,
    /// At first how many messages there are to read; then what waits, as of the last one.
    pending: u64,
}

impl Pages {
    async fn open(bucket: &Bucket, filters: &[&str]) -> Result<Self, BrokerError> {
        let (broker, stream) = (bucket.broker(), bucket.name().stream());
        let name = format!("{:016x}", fastrand::u64(..));
        let inbox = Inbox::open(broker, stream, &name).await?;
        let subjects = filters.iter().map(|filter| bucket.subject(filter)).collect();
        let config = passing(subjects, DeliverPolicy::LastPerSubject);
        let pending = broker.make_consumer(stream, &name, &config).await?;
        Ok(Self { inbox, delivered: 0, asked_at: 0, pending })
    }

    /// What comes next; none: for a while nothing came.
    ///
    /// # Errors
    /// It does not come in order: read anew.
    async fn next(&mut self) -> Result<Option<(async_nats::Message, Place)>, BrokerError> {
        loop {
            // Ahead of the end of a page: a consumer that nobody asks is soon forgotten.
            if self.inbox.outstanding() <= PAGE / 2 {
                self.asked_at = self.delivered;
                self.inbox.request(&Request { batch: PAGE, expires: Some(PAGE_WITHIN), heartbeat: None }).await?;
            }
            match tokio::time::timeout(SILENCE, self.inbox.next()).await {
                Ok(Ok(Pulled::Message(message))) => {
                    let Some(place) = Place::after(self.delivered, &message) else {
                        return Err(gap("messages were skipped"));
                    };
                    self.delivered = place.consumer;
                    self.pending = place.pending;
                    return Ok(Some((message, place)));
                }
                // Slow, and on its way.
                Ok(Ok(Pulled::Over | Pulled::Heartbeat)) if self.delivered > self.asked_at => {}
                Ok(Ok(Pulled::Over | Pulled::Heartbeat)) => return Ok(None),
                Ok(Ok(Pulled::Deleted)) => return Err(gap("the consumer is gone")),
                Ok(Ok(Pulled::Denied(why))) => return Err(gap(&why)),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(gap("the broker fell silent")),
            }
        }
    }
}

/// Which keys came. One that is written while it is read may come twice; or its old word is gone before it
/// came, and its new one is still on its way when nothing seems to be pending.
#[derive(Default)]
struct Keys {
    /// Hashes, for there may be many: two that were equal would cost a second read.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Keys {
    fn see(&mut self, key: &str) {
        self.seen.insert(self.hasher.hash_one(key));
    }
}

/// The last of the words for each key.
pub(crate) fn last_words(mut entries: Vec<Entry>) -> Vec<Entry> {
    let newest: HashMap<String, u64> = entries.iter().map(|entry| (entry.key.clone(), entry.revision)).collect();
    entries.retain(|entry| newest.get(&entry.key) == Some(&entry.revision));
    entries
}
