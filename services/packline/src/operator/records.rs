//! Keys of a bucket, followed while somebody waits for them.

use std::collections::BTreeMap;

use anyhow::Context;
use packline_broker::{Broker, BucketName, Watch, Watched};
use serde::de::DeserializeOwned;

/// The values of the keys that match a filter, as they are now.
pub(crate) struct Records<T> {
    watch: Watch,
    /// What is known, complete after the first [`Self::changed`]; after a gap what was known before.
    pub(crate) values: BTreeMap<String, T>,
    /// What is read anew, until it is complete.
    anew: Option<BTreeMap<String, T>>,
}

impl<T: DeserializeOwned> Records<T> {
    /// Begins to follow.
    pub(crate) fn follow(broker: &Broker, bucket: BucketName, filter: &str) -> Self {
        Self { watch: broker.bucket(bucket).watch(filter), values: BTreeMap::new(), anew: Some(BTreeMap::new()) }
    }

    /// Returns when something has changed, for the first time when all is known. Cancellation safe.
    pub(crate) async fn changed(&mut self) -> anyhow::Result<()> {
        loop {
            match self.watch.next().await {
                Watched::Entry(entry) => {
                    let values = self.anew.as_mut().unwrap_or(&mut self.values);
                    match entry.value {
                        Some(value) => {
                            let value = serde_json::from_slice(&value)
                                .with_context(|| format!("the record {} is not understood", entry.key))?;
                            values.insert(entry.key, value);
                        }
                        None => drop(values.remove(&entry.key)),
                    }
                }
                Watched::Gap => self.anew = Some(BTreeMap::new()),
                Watched::Complete => {
                    if let Some(values) = self.anew.take() {
                        self.values = values;
                    }
                }
            }
            if self.anew.is_none() {
                return Ok(());
            }
        }
    }
}
