//! Which registry a build installs from and publishes to.

use std::{io, process::Stdio, time::Duration};

use packline_domain::BuildOrder;
use tokio::process::Command;

use crate::{config, phase::Failure, worker::Worker};

/// npm answers at once; a machine on which it does not is in trouble.
const PATIENCE: Duration = Duration::from_secs(60);

/// The worker's own, else the order's, else what npm itself is set to; `None` where there is no npm either.
///
/// # Errors
/// When the one that was named cannot be used, or npm does not say.
pub(crate) async fn of_order(worker: &Worker, order: &BuildOrder) -> Result<Option<String>, Failure> {
    if let Some(registry) = &worker.config.npm_registry {
        return Ok(Some(registry.clone()));
    }
    if let Some(registry) = &order.config.registry {
        return config::registry(registry)
            .map(Some)
            .map_err(|error| Failure::infrastructure(format!("the order's registry cannot be used: {error}")));
    }
    worker.npm_registry.get_or_try_init(of_npm).await.cloned()
}

/// What npm is set to for the user that runs this worker.
async fn of_npm() -> Result<Option<String>, Failure> {
    let asked = Command::new("npm")
        .args(["config", "get", "registry"])
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let failed = |why: String| Failure::infrastructure(format!("failed to ask npm for its registry: {why}"));
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(output)) if output.status.success() => {
            config::registry(String::from_utf8_lossy(&output.stdout).trim()).map(Some).map_err(failed)
        }
        Ok(Ok(output)) => Err(failed(output.status.to_string())),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("it did not answer".to_owned())),
    }
}
