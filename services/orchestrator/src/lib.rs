//! The queue: one leader decides, commits and hands out builds; the others stand by.
//!
//! [`run`] is the way in. A leader is a [`driver`] that turns what reaches it ([`intake`]) into commits and
//! sends out what they imply ([`effects`]); how it starts stands in [`recover`], how long it may lead in
//! [`leader`].

mod alarm;
mod batch;
mod clearing;
mod clock;
mod commit;
mod config;
mod driver;
mod effects;
mod housekeeping;
mod inputs;
mod intake;
mod leader;
mod liveness;
mod metrics;
mod pace;
mod questions;
mod recover;
mod stall;
mod standby;
mod takeover;
mod workers;

use std::time::Duration;

pub use config::Config;
use packline_broker::{Broker, BrokerError, BucketName, ConnectError};
use packline_domain::record::{LEADER, Leader};
use packline_service::{Health, Shutdown, Unusable, metric};

use crate::{driver::Ended, standby::Vacancy};

/// A leader turns at least every third of LEASE; so many times LEASE without a turn is no life.
const LIFELESS: u32 = 10;

/// Runs an orchestrator until it is asked to stop, or the line is drained.
///
/// # Errors
/// When the broker cannot be used, or a record of the bucket cannot be read.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let me = identity();
    let health = Health::start(&config.health, config.lease * LIFELESS, &shutdown).await?;
    metrics::stand_by();
    let name = format!("orchestrator {me}");
    let connecting = health.waiting(Broker::connect(&config.nats, &name));
    let Some(broker) = until_stopped(&shutdown, connecting).await else { return Ok(()) };
    let broker = broker.map_err(|error| match error {
        ConnectError::Settings(line) => anyhow::Error::new(Unusable(line)),
        error @ (ConnectError::TooOld { .. } | ConnectError::Denied { .. } | ConnectError::Unreachable { .. }) => {
            error.into()
        }
    })?;
    watch_connection(&health, &broker);
    let Some(ensured) = until_stopped(&shutdown, health.waiting(broker.ensure_topology())).await else { return Ok(()) };
    ensured?;
    let bucket = broker.bucket(BucketName::Orchestrator);
    // A drain by a commit after this one is meant for this process; one before it is over.
    let reading = health.waiting(standby::get_patiently(&bucket, LEADER));
    let Some(leader) = until_stopped(&shutdown, reading).await else { return Ok(()) };
    let started_after = match leader?.and_then(|entry| entry.value) {
        Some(value) => serde_json::from_slice::<Leader>(&value)?.commit,
        None => 0,
    };
    let mut poison = None;
    loop {
        health.ready_when(connected(&broker));
        let (observed, previous) = match health.waiting(standby::wait(&bucket, &me, &shutdown, started_after)).await? {
            Vacancy::Free(observed, previous) => (observed, previous),
            Vacancy::Stopped => return Ok(()),
            Vacancy::Drained => {
                tracing::info!("drained; leaving");
                return Ok(());
            }
        };
        health.ready_when(|| Err("it is taking over".into()));
        let taking = takeover::take(&broker, &config, &me, &shutdown, observed, previous, poison);
        let Some(taken) = until_stopped(&shutdown, health.waiting(taking)).await else { return Ok(()) };
        let ended = match taken {
            Ok(Some(driver)) => {
                poison = None;
                let (connected, lease) = (connected(&broker), driver.leadership.lease.clone());
                health.ready_when(move || {
                    connected()?;
                    let late = || format!("its lease was last confirmed {} s ago", lease.age().as_secs());
                    if lease.is_valid() { Ok(()) } else { Err(late()) }
                });
                driver.lead(&health).await
            }
            Ok(None) => continue,
            Err(error) => Ended::Failed(error),
        };
        match ended {
            Ended::Deposed => tracing::warn!("another orchestrator leads now; standing by"),
            Ended::Reload(input) => {
                tracing::warn!("reading the bucket again");
                poison = input;
                // Whatever the cause, it must not become a busy loop.
                let _ = until_stopped(&shutdown, tokio::time::sleep(Duration::from_millis(500))).await;
            }
            Ended::Stopped => {
                tracing::info!("stopped");
                return Ok(());
            }
            Ended::Drained => {
                tracing::info!("drained; leaving");
                return Ok(());
            }
            Ended::Failed(error) if is_passing(&error) => tracing::warn!("leads no longer: {error:#}"),
            Ended::Failed(error) => return Err(error),
        }
    }
}

/// What waits for a broker that is away is alive, and what the broker knows is shown.
fn watch_connection(health: &Health, broker: &Broker) {
    let away = broker.clone();
    health.excuse_while(move || !away.is_connected());
    let broker = broker.clone();
    health.refresh_with(move || metric::set_broker(broker.is_connected(), broker.dead_letters()));
}

fn connected(broker: &Broker) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
    let broker = broker.clone();
    move || if broker.is_connected() { Ok(()) } else { Err("it is not connected to the broker".into()) }
}

/// Whether the broker was only out of reach: then standing by is right, and dying is not.
fn is_passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<BrokerError>().is_some_and(BrokerError::is_passing)
}

async fn until_stopped<T>(shutdown: &Shutdown, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = shutdown.requested() => None,
    }
}

/// `<host>-<random>`, legal as a token of a subject.
fn identity() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    format!("{host}-{:08x}", fastrand::u32(..))
}
