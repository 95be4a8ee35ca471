//! Which package manager installs a workspace.

use std::path::Path;

use crate::Manifest;

/// The package manager that installs a workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Manager {
    /// npm.
    #[default]
    Npm,
    /// pnpm.
    Pnpm,
    /// Yarn before version 2.
    YarnClassic,
    /// Yarn from version 2 on.
    YarnBerry,
}

impl Manager {
    /// What people call it, and its command: `npm`, `pnpm` or `yarn`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::YarnClassic | Self::YarnBerry => "yarn",
        }
    }

    /// The manager of the workspace at `root`: the one that `packageManager` or `devEngines.packageManager` of its
    /// package.json names, else the one whose files are there, else npm.
    pub(crate) fn of(root: &Path, manifest: &Manifest) -> Self {
        named(root, manifest).unwrap_or_else(|| by_files(root))
    }
}

fn named(root: &Path, manifest: &Manifest) -> Option<Manager> {
    let of_field = manifest.get("packageManager").and_then(|field| field.as_str()?.split_once('@'));
    let engine = manifest.get("devEngines").and_then(|engines| engines.get("packageManager"));
    let engine = engine.map(|engine| engine.get(0).unwrap_or(engine));
    let of_engine = || {
        let name = engine?.get("name")?.as_str()?;
        Some((name, engine?.get("version").and_then(|version| version.as_str()).unwrap_or_default()))
    };
    let (name, version) = of_field.or_else(of_engine)?;
    match name {
        "npm" => Some(Manager::Npm),
        "pnpm" => Some(Manager::Pnpm),
        "yarn" if version.trim_start_matches(['^', '~', '=', 'v', '>', ' ']).starts_with(['0', '1']) => {
            Some(Manager::YarnClassic)
        }
        "yarn" if version.is_empty() => Some(by_files(root)).filter(|manager| manager.name() == "yarn"),
        "yarn" => Some(Manager::YarnBerry),
        _ => None,
    }
}

fn by_files(root: &Path) -> Manager {
    let has = |name: &str| root.join(name).is_file();
    if has("pnpm-workspace.yaml") || has("pnpm-lock.yaml") {
        return Manager::Pnpm;
    }
    if has(".yarnrc.yml") {
        return Manager::YarnBerry;
    }
    if has("yarn.lock") && !has("package-lock.json") && !has("npm-shrinkwrap.json") {
        let lock = std::fs::read_to_string(root.join("yarn.lock")).unwrap_or_default();
        return if lock.contains("\n__metadata:") { Manager::YarnBerry } else { Manager::YarnClassic };
    }
    Manager::Npm
}
