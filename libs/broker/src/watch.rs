//! Following a bucket: a wake-up and a first look; the truth stays a read.

use std::collections::HashSet;

use tokio::{sync::mpsc, task::JoinHandle};

use crate::{Bucket, Entry, patience::Patience};

/// Entries that wait for a slow taker; beyond it the broker's flow control holds them back.
const WAITING: usize = 1024;

/// What a [`Watch`] saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The last word of a key.
    Entry(Entry),
    /// All keys that existed at the start, or at the last gap, have now been said.
    Complete,
    /// Something may have been missed: forget what was counted. Everything is said again from here.
    Gap,
}

/// The last words of all keys that match, [`Watched::Complete`], then every new one; after a lost connection
/// or a skipped message [`Watched::Gap`], and all of it again. Ends when dropped.
pub struct Watch {
    seen: mpsc::Receiver<Watched>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(bucket: Bucket, filter: &str) -> Self {
        let (sender, seen) = mpsc::channel(WAITING);
        let filter = filter.to_owned();
        let task = tokio::spawn(async move {
            let mut patience = Patience::new(format!("watch {filter} in bucket {}", bucket.name().as_str()));
            while let Some(error) = follow(&bucket, &filter, &sender, &mut patience).await {
                patience.pause(&error).await;
            }
        });
        Self { seen, task }
    }

    /// The next thing seen; waits for as long as there is nothing. Cancellation safe.
    pub async fn next(&mut self) -> Watched {
        match self.seen.recv().await {
            Some(seen) => seen,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows until a gap, which is returned and said, or until nobody listens.
async fn follow(
    bucket: &Bucket,
    filter: &str,
    sender: &mpsc::Sender<Watched>,
    patience: &mut Patience,
) -> Option<crate::BrokerError> {
    let mut reader = match bucket.read(&[filter]).await {
        Ok(reader) => reader,
        Err(error) => return Some(error),
    };
    let mut there = reader.pending;
    // Which of the keys that are there have been said; none once all have.
    let mut said = Some(HashSet::new());
    loop {
        if said.as_ref().is_some_and(|said| said.len() as u64 >= there) {
            said = None;
            patience.reset();
            sender.send(Watched::Complete).await.ok()?;
        }
        let read = tokio::select! {
            read = reader.next() => read,
            () = sender.closed() => return None,
        };
        match read {
            Ok(Some((message, place))) => {
                let entry = bucket.entry(message, place);
                if let Some(said) = &mut said {
                    said.insert(entry.key.clone());
                }
                sender.send(Watched::Entry(entry)).await.ok()?;
            }
            // What is missing has expired meanwhile.
            Ok(None) => there = 0,
            Err(error) => {
                sender.send(Watched::Gap).await.ok()?;
                return Some(error);
            }
        }
    }
}
