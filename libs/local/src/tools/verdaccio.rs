//! Verdaccio, an npm registry, installed from a lock file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::sync::OnceCell;

use crate::process::command;

use super::{Missing, aside, keep, last_line, node, output};

const MANIFEST: &str = include_str!("../../verdaccio/package.json");
const LOCK: &str = include_str!("../../verdaccio/package-lock.json");

/// An installed Verdaccio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdaccio {
    /// The script that `node` runs.
    pub script: PathBuf,
}

/// The registry, installed once.
///
/// # Errors
/// One sentence that says what is missing.
pub async fn verdaccio() -> Result<Verdaccio, Missing> {
    static FOUND: OnceCell<Verdaccio> = OnceCell::const_new();
    node().await?;
    FOUND.get_or_try_init(|| aside(find)).await.cloned()
}

fn find() -> Result<Verdaccio, Missing> {
    let home = keep("verdaccio", &format!("{MANIFEST}{LOCK}"), install)?;
    Ok(Verdaccio { script: home.join("node_modules/verdaccio/bin/verdaccio") })
}

fn install(home: &Path) -> Result<(), Missing> {
    let missing = |why: &str| Missing(format!("the npm registry Verdaccio cannot be installed: {why}"));
    for (name, text) in [("package.json", MANIFEST), ("package-lock.json", LOCK)] {
        fs::write(home.join(name), text).map_err(|error| missing(&error.to_string()))?;
    }
    let mut install = command("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]);
    let ended = output(install.current_dir(home)).ok_or_else(|| missing("npm does not run"))?;
    if ended.status.success() { Ok(()) } else { Err(missing(&format!("npm says `{}`", last_line(&ended)))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_the_registry_is_pinned_by_its_hash_and_by_no_host() {
        let lock: serde_json::Value = serde_json::from_str(LOCK).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() > 100);
        for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
            assert!(package["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")), "{path}");
            assert!(package.get("resolved").is_none(), "{path}");
        }
        assert_eq!(packages["node_modules/node-fetch"]["version"], "2.7.0");
    }
}
