//! Lock files of pnpm and Yarn, as a lock file of npm would say the same: each package in a folder of its own, with a
//! link for each of its dependencies.

use std::{collections::HashMap, path::Path};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::rules::{OF_IMPORTER, joined, pnpm_version};

/// What pnpm installs.
pub(crate) fn of_pnpm(lock: &Value) -> Value {
    let mut tree = Tree::default();
    // Up to version 5 an identity was `/name/version_peers`.
    let is_old = pnpm_version(lock).is_some_and(|version| version < 6.0);
    // A single package needed no list of one.
    let single = Some((".", lock)).filter(|_| lock.get("importers").is_none());
    for (folder, importer) in object(lock, "importers").chain(single) {
        let folder = if folder == "." { "" } else { folder };
        for (name, entry) in OF_IMPORTER.iter().flat_map(|kind| object(importer, kind)) {
            let Some(version) = entry.get("version").unwrap_or(entry).as_str() else { continue };
            if let Some(target) = pnpm_target(folder, name, version, is_old) {
                tree.link(folder, name, &target);
            }
        }
        tree.package(folder, OF_IMPORTER.iter().flat_map(|kind| object(importer, kind)).map(|(name, _)| name));
    }
    // Up to version 6 `packages` has both.
    let snapshots = if lock.get("snapshots").is_some() { "snapshots" } else { "packages" };
    for (id, snapshot) in object(lock, snapshots) {
        let Some(place) = pnpm_place(id, is_old) else { continue };
        let needed: Vec<(&str, &Value)> =
            ["dependencies", "optionalDependencies"].iter().flat_map(|kind| object(snapshot, kind)).collect();
        for (name, version) in &needed {
            let target = version.as_str().and_then(|version| pnpm_target("", name, version, is_old));
            if let (Some(target), Some((above, _))) = (target, place.rsplit_once("/node_modules/")) {
                tree.link(above, name, &target);
            }
        }
        tree.package(&place, needed.iter().map(|(name, _)| *name));
    }
    tree.into_lock()
}

/// Where a dependency of a package or of the member in `folder` is.
fn pnpm_target(folder: &str, name: &str, version: &str, is_old: bool) -> Option<String> {
    if let Some(target) = version.strip_prefix("link:") {
        return joined(Path::new(folder), target)?.to_str().map(str::to_owned);
    }
    if let Some(target) = version.strip_prefix("file:") {
        return Some(target.split('(').next()?.to_owned());
    }
    // An alias names its package.
    let is_named = match is_old {
        true => version.starts_with('/'),
        false => version.split('(').next().unwrap_or_default().char_indices().skip(1).any(|(_, c)| c == '@'),
    };
    if is_named { pnpm_place(version, is_old) } else { pnpm_place(&format!("{name}@{version}"), false) }
}

/// The folder of a package, by its identity: `name@version(peers)`, and before `/name/version_peers`.
fn pnpm_place(id: &str, is_old: bool) -> Option<String> {
    let id = id.trim_start_matches('/');
    let id =
        if is_old { id.rsplit_once('/').map(|(name, version)| format!("{name}@{version}"))? } else { id.to_owned() };
    let bare = id.split('(').next()?;
    let at = bare.char_indices().skip(1).find(|(_, c)| *c == '@')?.0;
    Some(format!("node_modules/.pnpm/{}/node_modules/{}", pnpm_folder(&id), bare.get(..at)?))
}

/// What pnpm calls the folder of a package: a name that is long, or that some file systems take for another one, ends
/// with its hash.
fn pnpm_folder(id: &str) -> String {
    const LONGEST: usize = 120;
    let name = id.replace(['\\', '/', ':', '*', '?', '"', '<', '>', '|', '#'], "+");
    let name = match name.contains('(') {
        true => name.strip_suffix(')').unwrap_or(&name).replace(")(", "_").replace(['(', ')'], "_"),
        false => name,
    };
    let is_plain = name.starts_with("file+") || !name.chars().any(char::is_uppercase);
    if name.len() <= LONGEST && is_plain {
        return name;
    }
    let hash = hex::encode(Sha256::digest(name.as_bytes()));
    let start: String = name.chars().take(LONGEST - 33).collect();
    format!("{start}_{}", hash.get(..32).unwrap_or(&hash))
}

