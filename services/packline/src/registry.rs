//! `packline registry`: the npm registry of a line whose parts are containers.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::bail;
use futures::future::{join_all, select_all};
use packline_local::registry::{Address, Beyond, HeldVersions, Registry, RegistryOptions, Source, Told};
use packline_packages_api::scan::scan;
use packline_service::{Shutdown, Unusable, address};

use crate::npmrc::uplinks;

/// How long one Verdaccio may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(10);

/// Which registry, and where
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Folder where it keeps all it has
    #[arg(long)]
    folder: PathBuf,
    /// Address to serve on; whoever reaches it may read and publish
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: SocketAddr,
    /// Workspace whose versions never come from elsewhere; all others come from the registries that npm is set to
    /// there
    #[arg(long, value_name = "DIR")]
    workspace: PathBuf,
    /// The script of Verdaccio that node runs
    #[arg(long, value_name = "FILE")]
    verdaccio: PathBuf,
}

/// Serves until `shutdown` is requested.
///
/// # Errors
/// [`Unusable`] where the workspace or npm's settings are; when it does not start, or ends by itself.
pub(crate) async fn run(settings: &Settings, shutdown: &Shutdown) -> anyhow::Result<()> {
    let found = scan(&settings.workspace).map_err(|error| Unusable(error.to_string()))?;
    let held = HeldVersions::default();
    held.renew(Source::Workspace, found.packages.iter().map(crate::up::named));
    let uplinks = uplinks(&settings.workspace).await?;
    let options = RegistryOptions {
        folder: settings.folder.clone(),
        keep: true,
        address: Address::At(settings.listen),
        beyond: Some(Beyond { uplinks: uplinks.clone(), held }),
        told: Told::Failures,
        script: Some(settings.verdaccio.clone()),
    };
    let registry = tokio::select! {
        registry = Registry::open(&options) => registry?,
        () = shutdown.requested() => return Ok(()),
    };
    for line in registry.damaged() {
        eprintln!("{line}");
    }
    crate::say(&format!(
        "Serving on {}; what {} does not hold comes from {uplinks}.",
        settings.listen,
        settings.workspace.display(),
    ))?;
    let ends = registry.processes().map(|process| Box::pin(async move { (process.name(), process.exited().await) }));
    tokio::select! {
        ((name, status), ..) = select_all(ends) => bail!("the {name} ended ({status}) and should not have"),
        () = shutdown.requested() => {}
    }
    join_all(registry.processes().map(|process| process.stop(STOP))).await;
    Ok(())
}
