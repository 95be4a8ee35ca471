//! The programs of others that a line needs: found on this machine, or fetched once by pinned and hashed
//! lists. A second run needs no network.

mod nats_server;
mod node;
mod verdaccio;
pub mod wheel;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use sha2::{Digest, Sha256};

pub use nats_server::{OLDEST_NATS_SERVER, nats_server};
pub use node::{Node, OLDEST_NODE, node};
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

/// The target folder that this program was built into, where it still is there. Cargo tags a folder that it created;
/// in one that was there before, only its notes on rustc tell.
pub(crate) fn target() -> Option<PathBuf> {
    target_of(&env::current_exe().ok()?)
}

fn target_of(program: &Path) -> Option<PathBuf> {
    let is_marked =
        |folder: &&Path| [".rustc_info.json", "CACHEDIR.TAG"].iter().any(|mark| folder.join(mark).is_file());
    program.ancestors().find(is_marked).map(Path::to_owned)
}

/// Where fetched tools are kept: `target/tools` of a checkout, else the cache of the person who runs this.
fn home() -> Result<PathBuf, Missing> {
    if let Some(target) = target() {
        return Ok(target.join("tools"));
    }
    cache().map(|cache| cache.join("tools")).ok_or_else(|| {
        Missing("neither XDG_CACHE_HOME nor HOME is set, so there is no folder to keep fetched tools in".into())
    })
}

/// The cache of the person who runs this: `$XDG_CACHE_HOME/packline`, else `~/.cache/packline`.
pub fn cache() -> Option<PathBuf> {
    let named = |variable| env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("packline"))
}

/// The folder of one tool, named after the list that pins it: filled by the first who asks, in one step.
/// `fill` is given an empty folder and makes the tool there.
///
/// # Errors
/// What `fill` says, or that the folder cannot be made.
pub fn keep(tool: &str, list: &str, fill: impl FnOnce(&Path) -> Result<(), Missing>) -> Result<PathBuf, Missing> {
    let digest = hex::encode(Sha256::digest(list.as_bytes()));
    keep_at(&home()?, &format!("{tool}-{}", digest.get(..12).unwrap_or(&digest)), fill)
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
pub fn output(command: &mut Command) -> Option<Output> {
    command.stdin(std::process::Stdio::null()).output().ok()
}

/// The last line of what a program complained.
pub fn last_line(output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    let mut lines = complaint.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    lines.next().map_or_else(|| output.status.to_string(), str::to_owned)
}

/// Runs what takes its time off the runtime's threads.
///
/// # Errors
/// Those of `work`, or that it was broken off.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Missing> + Send + 'static,
) -> Result<T, Missing> {
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
    fn the_target_folder_is_found_whoever_created_it() {
        for mark in [".rustc_info.json", "CACHEDIR.TAG"] {
            let folder = tempfile::tempdir().unwrap();
            let program = folder.path().join("target/debug/deps/program");
            assert_eq!(target_of(&program), None);
            fs::create_dir(folder.path().join("target")).unwrap();
            fs::write(folder.path().join("target").join(mark), "").unwrap();
            assert_eq!(target_of(&program), Some(folder.path().join("target")), "{mark}");
        }
    }

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
