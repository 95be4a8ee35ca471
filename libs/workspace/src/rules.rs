//! What the manager of a workspace makes of what its members ask for.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use crate::{EdgeKind, Kind, Manager, Manifest, range};

/// What a lock file says that a dependency of a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// A folder of the workspace, below its root.
    Link(PathBuf),
    /// A version from a registry.
    Version(String),
}

/// The rules of one workspace.
#[derive(Debug)]
pub(crate) struct Rules {
    manager: Manager,
    links_ranges: bool,
    /// The catalog without a name and those with one.
    catalog: Value,
    catalogs: Value,
    /// What the root says of a name, whoever asks for it.
    overrides: BTreeMap<String, String>,
    /// By the member's folder and the name that it gives.
    resolved: HashMap<(PathBuf, String), Resolved>,
}

impl Rules {
    /// `settings` is what the manager's own file says, `lock` its lock file.
    pub(crate) fn of(
        (root, manifest): (&Path, &Manifest),
        kind: Kind,
        manager: Manager,
        settings: &Value,
        lock: Option<&Value>,
    ) -> Self {
        let links_ranges = kind == Kind::Workspaces
            && match manager {
                Manager::Npm | Manager::YarnClassic => true,
                Manager::YarnBerry => settings.get("enableTransparentWorkspaces") != Some(&Value::Bool(false)),
                Manager::Pnpm => links_ranges(root, settings, lock),
            };
        let field = |name: &str| settings.get(name).cloned().unwrap_or_default();
        let resolved = lock.filter(|_| manager == Manager::Pnpm).map(importers).unwrap_or_default();
        let overrides = overrides(manager, manifest, settings);
        Self { manager, links_ranges, catalog: field("catalog"), catalogs: field("catalogs"), overrides, resolved }
    }

    /// Whose rules they are.
    pub(crate) fn manager(&self) -> Manager {
        self.manager
    }

    /// What is installed for this name in place of what a member asks for; a folder in it is relative to the root.
    pub(crate) fn overridden(&self, name: &str) -> Option<&str> {
        self.overrides.get(name).map(String::as_str)
    }

    /// Whether `workspace:` with this range takes a member of this version.
    pub(crate) fn takes(&self, version: Option<&str>, asked: &str) -> bool {
        if matches!(asked, "" | "*" | "^" | "~") {
            return true;
        }
        let version = version.unwrap_or("0.0.0");
        let is_taken = range::satisfies(Some(version), asked);
        match self.manager {
            // It takes a prerelease of a version that would do.
            Manager::YarnBerry => is_taken || range::satisfies(version.split('-').next(), asked),
            Manager::Pnpm => is_taken || !range::is_range(asked),
            Manager::Npm | Manager::YarnClassic => true,
        }
    }

    /// Whether a range that a member satisfies gets that member.
    pub(crate) fn links_ranges(&self) -> bool {
        self.links_ranges
    }

    /// What a value asks for that stands at `name`, without catalogs and patches; `None` where no catalog has it.
    pub(crate) fn plain<'v>(&'v self, name: &str, value: &'v str) -> Option<Cow<'v, str>> {
        let value = value.trim();
        if let Some(catalog) = value.strip_prefix("catalog:") {
            let named = self.catalogs.get(if catalog.is_empty() { "default" } else { catalog });
            let default = Some(&self.catalog).filter(|_| matches!(catalog, "" | "default"));
            let entry = default.and_then(|catalog| catalog.get(name)).or_else(|| named?.get(name))?;
            return entry.as_str().map(Cow::Borrowed);
        }
        let mut asked = Cow::Borrowed(value);
        // `patch:name@npm%3A1.0.0#the.patch`, and a patch of that.
        while let Some(patched) = asked.strip_prefix("patch:") {
            let patched = patched.split('#').next().unwrap_or_default();
            let at = patched.char_indices().skip(1).find(|(_, c)| *c == '@');
            let inner = at.and_then(|(at, _)| patched.get(at + 1..)).unwrap_or_default();
            asked = Cow::Owned(unescaped(inner));
        }
        Some(asked)
    }

    /// What the lock file says of it; `None` where there is none, or it does not say.
    pub(crate) fn resolved(&self, folder: &Path, name: &str) -> Option<&Resolved> {
        self.resolved.get(&(folder.to_owned(), name.to_owned()))
    }
}

