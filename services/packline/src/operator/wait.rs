//! Waiting where a person sees for what.

use std::{
    future::Future,
    io::{Write, stderr},
    time::{Duration, Instant},
};

use anyhow::bail;
use packline_broker::{Broker, topology::STATE};

use super::{ask::ask, shown::plain};

/// What is there sooner needs no word.
const SOON: Duration = Duration::from_secs(1);
/// How often is asked what is waited for.
const AGAIN: Duration = Duration::from_secs(5);

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

    /// Waits for `work`; when it is not there soon, asks now and then what is waited for, and says it when that
    /// is something else.
    pub(crate) async fn wait<T>(&mut self, what: impl AsyncFn() -> String, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut next = SOON.saturating_sub(self.since.elapsed());
        loop {
            if let Ok(done) = tokio::time::timeout(next, &mut work).await {
                return done;
            }
            let what = tokio::select! {
                biased;
                done = &mut work => return done,
                what = what() => what,
            };
            if self.said.as_ref() != Some(&what) {
                aside(&format!("waiting: {what}"));
                self.said = Some(what);
            }
            next = AGAIN;
        }
    }
}

/// Says something beside what was asked for; whoever does not read it gets the rest all the same.
pub(crate) fn aside(text: &str) {
    let _ = writeln!(stderr(), "{}", plain(text));
}

/// For whom a command or an announcement waits that is not applied.
pub(crate) async fn leader_of(broker: &Broker) -> String {
    match ask(broker, STATE, &()).await {
        Ok(state) => {
            let leader = state.get("leader").and_then(|leader| leader.as_str()).unwrap_or("the leader").to_owned();
            format!("{leader} works off what came before")
        }
        Err(error) => format!("{error}; what was sent is stored, and applied by the next that leads"),
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
