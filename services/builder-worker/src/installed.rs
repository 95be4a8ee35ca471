//! Programs of npm packages that this machine has on its PATH.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use packline_versions::Offer;
use semver::Version;
use serde_json::Value;

/// The first program of this name in the folders of `path`.
pub(crate) fn on_path(program: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(program)).find(|program| program.is_file())
}

/// The version of the package that a program is of, and the Node that it runs on. `None` where it is of another package,
/// such as a shim.
pub(crate) fn version_of(program: &Path, package: &str) -> Option<Offer> {
    // PACKAGE/bin/PROGRAM, or a link to it.
    let program = program.canonicalize().ok()?;
    let manifest: Value =
        serde_json::from_slice(&fs::read(program.parent()?.parent()?.join("package.json")).ok()?).ok()?;
    let version = manifest.get("version").filter(|_| manifest.get("name").is_some_and(|name| name == package))?;
    let node = manifest.get("engines").and_then(|engines| engines.get("node")).and_then(Value::as_str);
    Some(Offer { version: Version::parse(version.as_str()?).ok()?, node: node.map(str::to_owned) })
}
