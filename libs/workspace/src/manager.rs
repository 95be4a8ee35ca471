//! Which package manager installs a workspace.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{Manifest, shown};

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
}

/// Lock files, and whose they are. Where a workspace names no manager, the first that is there decides; npm's goes before
/// that of Yarn, which may be of either version.
const LOCKS: [(&str, &str); 6] = [
    ("pnpm-lock.yaml", "pnpm"),
    ("npm-shrinkwrap.json", "npm"),
    ("package-lock.json", "npm"),
    ("yarn.lock", "yarn"),
    ("bun.lock", "bun"),
    ("bun.lockb", "bun"),
];

/// The manager of the workspace at `root`: the one that `packageManager` or `devEngines.packageManager` of its package.json
/// names, else the one whose files are there, else `npmClient` of lerna.json, else npm; and what people should know of the
/// choice.
pub(crate) fn of(root: &Path, manifest: &Manifest) -> (Manager, Vec<String>) {
    let named = names(manifest);
    let known = named.iter().find_map(|(name, version)| of_name(root, name, version));
    let manager = known.or_else(|| by_files(root)).or_else(|| by_lerna(root)).unwrap_or_default();
    let mut notes = Vec::new();
    if let Some((name, _)) = named.first().filter(|_| known.is_none()) {
        notes.push(format!(
            "it names the package manager {}, which is not known; {} installs it",
            shown(name),
            manager.name()
        ));
    }
    let locks: Vec<_> = LOCKS.iter().filter(|(file, _)| root.join(file).is_file()).collect();
    let ours = locks.iter().find(|(_, of)| *of == manager.name()).map(|(file, _)| *file);
    for (file, _) in locks.iter().filter(|(_, of)| *of != manager.name()) {
        let by = match ours {
            Some(ours) => format!("{} installs this workspace, by {ours}", manager.name()),
            None => format!("{} installs this workspace, without a lock file", manager.name()),
        };
        notes.push(format!("{file} is not read: {by}"));
    }
    (manager, notes)
}

/// The managers that a package.json names, with their versions, which may be empty. The first one that is known installs.
fn names(manifest: &Manifest) -> Vec<(&str, &str)> {
    let field = manifest.get("packageManager").and_then(Value::as_str);
    let field = field.map(|field| field.split_once('@').unwrap_or((field, "")));
    let engine = manifest.get("devEngines").and_then(|engines| engines.get("packageManager"));
    let engines = match engine {
        Some(Value::Array(engines)) => engines.as_slice(),
        Some(engine) => std::slice::from_ref(engine),
        None => &[],
    };
    let of_engine = |engine| Some((text_of(engine, "name")?, text_of(engine, "version").unwrap_or_default()));
    field.into_iter().chain(engines.iter().filter_map(of_engine)).collect()
}

fn text_of<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field)?.as_str()
}

fn of_name(root: &Path, name: &str, version: &str) -> Option<Manager> {
    match name {
        "npm" => Some(Manager::Npm),
        "pnpm" => Some(Manager::Pnpm),
        "yarn" => {
            let first: String =
                version.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
            Some(match first.parse::<u64>() {
                Ok(0 | 1) => Manager::YarnClassic,
                Ok(_) => Manager::YarnBerry,
                // `*`, or the name of a release line like `berry`.
                Err(_) if matches!(version, "classic" | "legacy") => Manager::YarnClassic,
                Err(_) => yarn(root).unwrap_or(Manager::YarnBerry),
            })
        }
        _ => None,
    }
}

fn by_files(root: &Path) -> Option<Manager> {
    let has = |name: &str| root.join(name).is_file();
    if has("pnpm-workspace.yaml") || has("pnpm-lock.yaml") {
        return Some(Manager::Pnpm);
    }
    if has(".yarnrc.yml") {
        return Some(Manager::YarnBerry);
    }
    if has("package-lock.json") || has("npm-shrinkwrap.json") {
        return Some(Manager::Npm);
    }
    yarn(root)
}

/// Which Yarn wrote the files of Yarn that are there.
fn yarn(root: &Path) -> Option<Manager> {
    if root.join(".yarnrc.yml").is_file() {
        return Some(Manager::YarnBerry);
    }
    let lock = fs::read_to_string(root.join("yarn.lock")).ok()?;
    let is_berry = lock.lines().any(|line| line.trim_end() == "__metadata:");
    Some(if is_berry { Manager::YarnBerry } else { Manager::YarnClassic })
}

fn by_lerna(root: &Path) -> Option<Manager> {
    let settings = Manifest::read(&root.join("lerna.json")).ok()?;
    match settings.get("npmClient").and_then(Value::as_str)? {
        "pnpm" => Some(Manager::Pnpm),
        "yarn" => Some(Manager::YarnClassic),
        _ => None,
    }
}
