//! A small real catalogue for those who have none: an MCP server over SQLite.
//!
//! `packages-api` speaks MCP on stdin and stdout; with `--http 127.0.0.1:8080` over streamable HTTP, with a
//! page for people beside; `packages-api scan DIR` fills its database from a workspace. Any number of
//! processes may open the same database.

mod answer;
pub mod config;
mod door;
mod http;
pub mod order;
mod page;
mod resources;
pub mod scan;
pub mod store;
pub mod tools;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use metrics::gauge;
use packline_service::{Health, Shutdown, Unusable, lines::as_npm_reads_them, metric};
use rmcp::ServiceExt;

use crate::{
    config::{Command, Config},
    store::{Status, Store},
    tools::Catalogue,
};

/// The main task is polled every second; so long without that is no life.
const LIFELESS: Duration = Duration::from_secs(30);

/// Serves or scans, as the settings say, until done or asked to stop.
///
/// # Errors
/// When the database cannot be opened, the folder is no workspace, or the peer does not speak MCP.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = Store::open(&config.database)
        .map_err(|error| Unusable(format!("failed to open the database {}: {error}", config.database.display())))?;
    match config.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let store = Arc::new(store);
            let health = Health::start(&config.health, LIFELESS, &shutdown).await?;
            tell(&health, &store);
            match config.http.address {
                Some(address) => health.waiting(http::serve(store, &config.http, address, shutdown)).await,
                None => health.waiting(serve(store, shutdown)).await,
            }
        }
        Command::Scan { dir } => scan(&store, &dir),
    }
}

/// It is ready while its database answers.
fn tell(health: &Health, store: &Arc<Store>) {
    let (asked, shown) = (Arc::clone(store), Arc::clone(store));
    health.ready_when(move || asked.counts().map(|_| ()).map_err(|error| error.to_string()));
    health.refresh_with(move || {
        if let Ok(counts) = shown.counts() {
            for status in Status::ALL {
                gauge!(metric::CATALOGUE, "status" => status.as_str()).set(f64::from(counts.of(status)));
            }
        }
    });
}

async fn serve(store: Arc<Store>, shutdown: Shutdown) -> anyhow::Result<()> {
    let catalogue = Catalogue::new(store);
    let (input, output) = rmcp::transport::stdio();
    let session = tokio::select! {
        session = catalogue.serve((as_npm_reads_them(input), output)) => session.context("failed to begin the MCP session")?,
        () = shutdown.requested() => return Ok(()),
    };
    let stop = session.cancellation_token();
    let ended = session.waiting();
    tokio::pin!(ended);
    tokio::select! {
        reason = &mut ended => { reason.context("the MCP session broke off")?; }
        () = shutdown.requested() => {
            stop.cancel();
            ended.await.context("the MCP session broke off")?;
        }
    }
    Ok(())
}

fn scan(store: &Store, dir: &std::path::Path) -> anyhow::Result<()> {
    let found = scan::scan(dir).map_err(|error| Unusable(error.to_string()))?;
    for note in &found.notes {
        tracing::warn!("{note}");
    }
    let counts = store.merge(&found.packages).context("failed to write what was found")?;
    tracing::info!(
        "found {} packages in {}: {} new, {} changed, {} as before",
        found.packages.len(),
        dir.display(),
        counts.new,
        counts.changed,
        counts.same
    );
    Ok(())
}