/// What Yarn installs.
pub(crate) fn of_yarn(lock: &Value) -> Value {
    let entries: Vec<(&str, &Value)> = lock
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, entry)| (key.as_str(), entry))
        .filter(|(key, _)| *key != "__metadata")
        .collect();
    let mut places: HashMap<&str, String> = HashMap::new();
    for (key, entry) in &entries {
        if let Some(place) = entry.get("resolution").and_then(Value::as_str).and_then(yarn_place) {
            places.extend(key.split(", ").map(|descriptor| (descriptor, place.clone())));
        }
    }
    let mut tree = Tree::default();
    for (key, entry) in &entries {
        let Some(place) = key.split(", ").next().and_then(|descriptor| places.get(descriptor)) else { continue };
        let needed: Vec<(&str, &Value)> =
            object(entry, "dependencies").chain(object(entry, "peerDependencies")).collect();
        let above = place.rsplit_once("/node_modules/").map_or(place.as_str(), |(above, _)| above);
        for (name, range) in &needed {
            let target = range.as_str().and_then(|range| places.get(format!("{name}@{range}").as_str()));
            if let Some(target) = target {
                tree.link(above, name, target);
            }
        }
        tree.package(place, needed.iter().map(|(name, _)| *name));
    }
    tree.into_lock()
}

/// The folder of `name@workspace:folder`, or one for a package of a registry.
fn yarn_place(resolution: &str) -> Option<String> {
    let at = resolution.char_indices().skip(1).find(|(_, c)| *c == '@')?.0;
    let (name, reference) = (resolution.get(..at)?, resolution.get(at + 1..)?);
    match reference.strip_prefix("workspace:") {
        Some(folder) => Some(if folder == "." { String::new() } else { folder.to_owned() }),
        None => Some(format!("node_modules/.yarn/{}/node_modules/{name}", resolution.replace(['/', ':'], "+"))),
    }
}

fn object<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = (&'v str, &'v Value)> + use<'v> {
    value.get(field).and_then(Value::as_object).into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// A lock file of npm that is being written.
#[derive(Default)]
pub(crate) struct Tree(Map<String, Value>);

impl Tree {
    /// A link to `target` in `node_modules` of a folder.
    pub(crate) fn link(&mut self, folder: &str, name: &str, target: &str) {
        let place =
            if folder.is_empty() { format!("node_modules/{name}") } else { format!("{folder}/node_modules/{name}") };
        // In the folder of a package that is its own place.
        if place != target {
            self.0.entry(place).or_insert_with(|| json!({"resolved": target, "link": true}));
        }
    }

    /// A package or a member in its folder, with what it needs.
    pub(crate) fn package<'n>(&mut self, place: &str, needs: impl Iterator<Item = &'n str>) {
        self.0.insert(place.to_owned(), entry(needs));
    }

    pub(crate) fn into_lock(self) -> Value {
        json!({ "packages": self.0 })
    }
}

