//! npm of a version that is pinned by a lock file, with a Node that runs it where that of the machine may not.

use std::{
    env,
    ffi::OsString,
    fs, iter,
    path::{Path, PathBuf},
};

use tokio::sync::OnceCell;

use crate::process::command;

use super::{Missing, aside, keep, last_line, node, output};

/// What is installed.
struct Pin {
    /// The folder of what is kept.
    name: &'static str,
    major: &'static str,
    manifest: &'static str,
    lock: &'static str,
    has_node: bool,
}

const NPM11: Pin = Pin {
    name: "npm11",
    major: "11",
    manifest: include_str!("../../npm11/package.json"),
    lock: include_str!("../../npm11/package-lock.json"),
    has_node: false,
};
const NPM12: Pin = Pin {
    name: "npm12",
    major: "12",
    manifest: include_str!("../../npm12/package.json"),
    lock: include_str!("../../npm12/package-lock.json"),
    has_node: true,
};

/// An installed npm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Npm {
    /// The folder that holds `node_modules`.
    pub home: PathBuf,
}

impl Npm {
    /// The folder of its programs: what to put first on a PATH.
    pub fn programs(&self) -> PathBuf {
        programs(&self.home)
    }

    /// The PATH of this process with [`Npm::programs`] before it.
    ///
    /// # Panics
    /// When the folder cannot be named in a PATH.
    pub fn path(&self) -> OsString {
        path(&self.home)
    }
}

/// npm 11 on the Node of the machine, installed once: 3 MB to fetch, 12 MB on disk.
///
/// # Errors
/// One sentence that says what is missing.
pub async fn npm11() -> Result<Npm, Missing> {
    static FOUND: OnceCell<Npm> = OnceCell::const_new();
    node().await?;
    FOUND.get_or_try_init(|| aside(|| NPM11.find())).await.cloned()
}

/// npm 12 and a Node of its own, installed once: 57 MB to fetch, 140 MB on disk.
///
/// # Errors
/// One sentence that says what is missing.
pub async fn npm12() -> Result<Npm, Missing> {
    static FOUND: OnceCell<Npm> = OnceCell::const_new();
    node().await?;
    FOUND.get_or_try_init(|| aside(|| NPM12.find())).await.cloned()
}

impl Pin {
    fn find(&self) -> Result<Npm, Missing> {
        let kept = keep(self.name, &format!("{}{}", self.manifest, self.lock), |home| self.install(home));
        Ok(Npm { home: kept? })
    }

    fn install(&self, home: &Path) -> Result<(), Missing> {
        let missing = |why: &str| Missing(format!("npm {} cannot be installed: {why}", self.major));
        let unwritten = |error: std::io::Error| missing(&error.to_string());
        for (name, text) in [("package.json", self.manifest), ("package-lock.json", self.lock)] {
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
        if self.has_node && !programs(home).join("node").exists() {
            return Err(missing(&format!("there is no Node for {} {}", env::consts::OS, env::consts::ARCH)));
        }
        let mut version = command("npm");
        version.arg("--version").env("PATH", path(home)).current_dir(home);
        match output(&mut version) {
            Some(ended) if ended.status.success() && ended.stdout.starts_with(self.major.as_bytes()) => Ok(()),
            Some(ended) => Err(missing(&format!("what was fetched does not run: {}", last_line(&ended)))),
            None => Err(missing("what was fetched does not run")),
        }
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
        for pin in [NPM11, NPM12] {
            let lock: serde_json::Value = serde_json::from_str(pin.lock).unwrap();
            let packages = lock["packages"].as_object().unwrap();
            let version = packages["node_modules/npm"]["version"].as_str().unwrap();
            assert_eq!(version.split('.').next(), Some(pin.major));
            let bundled = |package: &serde_json::Value| package.get("inBundle").is_some();
            for (path, package) in packages.iter().filter(|(path, package)| !path.is_empty() && !bundled(package)) {
                assert!(package["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")), "{path}");
                assert!(package.get("resolved").is_none(), "{path}");
            }
        }
    }

    /// The versions of npm and Node that a pinned npm says.
    fn versions(npm: &Npm) -> (String, String) {
        let mut version = command("npm");
        version.args(["version", "--json"]).env("PATH", npm.path()).current_dir(&npm.home);
        let said: serde_json::Value = serde_json::from_slice(&version.output().unwrap().stdout).unwrap();
        (said["npm"].as_str().unwrap().to_owned(), said["node"].as_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn npm_11_runs_with_the_node_of_the_machine() {
        let (npm, _) = versions(&npm11().await.unwrap());
        assert!(npm.starts_with("11."), "{npm}");
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
        let (npm, node) = versions(&npm12);
        assert!(npm.starts_with("12.") && node.starts_with("24."), "{npm} {node}");
    }
}
