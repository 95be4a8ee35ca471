//! npm 12 and a Node that runs it, installed from a lock file.

use std::{
    env,
    ffi::OsString,
    fs, iter,
    path::{Path, PathBuf},
};

use tokio::sync::OnceCell;

use crate::process::command;

use super::{Missing, aside, keep, last_line, node, output};

const MANIFEST: &str = include_str!("../../npm12/package.json");
const LOCK: &str = include_str!("../../npm12/package-lock.json");

/// An installed npm 12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Npm12 {
    /// The folder that holds `node_modules`.
    pub home: PathBuf,
}

impl Npm12 {
    /// The folder of its `npm` and its `node`: what to put first on a PATH.
    pub fn programs(&self) -> PathBuf {
        programs(&self.home)
    }

    /// The PATH of this process with [`Npm12::programs`] before it.
    ///
    /// # Panics
    /// When the folder cannot be named in a PATH.
    pub fn path(&self) -> OsString {
        path(&self.home)
    }
}

/// npm 12, installed once: 57 MB to fetch, 140 MB on disk.
///
/// # Errors
/// One sentence that says what is missing.
pub async fn npm12() -> Result<Npm12, Missing> {
    static FOUND: OnceCell<Npm12> = OnceCell::const_new();
    node().await?;
    FOUND.get_or_try_init(|| aside(find)).await.cloned()
}

fn find() -> Result<Npm12, Missing> {
    Ok(Npm12 { home: keep("npm12", &format!("{MANIFEST}{LOCK}"), install)? })
}

fn install(home: &Path) -> Result<(), Missing> {
    let missing = |why: &str| Missing(format!("npm 12 cannot be installed: {why}"));
    let unwritten = |error: std::io::Error| missing(&error.to_string());
    for (name, text) in [("package.json", MANIFEST), ("package-lock.json", LOCK)] {
        fs::write(home.join(name), text).map_err(unwritten)?;
    }
    let mut install = command("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]);
    let ended = output(install.current_dir(home)).ok_or_else(|| missing("npm does not run"))?;
    if !ended.status.success() {
        // The last line of npm names a log file.
        let complaint = String::from_utf8_lossy(&ended.stderr);
        return Err(missing(&format!("npm says `{}`", complaint.lines().next().unwrap_or("nothing").trim())));
    }
    for package in fs::read_dir(home.join("node_modules")).map_err(unwritten)?.flatten() {
        // The headers of Node are a third of all, and nothing is compiled with them.
        let headers = package.path().join("include");
        if headers.is_dir() {
            fs::remove_dir_all(headers).map_err(unwritten)?;
        }
    }
    if !programs(home).join("node").exists() {
        return Err(missing(&format!("there is no Node for {} {}", env::consts::OS, env::consts::ARCH)));
    }
    let mut version = command("npm");
    version.arg("--version").env("PATH", path(home)).current_dir(home);
    match output(&mut version) {
        Some(ended) if ended.status.success() && ended.stdout.starts_with(b"12.") => Ok(()),
        Some(ended) => Err(missing(&format!("what was fetched does not run: {}", last_line(&ended)))),
        None => Err(missing("what was fetched does not run")),
    }
}

fn programs(home: &Path) -> PathBuf {
    home.join("node_modules/.bin")
}

fn path(home: &Path) -> OsString {
    let rest = env::var_os("PATH").unwrap_or_default();
    env::join_paths(iter::once(programs(home)).chain(env::split_paths(&rest))).expect("a folder without a colon")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npm_and_each_node_are_pinned_by_their_hash_and_by_no_host() {
        let lock: serde_json::Value = serde_json::from_str(LOCK).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages["node_modules/npm"]["version"].as_str().unwrap().starts_with("12."));
        let fetched = |entry: &&(&String, &serde_json::Value)| !entry.0.is_empty() && entry.1.get("inBundle").is_none();
        for (path, package) in packages.iter().collect::<Vec<_>>().iter().filter(fetched) {
            assert!(package["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")), "{path}");
            assert!(package.get("resolved").is_none(), "{path}");
        }
    }

    #[tokio::test]
    async fn npm_12_runs_with_its_own_node_or_is_missing_in_one_sentence() {
        let npm12 = match npm12().await {
            Ok(npm12) => npm12,
            Err(missing) => {
                assert!(missing.0.starts_with("npm 12 cannot be installed: "), "{missing}");
                return;
            }
        };
        let mut npm = command("npm");
        npm.args(["version", "--json"]).env("PATH", npm12.path()).current_dir(&npm12.home);
        let versions: serde_json::Value = serde_json::from_slice(&npm.output().unwrap().stdout).unwrap();
        let (npm, node) = (versions["npm"].as_str().unwrap(), versions["node"].as_str().unwrap());
        assert!(npm.starts_with("12.") && node.starts_with("24."), "{npm} {node}");
    }
}
