//! `packline registry`: the npm registry of a line whose parts are containers.

use std::{net::SocketAddr, os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::Context;
use packline_local::registry::{Told, configuration_of, prepare};
use packline_packages_api::scan::scan;
use packline_service::{Unusable, address};

use crate::npmrc::uplinks;

/// Which registry, and where
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Folder where it keeps all it has
    #[arg(long)]
    folder: PathBuf,
    /// Address to serve on; whoever reaches it may read and publish
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: SocketAddr,
    /// Workspace whose packages are never taken from elsewhere; all others come from the registries that
    /// npm is set to there
    #[arg(long, value_name = "DIR")]
    workspace: PathBuf,
    /// The script of Verdaccio that node runs
    #[arg(long, value_name = "FILE")]
    verdaccio: PathBuf,
}

/// Becomes the registry, and so returns only when it cannot.
///
/// # Errors
/// [`Unusable`] where the workspace or npm's settings are; when node cannot be started.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let found = scan(&settings.workspace).map_err(|error| Unusable(error.to_string()))?;
    let own = found.packages.iter().map(|package| package.name.to_string()).collect();
    let uplinks = uplinks(&settings.workspace, own).await?;
    for line in prepare(&settings.folder, Some(&uplinks), Told::Failures)? {
        eprintln!("{line}");
    }
    crate::say(&format!(
        "Serving on {}; what is not of {} comes from {uplinks}.",
        settings.listen,
        settings.workspace.display(),
    ))?;
    let mut node = Command::new("node");
    node.arg(&settings.verdaccio).arg("--config").arg(configuration_of(&settings.folder));
    node.args(["--listen", &format!("http://{}", settings.listen)]);
    let error = node.current_dir(&settings.folder).env("NODE_ENV", "production").exec();
    Err(error).context("failed to start node")
}
