//! Keys of a bucket, followed while somebody waits for them.

use std::collections::BTreeMap;

use anyhow::Context;
use packline_broker::{Broker, BucketName, Watch, Watched};
use serde::de::DeserializeOwned;

/// The values of the keys that match a filter, as they are now.
pub(crate) struct Records<T> {
    watch: Watch,
    /// What is known, complete after the first [`Self::changed`].
    pub(crate) values: BTreeMap<String, T>,
    complete: bool,
}

impl<T: DeserializeOwned> Records<T> {
    /// Begins to follow.
    pub(crate) fn follow(broker: &Broker, bucket: BucketName, filter: &str) -> Self {
        Self { watch: broker.bucket(bucket).watch(filter), values: BTreeMap::new(), complete: false }
    }

    /// Returns when something has changed, for the first time when all is known. Cancellation safe.
    pub(crate) async fn changed(&mut self) -> anyhow::Result<()> {
        loop {
            match self.watch.next().await {
                Watched::Entry(entry) => match entry.value {
                    Some(value) => {
                        let value = serde_json::from_slice(&value)
                            .with_context(|| format!("the record {} is not understood", entry.key))?;
                        self.values.insert(entry.key, value);
                    }
                    None => drop(self.values.remove(&entry.key)),
                },
                Watched::Gap => {
                    self.values.clear();
                    self.complete = false;
                }
                Watched::Complete => self.complete = true,
            }
            if self.complete {
                return Ok(());
            }
        }
    }
}
