//! Which members the installed packages of a build lead to: declared ones, and those that a tool needs further down.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

/// What a package needs when it runs.
const RUNTIME: [&str; 3] = ["dependencies", "optionalDependencies", "peerDependencies"];
/// What it needs to be built.
const ALL: [&str; 4] = ["dependencies", "optionalDependencies", "peerDependencies", "devDependencies"];

/// The tree that npm says it has installed: `node_modules/.package-lock.json`.
pub struct Installed<'a> {
    packages: &'a Map<String, Value>,
}

impl<'a> Installed<'a> {
    /// `None` where the file is not one of npm's.
    pub fn of(lock: &'a Value) -> Option<Self> {
        Some(Self { packages: lock.get("packages")?.as_object()? })
    }

    /// The folders of the members that are reached from these, each a folder and its `package.json`: by what they
    /// need to be built, and from there by what runs. A member that is reached counts with what it needs to run.
    pub fn reached(&self, from: &[(&Path, &Map<String, Value>)]) -> BTreeSet<PathBuf> {
        let mut members = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<String> = Vec::new();
        for (folder, manifest) in from {
            let folder = folder.to_string_lossy();
            open.extend(names(manifest, &ALL).filter_map(|name| self.resolve(&folder, name)));
        }
        while let Some(key) = open.pop() {
            if !seen.insert(key.clone()) {
                continue;
            }
            let Some(entry) = self.packages.get(&key) else { continue };
            if let Some(folder) = link(entry) {
                members.insert(PathBuf::from(folder));
                open.push(folder.to_owned());
                continue;
            }
            let Some(entry) = entry.as_object() else { continue };
            open.extend(names(entry, &RUNTIME).filter_map(|name| self.resolve(&key, name)));
        }
        members
    }

    /// Where Node finds `name` from a file in `folder`.
    fn resolve(&self, folder: &str, name: &str) -> Option<String> {
        let mut folder = folder;
        loop {
            let is_modules = folder == "node_modules" || folder.ends_with("/node_modules");
            let key = match folder {
                "" => format!("node_modules/{name}"),
                folder => format!("{folder}/node_modules/{name}"),
            };
            if !is_modules && self.packages.contains_key(&key) {
                return Some(key);
            }
            if folder.is_empty() {
                return None;
            }
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}

fn link(entry: &Value) -> Option<&str> {
    entry.get("link")?.as_bool().filter(|link| *link)?;
    entry.get("resolved")?.as_str()
}

fn names<'a>(manifest: &'a Map<String, Value>, kinds: &'a [&str]) -> impl Iterator<Item = &'a str> {
    kinds.iter().filter_map(|kind| manifest.get(*kind)?.as_object()).flat_map(Map::keys).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_member_is_reached_through_a_tool_and_through_a_sibling() {
        let lock = json!({"packages": {
            "node_modules/eslint": {"dependencies": {"@x/config": "^1.0.0", "old": "1"}},
            "node_modules/@x/config": {"resolved": "packages/config", "link": true},
            "node_modules/old": {"resolved": "packages/old", "link": true},
            "node_modules/eslint/node_modules/old": {"version": "1.0.0"},
            "node_modules/@x/schema": {"resolved": "packages/schema", "link": true},
            "node_modules/@x/far": {"resolved": "packages/far", "link": true},
            "packages/config": {"dependencies": {"@x/schema": "*"}, "devDependencies": {"@x/far": "*"}},
            "packages/schema": {},
        }});
        let installed = Installed::of(&lock).unwrap();
        let manifest = json!({"devDependencies": {"eslint": "*", "gone": "*"}});
        let reached = installed.reached(&[(Path::new("packages/a"), manifest.as_object().unwrap())]);
        assert_eq!(reached, ["packages/config", "packages/schema"].map(PathBuf::from).into());
        let of_root = json!({"dependencies": {"@x/far": "*"}});
        assert!(
            installed.reached(&[(Path::new(""), of_root.as_object().unwrap())]).contains(Path::new("packages/far"))
        );
    }
}
