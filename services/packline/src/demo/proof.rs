//! The proof of the line: what it published can be installed by anybody, and runs.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, bail};
use packline_local::process::{Process, command};

/// What depends, directly or not, on every other published package.
pub(crate) const PACKAGE: &str = "@demo/banner";

const PROGRAM: &str = "import { banner } from '@demo/banner';
console.log(banner('it-works', 'Four packages, each built and published in its turn, installed together.'));";

/// How long npm may take for four small packages.
const PATIENCE: Duration = Duration::from_secs(60);

/// Installs [`PACKAGE`] into an empty folder below `folder`, runs a program that uses it, and returns what it printed.
pub(crate) async fn install_and_run(registry: &str, folder: &Path) -> anyhow::Result<String> {
    let home = folder.join("try");
    fs::create_dir_all(&home).with_context(|| format!("failed to make {}", home.display()))?;
    fs::write(home.join("package.json"), "{ \"private\": true }\n").context("failed to write package.json")?;
    fs::write(home.join("npmrc"), "").context("failed to write npmrc")?;
    let mut npm = command("npm");
    npm.args(["install", PACKAGE, "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0"]);
    npm.args(["--loglevel=error", "--registry", registry, "--userconfig"]).arg(home.join("npmrc"));
    npm.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    npm.arg("--cache").arg(home.join("cache")).current_dir(&home);
    to_its_end("npm install", npm, &home).await?;
    let mut node = command("node");
    node.args(["--input-type=module", "--eval", PROGRAM]).current_dir(&home);
    to_its_end("node", node, &home).await
}

async fn to_its_end(name: &str, command: std::process::Command, folder: &Path) -> anyhow::Result<String> {
    let log = folder.join(format!("{name}.log"));
    let process = Process::spawn(name, command, &log).with_context(|| format!("failed to start {name}"))?;
    let Ok(status) = tokio::time::timeout(PATIENCE, process.exited()).await else {
        bail!("{name} is not done after {} s: {}", PATIENCE.as_secs(), process.last_lines(3));
    };
    if status.success() { Ok(process.printed()) } else { bail!("{name} fails: {}", process.last_lines(5)) }
}