fn entry<'n>(needs: impl Iterator<Item = &'n str>) -> Value {
    let needs: Map<String, Value> = needs.map(|name| (name.to_owned(), "*".into())).collect();
    json!({ "dependencies": needs })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf};

    use super::*;
    use crate::{Installed, yaml};

    fn tools(lock: &Value, folder: &str, manifest: Value) -> BTreeSet<PathBuf> {
        let installed = Installed::of(lock).unwrap();
        let of = [(Path::new(folder), manifest.as_object().unwrap())].into_iter();
        installed.needed_by_tools(of).pop().unwrap()
    }

    #[test]
    fn a_tool_of_pnpm_leads_to_the_members_that_it_needs() {
        let lock = yaml::parse(
            "lockfileVersion: '9.0'\nimporters:\n  .:\n    devDependencies:\n      eslint:\n        specifier: ^9\n        version: 9.1.0(jiti@2.0.0)\n  packages/a:\n    dependencies:\n      '@x/core':\n        specifier: workspace:^\n        version: link:../core\n  packages/core: {}\nsnapshots:\n  eslint@9.1.0(jiti@2.0.0):\n    dependencies:\n      '@x/config': 1.0.0\n  '@x/config@1.0.0':\n    dependencies:\n      '@x/schema': link:packages/schema\n",
        ).unwrap();
        let list = of_pnpm(&lock);
        let needed = tools(&list, "", json!({"devDependencies": {"eslint": "^9"}}));
        assert_eq!(needed, [PathBuf::from("packages/schema")].into());
        let installed = Installed::of(&list).unwrap();
        let manifest = json!({"dependencies": {"@x/core": "workspace:^"}});
        let reached = installed.reached(&[(Path::new("packages/a"), manifest.as_object().unwrap())]);
        assert_eq!(reached, [PathBuf::from("packages/core")].into());
        let back = ["@x+config@1.0.0/node_modules/@x/config", "eslint@9.1.0_jiti@2.0.0/node_modules/eslint"];
        assert_eq!(installed.leading_back(), back.map(|path| Path::new("node_modules/.pnpm").join(path)).into());
    }

    #[test]
    fn lock_files_of_older_pnpms_are_read() {
        let lock = yaml::parse(
            "lockfileVersion: 5.4\nimporters:\n  .:\n    specifiers: {eslint: ^8}\n    devDependencies:\n      eslint: 8.0.0_jiti@2.0.0\n  packages/schema:\n    specifiers: {}\npackages:\n  /eslint/8.0.0_jiti@2.0.0:\n    dependencies:\n      '@x/config': 1.0.0\n      old: /@x/older/0.1.0\n  /@x/config/1.0.0:\n    dependencies:\n      '@x/schema': link:packages/schema\n  /@x/older/0.1.0: {}\n",
        ).unwrap();
        let list = of_pnpm(&lock);
        let needed = tools(&list, "", json!({"devDependencies": {"eslint": "^8"}}));
        assert_eq!(needed, [PathBuf::from("packages/schema")].into());
        let above = "node_modules/.pnpm/eslint@8.0.0_jiti@2.0.0/node_modules";
        assert_eq!(
            list["packages"][format!("{above}/old")]["resolved"],
            "node_modules/.pnpm/@x+older@0.1.0/node_modules/@x/older"
        );
        // Version 6 of a single package.
        let lock = yaml::parse(
            "lockfileVersion: '6.0'\ndependencies:\n  a:\n    specifier: ^1\n    version: 1.0.0(b@2.0.0)\npackages:\n  /a@1.0.0(b@2.0.0):\n    dependencies:\n      b: 2.0.0\n",
        ).unwrap();
        let list = of_pnpm(&lock);
        let place = "node_modules/.pnpm/a@1.0.0_b@2.0.0/node_modules/a";
        assert_eq!(list["packages"]["node_modules/a"]["resolved"], place);
        assert!(list["packages"].get(place).is_some());
    }

    #[test]
    fn folders_are_called_as_pnpm_calls_them() {
        // As pnpm 10 has called them.
        for (id, folder) in [
            ("@x/a@1.0.0(b@2.0.0(c@3.0.0))(d@4.0.0)", "@x+a@1.0.0_b@2.0.0_c@3.0.0__d@4.0.0"),
            ("JSONStream@1.3.5", "JSONStream@1.3.5_fb8f73c374dcf7070ffed90b688edabd"),
        ] {
            assert_eq!(pnpm_folder(id), folder);
        }
    }

    #[test]
    fn a_tool_of_yarn_leads_to_the_members_that_it_needs() {
        let lock = yaml::parse(
            "__metadata:\n  version: 8\n\"eslint@npm:^9\":\n  version: 9.1.0\n  resolution: \"eslint@npm:9.1.0\"\n  dependencies:\n    \"@x/schema\": \"npm:^1.0.0\"\n\"@x/schema@npm:^1.0.0, @x/schema@workspace:packages/schema\":\n  version: 0.0.0-use.local\n  resolution: \"@x/schema@workspace:packages/schema\"\n\"own@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"own@workspace:.\"\n  dependencies:\n    eslint: \"npm:^9\"\n",
        ).unwrap();
        let needed = tools(&of_yarn(&lock), "", json!({"devDependencies": {"eslint": "^9"}}));
        assert_eq!(needed, [PathBuf::from("packages/schema")].into());
    }
}
