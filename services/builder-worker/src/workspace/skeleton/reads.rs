//! What an install reads: which files, and what of a `package.json`.

use std::path::{Path, PathBuf};

use packline_workspace::{Manager, joined};
use serde_json::{Map, Value};

/// What an install reads of a `package.json`.
const READ: [&str; 26] = [
    "name",
    "version",
    "private",
    "workspaces",
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bundleDependencies",
    "bundledDependencies",
    "dependenciesMeta",
    "overrides",
    "resolutions",
    "bin",
    "directories",
    "engines",
    "devEngines",
    "os",
    "cpu",
    "libc",
    "packageManager",
    "allowScripts",
    "installConfig",
    "patchedDependencies",
    "pnpm",
];
/// What pnpm reads of `publishConfig`: which folder it links.
const READ_OF_PUBLISH: [&str; 2] = ["directory", "linkDirectory"];

/// Where a `package.json` names other packages.
pub(crate) const DEPENDENCIES: [&str; 4] =
    ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];

/// Lock files; the manager takes the first that is there.
pub(crate) fn locks(manager: Manager) -> &'static [&'static str] {
    match manager {
        Manager::Npm => &["npm-shrinkwrap.json", "package-lock.json"],
        Manager::Pnpm => &["pnpm-lock.yaml"],
        Manager::YarnClassic | Manager::YarnBerry => &["yarn.lock"],
    }
}

/// What else an install reads at the root: files, and folders with all that is in them.
pub(super) fn settings(manager: Manager) -> &'static [&'static str] {
    match manager {
        Manager::Npm => &[".npmrc"],
        Manager::Pnpm => &[".npmrc", "pnpm-workspace.yaml", ".pnpmfile.cjs", ".pnpmfile.mjs", "pnpmfile.js", "patches"],
        Manager::YarnClassic => &[".npmrc", ".yarnrc", ".yarn/releases"],
        Manager::YarnBerry => &[".yarnrc.yml", ".yarn/plugins", ".yarn/releases", ".yarn/patches", "patches"],
    }
}

const PUBLISH_CONFIG: &str = "publishConfig";

/// A manifest without what an install does not read.
pub(super) fn reduced(manifest: &Map<String, Value>) -> Map<String, Value> {
    let only = |fields: &Map<String, Value>, read: &[&str]| {
        let read = fields.iter().filter(|(key, _)| read.contains(&key.as_str()));
        read.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>()
    };
    let mut reduced = only(manifest, &READ);
    if let Some(Value::Object(publish)) = manifest.get(PUBLISH_CONFIG) {
        let publish = only(publish, &READ_OF_PUBLISH);
        if !publish.is_empty() {
            reduced.insert(PUBLISH_CONFIG.to_owned(), publish.into());
        }
    }
    reduced
}

/// The patches that a manifest names, but for those in folders that are read whole.
pub(super) fn patches(folder: &Path, manifest: &Map<String, Value>) -> Vec<PathBuf> {
    let of = |value: Option<&Value>| {
        let patches = value.and_then(Value::as_object).into_iter().flat_map(Map::values);
        patches.filter_map(Value::as_str).filter_map(|path| below(folder, path)).collect::<Vec<_>>()
    };
    let of_pnpm = manifest.get("pnpm").and_then(|pnpm| pnpm.get("patchedDependencies"));
    [of(manifest.get("patchedDependencies")), of(of_pnpm)].concat()
}

/// The files of its programs.
pub(super) fn programs(manifest: &Map<String, Value>) -> Vec<String> {
    match manifest.get("bin") {
        Some(Value::String(path)) => vec![path.clone()],
        Some(Value::Object(programs)) => programs.values().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// What it takes from files or folders in the workspace, and whether by `file:`, which copies them.
pub(super) fn file_targets(manifest: &Map<String, Value>) -> Vec<(String, bool)> {
    let kinds = ["dependencies", "devDependencies", "optionalDependencies"];
    let specs = kinds.iter().filter_map(|kind| manifest.get(*kind)?.as_object()).flatten();
    let path = |spec: &str| {
        let is_path = ["./", "../"].iter().any(|start| spec.starts_with(start));
        let linked = ["link:", "portal:"].iter().find_map(|scheme| spec.strip_prefix(scheme));
        let copied = || spec.strip_prefix("file:").or_else(|| is_path.then_some(spec));
        linked.map(|path| (path.to_owned(), false)).or_else(|| Some((copied()?.to_owned(), true)))
    };
    specs.filter_map(|(_, spec)| path(spec.as_str()?)).collect()
}

/// The path of what `target` names in `folder`; `None` where that is not below the root.
pub(super) fn below(folder: &Path, target: &str) -> Option<PathBuf> {
    joined(folder, target).filter(|path| path != folder)
}
