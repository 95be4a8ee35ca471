//! npm of this machine, and the registry that it publishes to.

use std::time::Duration;

use packline_local::{process::command, tools::node};
use packline_npm::{Environment, Settings};
use tokio::process::Command;

use super::Finding;

/// How long npm may take to reach the registry.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks at both.
pub(super) async fn look() -> Vec<Finding> {
    let builds = ["NPM_REGISTRY", "WORKSPACE_ROOT"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !builds {
        let mend = "NPM_REGISTRY or WORKSPACE_ROOT, as a worker has them, make this a machine that builds";
        return vec![Finding::unknown("npm", "not looked at", mend)];
    }
    let node = match node().await {
        Ok(node) => node,
        Err(missing) => {
            let mend = "only workers need it, and those with a recipe of their own may do without";
            return vec![Finding::bad("npm", missing.to_string(), mend)];
        }
    };
    let version = printed(&["--version"]).await.unwrap_or_default();
    vec![Finding::good("npm", format!("npm {version} on Node {}", node.version)), registry().await]
}

async fn registry() -> Finding {
    const ABOUT: &str = "registry";
    let named = std::env::var("NPM_REGISTRY").ok().filter(|url| !url.is_empty());
    let url = match named {
        Some(url) => url,
        // As a worker reads it.
        None => match Settings::read(Environment::of_this_process()) {
            Ok(settings) => settings.registry(None),
            Err(error) => return Finding::bad(ABOUT, error.to_string(), "make it readable for this user"),
        },
    };
    let ping = ["ping", "--registry", &url, "--fetch-retries=0", "--no-update-notifier"];
    match printed(&ping).await {
        Ok(_) => Finding::good(ABOUT, format!("{url} answers")),
        Err(why) => {
            let mend = "NPM_REGISTRY, or npm's own setting, names one that a worker reaches";
            Finding::bad(ABOUT, format!("{url}: {why}"), mend)
        }
    }
}

/// What npm prints, or what it complains of.
async fn printed(arguments: &[&str]) -> Result<String, String> {
    let mut npm = Command::from(command("npm"));
    npm.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let ended = match tokio::time::timeout(PATIENCE, npm.output()).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return Err(format!("npm cannot be started: {error}")),
        Err(_) => return Err(format!("no answer within {}", humantime::format_duration(PATIENCE))),
    };
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
    let mut lines = complaint
        .lines()
        .filter(|line| line.contains("error"))
        .map(|line| line.trim_start_matches("npm").trim_start().trim_start_matches("error").trim().to_owned());
    let first = lines.find(|line| !line.starts_with("code") && !line.is_empty());
    Err(first.unwrap_or_else(|| ended.status.to_string()))
}