/// What stands in a range of Yarn in place of signs that have a meaning there.
fn unescaped(text: &str) -> String {
    let signs = [("%3A", ":"), ("%3a", ":"), ("%2F", "/"), ("%2f", "/"), ("%23", "#"), ("%40", "@"), ("%25", "%")];
    signs.into_iter().fold(text.to_owned(), |text, (escaped, sign)| text.replace(escaped, sign))
}

/// What the root says of names alone; what it says of one version or below one package changes no member.
fn overrides(manager: Manager, manifest: &Manifest, settings: &Value) -> BTreeMap<String, String> {
    let of_manifest = |field: &str| manifest.get(field).and_then(Value::as_object);
    let lists = match manager {
        Manager::Pnpm => [
            of_manifest("pnpm").and_then(|pnpm| pnpm.get("overrides")).and_then(Value::as_object),
            settings.get("overrides").and_then(Value::as_object),
        ],
        Manager::YarnBerry => [of_manifest("resolutions"), None],
        Manager::Npm | Manager::YarnClassic => [None, None],
    };
    let own = |name: &str| {
        let kinds = [EdgeKind::Runtime, EdgeKind::Development, EdgeKind::Optional];
        kinds.into_iter().flat_map(|kind| manifest.dependencies(kind)).find(|(own, _)| *own == name)
    };
    let all = lists.into_iter().flatten().flatten();
    let named = all.filter_map(|(name, value)| Some((name, value.as_str()?)));
    let alone = named.filter(|(name, _)| !name.contains('>') && !name.get(1..).unwrap_or_default().contains('@'));
    alone
        .map(|(name, value)| {
            // What the root asks for itself.
            let of_root = value.strip_prefix('$').and_then(own).map(|(_, value)| value);
            (name.clone(), of_root.unwrap_or(value).to_owned())
        })
        .collect()
}

/// From version 9 on pnpm links what `workspace:` asks for, unless its settings say more.
fn links_ranges(root: &Path, settings: &Value, lock: Option<&Value>) -> bool {
    let is_on = |value: &Value| value.as_bool() == Some(true) || value.as_str().is_some_and(|text| text != "false");
    if let Some(value) = settings.get("linkWorkspacePackages") {
        return is_on(value);
    }
    let npmrc = fs::read_to_string(root.join(".npmrc")).unwrap_or_default();
    let set =
        npmrc.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "link-workspace-packages");
    if let Some((_, value)) = set {
        return matches!(value.trim(), "true" | "deep");
    }
    lock.and_then(pnpm_version).is_some_and(|version| version < 9.0)
}

/// The version of a lock file of pnpm.
pub(crate) fn pnpm_version(lock: &Value) -> Option<f64> {
    let version = lock.get("lockfileVersion")?;
    version.as_f64().or_else(|| version.as_str()?.parse().ok())
}

/// Where a lock file of pnpm has the dependencies of a member.
pub(crate) const OF_IMPORTER: [&str; 3] = ["dependencies", "devDependencies", "optionalDependencies"];

/// What a lock file of pnpm says of the dependencies of each member.
fn importers(lock: &Value) -> HashMap<(PathBuf, String), Resolved> {
    let mut found = HashMap::new();
    let importers = lock.get("importers").and_then(Value::as_object).into_iter().flatten();
    for (folder, importer) in importers {
        let folder = if folder == "." { PathBuf::new() } else { PathBuf::from(folder) };
        for kind in OF_IMPORTER {
            for (name, entry) in importer.get(kind).and_then(Value::as_object).into_iter().flatten() {
                // Before version 6 it was the version alone.
                let Some(version) = entry.get("version").unwrap_or(entry).as_str() else { continue };
                let resolved = match version.strip_prefix("link:").or_else(|| version.strip_prefix("file:")) {
                    Some(target) if version.starts_with("link:") => joined(&folder, target).map(Resolved::Link),
                    // Relative to the root, with the peers that it got.
                    Some(target) => joined(Path::new(""), plain(target)).map(Resolved::Link),
                    None => Some(Resolved::Version(plain(version).to_owned())),
                };
                found.extend(resolved.map(|resolved| ((folder.clone(), name.clone()), resolved)));
            }
        }
    }
    found
}

/// A version or folder without the peers in parentheses or after `_`.
fn plain(version: &str) -> &str {
    version.split(['(', '_']).next().unwrap_or_default()
}

/// A path below the root; `None` where it leaves it.
pub fn joined(folder: &Path, target: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for component in Path::new(target).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}
