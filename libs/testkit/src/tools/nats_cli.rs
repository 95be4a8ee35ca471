//! `nats`, the command-line tool of NATS: from the PATH, from Go's folder, else built by Go.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use semver::Version;
use tokio::sync::OnceCell;

use crate::process::command;

use super::{Missing, aside, keep, last_line, output};

/// What Go builds; Go checks it against its checksum database.
const MODULE: &str = "github.com/nats-io/natscli/nats@v0.5.0";

/// The oldest tool that takes the commands that the README shows.
const OLDEST: Version = Version::new(0, 2, 0);

/// The `nats` tool; `None` where there is neither one that is new enough nor a Go to build it.
///
/// # Errors
/// One sentence that says why Go cannot build it.
pub async fn nats_cli() -> Result<Option<PathBuf>, Missing> {
    static FOUND: OnceCell<Option<PathBuf>> = OnceCell::const_new();
    FOUND.get_or_try_init(|| aside(find)).await.cloned()
}

fn find() -> Result<Option<PathBuf>, Missing> {
    let gopath = go(&["env", "GOPATH"]);
    let folders = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let folders = folders.into_iter().chain(gopath.iter().flat_map(env::split_paths).map(|path| path.join("bin")));
    let mut programs = folders.map(|folder| folder.join("nats"));
    match programs.find(|program| says(program).as_deref().is_some_and(new_enough)) {
        Some(program) => Ok(Some(program)),
        None if gopath.is_some() => Ok(Some(keep("nats", MODULE, build)?.join("nats"))),
        None => Ok(None),
    }
}

fn go(arguments: &[&str]) -> Option<String> {
    let ended = output(command("go").args(arguments))?;
    ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}

fn says(program: &Path) -> Option<String> {
    let ended = output(Command::new(program).arg("--version"))?;
    let text = if ended.stdout.is_empty() { ended.stderr } else { ended.stdout };
    ended.status.success().then(|| String::from_utf8_lossy(&text).trim().to_owned())
}

/// A released tool says its version, one that Go has built may say `development`.
fn new_enough(says: &str) -> bool {
    match Version::parse(says.trim_start_matches('v')) {
        Ok(version) => version >= OLDEST,
        Err(_) => says == "development",
    }
}

fn build(home: &Path) -> Result<(), Missing> {
    let missing = |why: &str| Missing(format!("the tool `nats` is not on the PATH, and Go cannot build it: {why}"));
    let mut install = command("go");
    install.args(["install", MODULE]).current_dir(home).env("GOBIN", home).env("CGO_ENABLED", "0");
    let ended = output(&mut install).ok_or_else(|| missing("go does not run"))?;
    if ended.status.success() { Ok(()) } else { Err(missing(&format!("go says `{}`", last_line(&ended)))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_too_old_is_not_used() {
        assert!(new_enough("v0.5.0") && new_enough("0.2.4") && new_enough("development"));
        assert!(!new_enough("v0.1.6") && !new_enough("nats, but no number"));
    }

    #[tokio::test]
    async fn the_tool_is_found_or_built_where_there_is_go() {
        match nats_cli().await.unwrap() {
            Some(program) => assert!(new_enough(&says(&program).unwrap())),
            None => assert_eq!(go(&["version"]), None),
        }
    }
}
