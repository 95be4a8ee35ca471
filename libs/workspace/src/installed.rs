//! Which members the packages of an install lead to: those that are named, and those that a tool needs further down.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

/// What a package needs when it runs.
const RUNTIME: [&str; 3] = ["dependencies", "optionalDependencies", "peerDependencies"];
/// What it needs to be built.
const ALL: [&str; 4] = ["dependencies", "optionalDependencies", "peerDependencies", "devDependencies"];

/// The tree of a lock file of npm, or the one that npm says it has installed: `node_modules/.package-lock.json`.
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

    /// For each package of a registry that leads to members over such packages alone, the folders of these members: of
    /// several on one way the first, which leads on by itself. By its key.
    fn leading(&self) -> HashMap<&str, BTreeSet<&Path>> {
        let mut led_to_by: HashMap<String, Vec<&str>> = HashMap::new();
        let mut seeds: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
        let of_registry = self.packages.iter().filter(|(key, entry)| is_of_registry(key) && link(entry).is_none());
        for (key, entry) in of_registry {
            let needed = entry.as_object().into_iter().flat_map(|entry| names(entry, &RUNTIME));
            for needed in needed.filter_map(|name| self.resolve(key, name)) {
                match self.packages.get(&needed).and_then(link) {
                    Some(folder) => seeds.entry(Path::new(folder)).or_default().push(key),
                    None => led_to_by.entry(needed).or_default().push(key),
                }
            }
        }
        let mut leading: HashMap<&str, BTreeSet<&Path>> = HashMap::new();
        for (member, mut open) in seeds {
            let mut seen = HashSet::new();
            while let Some(key) = open.pop() {
                if seen.insert(key) {
                    leading.entry(key).or_default().insert(member);
                    open.extend(led_to_by.get(key).into_iter().flatten());
                }
            }
        }
        leading
    }

    /// The folders of the packages of a registry that need a member when they run, directly or further down.
    pub fn leading_back(&self) -> BTreeSet<PathBuf> {
        self.leading().into_keys().map(PathBuf::from).collect()
    }

    /// For each manifest in a folder the folders of the members that tools lead to which it names: packages of a registry
    /// that need a member, directly or further down.
    pub fn needed_by_tools<'b>(
        &self,
        of: impl Iterator<Item = (&'b Path, &'b Map<String, Value>)>,
    ) -> Vec<BTreeSet<PathBuf>> {
        let leading = self.leading();
        let tools = |(folder, manifest): (&Path, &Map<String, Value>)| {
            let folder = folder.to_string_lossy();
            let named = names(manifest, &ALL).filter_map(|name| self.resolve(&folder, name));
            let members = named.filter_map(|key| leading.get(key.as_str())).flatten();
            members.map(|member| (*member).to_owned()).collect()
        };
        of.map(tools).collect()
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
            if let Some(entry) = self.packages.get(&key).filter(|_| !is_modules) {
                // Other managers link packages to each other.
                let target = link(entry).filter(|target| is_of_registry(target));
                return Some(target.map_or(key, str::to_owned));
            }
            if folder.is_empty() {
                return None;
            }
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}

/// Whether a key is that of what is installed, and no folder of the workspace.
fn is_of_registry(key: &str) -> bool {
    key.starts_with("node_modules/") || key.contains("/node_modules/")
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

    #[test]
    fn a_tool_leads_to_the_members_that_it_needs_and_a_member_is_no_tool() {
        let lock = json!({"packages": {
            "": {"devDependencies": {"linter": "1"}},
            "node_modules/linter": {"dependencies": {"parser": "*", "@x/config": "1"}},
            "node_modules/parser": {"peerDependencies": {"@x/schema": "*", "linter": "*"}},
            "node_modules/plain": {"devDependencies": {"@x/schema": "*"}},
            "node_modules/@x/config": {"resolved": "packages/config", "link": true},
            "node_modules/@x/schema": {"resolved": "packages/schema", "link": true},
            "packages/config": {"dependencies": {"parser": "*"}},
            "packages/config/node_modules/linter": {"version": "0.1.0"},
        }});
        let installed = Installed::of(&lock).unwrap();
        let manifest = |names: Value| json!({ "devDependencies": names });
        let cases = [
            ("packages/a", manifest(json!({"linter": "1", "gone": "1"}))),
            ("packages/a", manifest(json!({"plain": "1", "@x/config": "1"}))),
            ("packages/config", manifest(json!({"linter": "0", "parser": "1"}))),
        ];
        let of = cases.iter().map(|(folder, manifest)| (Path::new(*folder), manifest.as_object().unwrap()));
        let expected: [&[&str]; 3] =
            [&["packages/config", "packages/schema"], &[], &["packages/config", "packages/schema"]];
        let expected = expected.map(|folders| folders.iter().map(PathBuf::from).collect::<BTreeSet<_>>());
        assert_eq!(installed.needed_by_tools(of), expected);
        assert_eq!(installed.leading_back(), ["node_modules/linter", "node_modules/parser"].map(PathBuf::from).into());
    }
}
