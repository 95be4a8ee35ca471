//! `packline poll`: the catalogue is asked now.

use packline_broker::{Broker, BucketName};
use packline_domain::{
    Command,
    record::{LAST, LEADER, LastPoll},
};
use serde::Deserialize;

use super::{command, control::Common, records::Records, shown::counted, wait::Waiting};

/// Who asks, and how long to wait
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    common: Common,
}

/// Who polls, as the bucket `poller` says it.
#[derive(Deserialize)]
struct Active {
    holder: Option<String>,
}

/// Asks, and waits for the poll.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let common = &settings.common;
    let broker = common.connection.open().await?;
    let sent = command::send(&broker, &Command::Poll, &common.origin()).await?;
    if common.wait.no_wait {
        return sent.told();
    }
    let last = common.wait.bounded(async |waiting| polled(&broker, sent.sequence, waiting).await).await?;
    match last.error {
        None => crate::say(&format!("polled: the catalogue has {} to build", counted(last.packages, "package"))),
        Some(error) => anyhow::bail!("the poll failed: {error}"),
    }
}

async fn polled(broker: &Broker, sequence: u64, waiting: &mut Waiting) -> anyhow::Result<LastPoll> {
    let mut last = Records::<LastPoll>::follow(broker, BucketName::Poller, LAST);
    loop {
        waiting.wait(async || poller_of(broker).await, last.changed()).await?;
        if let Some(last) = last.values.get(LAST).filter(|last| last.command >= sequence) {
            return Ok(last.clone());
        }
    }
}

async fn poller_of(broker: &Broker) -> String {
    let leader = broker.bucket(BucketName::Poller).get(LEADER).await;
    let active = leader.ok().flatten().and_then(|entry| serde_json::from_slice::<Active>(&entry.value?).ok());
    match active.and_then(|active| active.holder) {
        Some(holder) => format!("{holder}, the last active poller, to ask the catalogue"),
        None => "no poller runs; the command is stored, and the next one that starts asks".into(),
    }
}
