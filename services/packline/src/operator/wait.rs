//! Waiting where a person sees for what.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::bail;

/// What is there sooner needs no word.
const SOON: Duration = Duration::from_secs(1);

/// How long to wait
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Settings {
    /// Send it, and do not wait until it is applied
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Wait no longer than this, for example 30s; what was sent stands all the same
    #[arg(long, value_name = "DURATION", value_parser = packline_service::duration)]
    timeout: Option<Duration>,
}

/// Says on stderr what is waited for, once for each thing.
pub(crate) struct Waiting {
    since: Instant,
    said: Option<String>,
}

impl Waiting {
    fn new() -> Self {
        Self { since: Instant::now(), said: None }
    }

    /// Waits for `work`; asks and says `what` is waited for when it is not there soon.
    pub(crate) async fn wait<T>(&mut self, what: impl Future<Output = String>, work: impl Future<Output = T>) -> T {
        let soon = SOON.saturating_sub(self.since.elapsed());
        tokio::pin!(work);
        if let Ok(done) = tokio::time::timeout(soon, &mut work).await {
            return done;
        }
        let what = tokio::select! {
            biased;
            done = &mut work => return done,
            what = what => what,
        };
        if self.said.as_ref() != Some(&what) {
            eprintln!("waiting: {what}");
            self.said = Some(what);
        }
        work.await
    }
}

impl Settings {
    /// Does `work`, no longer than the settings say.
    pub(crate) async fn bounded<T>(
        &self,
        work: impl AsyncFnOnce(&mut Waiting) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut waiting = Waiting::new();
        let Some(timeout) = self.timeout else { return work(&mut waiting).await };
        let done = tokio::time::timeout(timeout, work(&mut waiting)).await;
        match done {
            Ok(done) => done,
            Err(_) => bail!("not done within {}; what was sent stands", humantime::format_duration(timeout)),
        }
    }
}
