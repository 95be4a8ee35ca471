//! Asks the catalogue over MCP what is to be built, announces it on `packages.new`, and brings what
//! `packages.status` says back to the catalogue. Of any number of pollers one is active.

pub mod announce;
mod call;
pub mod catalogue;
mod child;
mod clock;
mod commands;
pub mod config;
pub mod cron;
mod failures;
mod http;
mod intake;
mod lease;
mod metrics;
mod poll;
mod refusal;
pub mod report;
mod reporter;
pub mod schedule;
pub mod session;
mod trouble;
mod zoned;

use std::time::Duration;

use anyhow::Context;
use packline_broker::{Broker, BucketName, CommitError, ConnectError, LeaseWatch};
use packline_service::{Health, Shutdown, Unusable};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    catalogue::Catalogue,
    config::Config,
    lease::{Keeper, Lease},
    poll::Polls,
    reporter::Reporter,
    schedule::Schedule,
};

/// How long a poller that is asked to stop may take over what it has begun.
const GRACE: Duration = Duration::from_secs(15);
/// An active poller rewrites its lease every two seconds; so long without that is no life.
const LIFELESS: Duration = Duration::from_secs(60);
/// How long it may take to say that it is not active any more.
const FAREWELL: Duration = Duration::from_secs(5);

/// Stands by until no poller is active, then polls and reports until asked to stop.
///
/// # Errors
/// When the settings are unusable, or the broker is too old or lacks what Packline needs.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let catalogue = Catalogue::new(&config)?;
    let schedule = config.schedule()?;
    if let Schedule::Cron(cron) = &schedule
        && let Some(warning) = cron.warning()
    {
        tracing::warn!("{warning}");
    }
    let health = Health::start(&config.health, LIFELESS, &shutdown).await?;
    tokio::select! {
        ended = stand_by_and_work(&config, catalogue, schedule, &health, &shutdown) => ended,
        () = given_up(&shutdown) => Ok(()),
    }
}

/// Returns when asked to stop and still not stopped: nothing is lost by leaving now.
async fn given_up(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(GRACE).await;
    tracing::warn!("stopped without waiting any longer for the broker and the catalogue");
}

async fn stand_by_and_work(
    config: &Config,
    catalogue: Catalogue,
    schedule: Schedule,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let me = identity();
    let ready = async {
        let broker = Broker::connect(&config.nats, &format!("poller {me}")).await.map_err(|error| match error {
            ConnectError::Settings(line) => anyhow::Error::new(Unusable(line)),
            error @ (ConnectError::TooOld { .. } | ConnectError::Denied { .. } | ConnectError::Unreachable { .. }) => {
                error.into()
            }
        })?;
        broker.await_topology().await?;
        anyhow::Ok(broker)
    };
    let broker = tokio::select! {
        broker = health.waiting(ready) => broker?,
        () = shutdown.requested() => return Ok(()),
    };
    let bucket = broker.bucket(BucketName::Poller);
    let _following = metrics::follow(health, &broker);
    loop {
        let vacant = tokio::select! {
            vacant = health.waiting(LeaseWatch::vacant(&bucket, &me)) => vacant.context("failed to see which poller is active")?,
            () = shutdown.requested() => return Ok(()),
        };
        let (keeper, lease) = match health.waiting(Keeper::take(&bucket, vacant, &me)).await {
            Ok(taken) => taken,
            Err(CommitError::Deposed) => continue,
            Err(error) => return Err(error).context("failed to become the active poller"),
        };
        tracing::info!("{me} is the active poller");
        let _active = metrics::Active::begin(keeper.term());
        match work(config, (&catalogue, &schedule), &broker, keeper, lease, health, shutdown).await {
            Err(error) if is_deposed(&error) => tracing::warn!("{me} is not active any more: another poller is"),
            ended => return ended,
        }
    }
}

/// One term: keeps the lease, reports and polls, until asked to stop.
async fn work(
    config: &Config,
    (catalogue, schedule): (&Catalogue, &Schedule),
    broker: &Broker,
    keeper: Keeper,
    lease: Lease,
    health: &Health,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let through = keeper.revision();
    let keeping = keeper.keep(health);
    tokio::pin!(keeping);
    let working = async {
        let (questions, asked) = mpsc::channel(1);
        let manner = (config.patience, config.report_progress);
        let reporter = Reporter::load(broker.clone(), catalogue.clone(), lease.clone(), through, manner).await?;
        let polls = Polls::new(broker.clone(), catalogue.clone(), lease, schedule.clone(), questions);
        tokio::try_join!(reporter.run(asked, shutdown.clone()), polls.run(shutdown.clone()))?;
        anyhow::Ok(())
    };
    tokio::select! {
        ended = &mut keeping => {
            ended?;
            anyhow::bail!("the lease ended before the work");
        }
        worked = working => worked?,
    }
    // the work is over and its share in the lease dropped, so the keeper gives it up
    match timeout(FAREWELL, keeping).await {
        Ok(Ok(())) => tracing::info!("stopped; the next poller may take over at once"),
        Ok(Err(CommitError::Deposed)) | Err(_) => {}
        Ok(Err(error)) => return Err(error.into()),
    }
    Ok(())
}

fn is_deposed(error: &anyhow::Error) -> bool {
    error.is::<lease::Deposed>() || matches!(error.downcast_ref(), Some(CommitError::Deposed))
}

/// `<host>-<random>`: one for each process.
fn identity() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_default();
    let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    format!("{}-{:08x}", if host.is_empty() { "poller" } else { &host }, fastrand::u32(..))
}
