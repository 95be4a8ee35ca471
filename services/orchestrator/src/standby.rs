//! Standing by: until the lease is free, or there is nothing to stand by for.

use packline_broker::{Bucket, LeaseWatch, Watched};
use packline_domain::{
    Mode,
    record::{CONTROL, Control, Leader},
};
use packline_service::Shutdown;

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
            match bucket.get(CONTROL).await? {
                Some(entry) if is_drained(entry.value.as_deref(), started_after) => Ok(Vacancy::Drained),
                _ => Ok(Vacancy::Free(observed, previous)),
            }
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

fn is_drained(value: Option<&[u8]>, started_after: u64) -> bool {
    value.and_then(|value| serde_json::from_slice::<Control>(value).ok()).is_some_and(|control| {
        control.mode == Mode::Drained && control.drained_commit.is_some_and(|commit| commit > started_after)
    })
}
