//! Standing by: until the lease is free, or there is nothing to stand by for.

use std::time::Duration;

use packline_broker::{BrokerError, Bucket, Entry, LeaseWatch, Watched};
use packline_domain::record::{CONTROL, Control, Leader};
use packline_service::Shutdown;

/// Between two tries of a read that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Why standing by is over.
pub(crate) enum Vacancy {
    /// Nobody leads: the revision of `leader` to take it at, and its value.
    Free(u64, Option<Leader>),
    /// Asked to stop.
    Stopped,
    /// The line was drained after this process started.
    Drained,
}

/// Waits for one of these.
///
/// # Errors
/// When the bucket cannot be read.
pub(crate) async fn wait(
    bucket: &Bucket,
    me: &str,
    shutdown: &Shutdown,
    started_after: u64,
) -> anyhow::Result<Vacancy> {
    tokio::select! {
        biased;
        () = shutdown.requested() => Ok(Vacancy::Stopped),
        () = drained(bucket, started_after) => Ok(Vacancy::Drained),
        vacant = LeaseWatch::vacant(bucket, me) => {
            let (observed, previous) = vacant?;
            // The leader that drained has left with the lease free: its word may have come first.
            match get_patiently(bucket, CONTROL).await? {
                Some(entry) if is_drained(entry.value.as_deref(), started_after) => Ok(Vacancy::Drained),
                _ => Ok(Vacancy::Free(observed, previous)),
            }
        }
    }
}

/// Reads a key, however long the broker is away.
///
/// # Errors
/// When it may not be read.
pub(crate) async fn get_patiently(bucket: &Bucket, key: &str) -> Result<Option<Entry>, BrokerError> {
    loop {
        match bucket.get(key).await {
            Err(error) if error.is_passing() => {
                tracing::warn!("failed to read {key} of the bucket orchestrator, trying again: {error}");
                tokio::time::sleep(AGAIN).await;
            }
            read => return read,
        }
    }
}

async fn drained(bucket: &Bucket, started_after: u64) {
    let mut watch = bucket.watch(CONTROL);
    loop {
        if let Watched::Entry(entry) = watch.next().await
            && is_drained(entry.value.as_deref(), started_after)
        {
            return;
        }
    }
}

/// Also where the line runs again meanwhile: whoever slept through the drain was meant by it.
fn is_drained(value: Option<&[u8]>, started_after: u64) -> bool {
    value
        .and_then(|value| serde_json::from_slice::<Control>(value).ok())
        .is_some_and(|control| control.drained_commit.is_some_and(|commit| commit > started_after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_drain_means_all_that_started_before_it_also_when_the_line_runs_again() {
        for mode in ["drained", "running", "paused"] {
            let control = json!({"mode": mode, "maxConcurrent": 4, "since": "2026-01-01T00:00:00Z", "complete": true,
                "drainedCommit": 7});
            let value = control.to_string();
            assert!(is_drained(Some(value.as_bytes()), 6), "{mode}");
            assert!(!is_drained(Some(value.as_bytes()), 7), "{mode}: it started after that");
        }
        assert!(!is_drained(None, 0));
    }
}
