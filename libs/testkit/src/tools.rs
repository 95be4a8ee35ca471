//! The programs of others that tests and the demo run: found on this machine, or fetched once by pinned
//! and hashed lists into `target/tools`. A second run needs no network.

mod nats_cli;
mod nats_server;
mod node;
mod python;
mod typescript;
mod verdaccio;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use sha2::{Digest, Sha256};

pub use nats_cli::nats_cli;
pub use nats_server::{OLDEST_NATS_SERVER, nats_server};
pub use node::{Node, OLDEST_NODE, node};
pub use python::{OLDEST_PYTHON, Python, python};
pub use typescript::{TypeScript, typescript};
pub use verdaccio::{Verdaccio, verdaccio};

/// Something that this machine lacks: one sentence that says what, and what would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// The target folder that this program was built into: cargo marks it.
pub(crate) fn target() -> Result<PathBuf, Missing> {
    let program = env::current_exe().map_err(|error| Missing(format!("this program cannot find itself: {error}")))?;
    program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).map(Path::to_owned).ok_or_else(|| {
        Missing(format!("{} is not in cargo's target folder, which keeps the fetched tools", program.display()))
    })
}

/// The folder of one tool, named after the list that pins it: filled by the first who asks, in one step.
/// `fill` is given an empty folder and makes the tool there.
fn keep(tool: &str, list: &str, fill: impl FnOnce(&Path) -> Result<(), Missing>) -> Result<PathBuf, Missing> {
    let digest = hex::encode(Sha256::digest(list.as_bytes()));
    keep_at(&target()?.join("tools"), &format!("{tool}-{}", digest.get(..12).unwrap_or(&digest)), fill)
}

fn keep_at(tools: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<(), Missing>) -> Result<PathBuf, Missing> {
    let home = tools.join(name);
    if home.is_dir() {
        return Ok(home);
    }
    let unable = |error: std::io::Error| Missing(format!("{} cannot be filled: {error}", home.display()));
    fs::create_dir_all(tools).map_err(unable)?;
    let lock = File::create(tools.join(format!("{name}.lock"))).map_err(unable)?;
    lock.lock().map_err(unable)?;
    if home.is_dir() {
        return Ok(home);
    }
    // Whoever was broken off while filling has left a draft, and holds the lock no more.
    let draft = tools.join(format!("{name}.draft"));
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(unable)?;
    }
    fs::create_dir(&draft).map_err(unable)?;
    fill(&draft)?;
    fs::rename(&draft, &home).map_err(unable)?;
    Ok(home)
}

/// Runs a program to its end; `None` where there is no such program.
fn output(command: &mut Command) -> Option<Output> {
    command.stdin(std::process::Stdio::null()).output().ok()
}

/// The last line of what a program complained.
fn last_line(output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    let mut lines = complaint.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    lines.next().map_or_else(|| output.status.to_string(), str::to_owned)
}

/// Runs what takes its time off the runtime's threads.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Missing> + Send + 'static) -> Result<T, Missing> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Missing(format!("fetching a tool was broken off: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn of_many_who_ask_at_once_one_fills() {
        let tools = tempfile::tempdir().unwrap();
        let fills = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let home = keep_at(tools.path(), "tool", |made| {
                        fills.fetch_add(1, Ordering::SeqCst);
                        fs::write(made.join("tool"), "whole").map_err(|error| Missing(error.to_string()))
                    });
                    assert_eq!(fs::read_to_string(home.unwrap().join("tool")).unwrap(), "whole");
                });
            }
        });
        assert_eq!(fills.into_inner(), 1);
    }

    #[test]
    fn a_failed_fill_leaves_nothing_and_may_be_tried_again() {
        let tools = tempfile::tempdir().unwrap();
        let failed = keep_at(tools.path(), "tool", |made| {
            fs::write(made.join("half"), "ha").unwrap();
            Err(Missing("no network".into()))
        });
        assert_eq!(failed, Err(Missing("no network".into())));
        assert!(!tools.path().join("tool").exists());
        let home = keep_at(tools.path(), "tool", |_| Ok(())).unwrap();
        assert!(!home.join("half").exists());
    }
}
