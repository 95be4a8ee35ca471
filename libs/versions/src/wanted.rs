//! What a workspace asks for, and where it says so.

use std::{fs, path::Path};

use packline_workspace::{Manager, Workspace, is_range};
use serde_json::Value;

/// Names that nvm has for long-term releases, with their major versions.
const LTS: [(&str, &str); 7] = [
    ("argon", "4"),
    ("fermium", "14"),
    ("gallium", "16"),
    ("hydrogen", "18"),
    ("iron", "20"),
    ("jod", "22"),
    ("krypton", "24"),
];
/// Major versions that are supported for long.
const EVEN: &str = "14 || 16 || 18 || 20 || 22 || 24 || 26 || 28";

/// A version or a range of versions that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// As npm reads ranges.
    pub range: String,
    /// Where it stands, for people: `engines.node of package.json`.
    pub source: String,
}

/// What a workspace asks for, the more binding first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of Node.
    pub node: Vec<Want>,
    /// Of its package manager.
    pub manager: Vec<Want>,
    /// The hash of the manager's tarball that `packageManager` names: `sha512`, and hexadecimal digits.
    pub hash: Option<(String, String)>,
    /// What is there and not understood, one line each.
    pub notes: Vec<String>,
}

impl Wanted {
    /// Reads what the workspace asks for at its root.
    pub fn read(workspace: &Workspace) -> Self {
        let mut wanted = Self::default();
        wanted.read_node(workspace);
        wanted.read_manager(workspace);
        let mut notes = Vec::new();
        for (list, what) in [(&mut wanted.node, "Node"), (&mut wanted.manager, workspace.manager().name())] {
            list.retain(|want| {
                let is_understood = is_range(&want.range);
                if !is_understood {
                    notes.push(format!("{} is no version of {what}: {:?}", want.source, want.range));
                }
                is_understood
            });
        }
        wanted.notes = notes;
        wanted
    }

    /// Which versions a workspace gets and why, one line each for people; none where it asks for nothing.
    pub fn told(&self, manager: Manager) -> Vec<String> {
        let told = |what: &str, wants: &[Want]| {
            let all: Vec<String> = wants.iter().map(|want| format!("{} ({})", want.range, want.source)).collect();
            let whose = "a worker's own where it will do, else the newest that does, from the registry";
            (!all.is_empty()).then(|| format!("{what} {}: {whose}", all.join(" and ")))
        };
        let named = told("Node", &self.node).into_iter();
        named.chain(told(manager.name(), &self.manager)).chain(self.notes.clone()).collect()
    }

    fn read_node(&mut self, workspace: &Workspace) {
        let (root, manifest) = (workspace.root(), workspace.manifest());
        let runtime = manifest.get("devEngines").and_then(|engines| engines.get("runtime"));
        if let Some(range) = runtime.and_then(|runtime| of_engine(runtime, "node")) {
            self.node.push(want(range, "devEngines.runtime of package.json"));
        }
        if let Some(range) = text(manifest.get("engines"), "node") {
            self.node.push(want(range, "engines.node of package.json"));
        }
        for file in [".nvmrc", ".node-version"] {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            if let Some(line) = lines.into_iter().find(|line| !line.is_empty()) {
                self.node.push(want(alias(line), file));
            }
        }
        if let Some(range) = volta(root, manifest.get("volta"), "node") {
            self.node.push(want(&range, "volta.node of package.json"));
        }
        let settings = workspace.settings();
        if let Some(range) = text(Some(settings), "useNodeVersion") {
            self.node.push(want(range, "useNodeVersion of pnpm-workspace.yaml"));
        }
    }

    fn read_manager(&mut self, workspace: &Workspace) {
        let (root, manifest, manager) = (workspace.root(), workspace.manifest(), workspace.manager());
        let name = manager.name();
        // The program that the workspace has itself is the one that it runs.
        if let Some(version) = text(Some(workspace.settings()), "yarnPath").and_then(of_yarn_path) {
            self.manager.push(want(version, "yarnPath of .yarnrc.yml"));
            return;
        }
        let pinned = text(Some(&Value::Object(manifest.fields().clone())), "packageManager").map(str::to_owned);
        if let Some((_, version)) =
            pinned.as_deref().and_then(|pin| pin.split_once('@')).filter(|(named, _)| *named == name)
        {
            let (version, hash) = version.split_once('+').unwrap_or((version, ""));
            self.manager.push(want(version, "packageManager of package.json"));
            // Of Yarn from version 2 on it is that of another file.
            self.hash = hash
                .split_once('.')
                .filter(|_| manager != Manager::YarnBerry)
                .map(|(kind, digits)| (kind.to_owned(), digits.to_owned()));
        }
        let engine = manifest.get("devEngines").and_then(|engines| engines.get("packageManager"));
        if let Some(range) = engine.and_then(|engine| of_engine(engine, name)) {
            self.manager.push(want(range, "devEngines.packageManager of package.json"));
        }
        if let Some(range) = text(manifest.get("engines"), name) {
            self.manager.push(want(range, &format!("engines.{name} of package.json")));
        }
        if let Some(range) = volta(root, manifest.get("volta"), name) {
            self.manager.push(want(&range, &format!("volta.{name} of package.json")));
        }
        if self.manager.is_empty() {
            self.manager.extend(by_files(workspace));
        }
    }
}

fn want(range: &str, source: &str) -> Want {
    Want { range: range.trim().to_owned(), source: source.to_owned() }
}

fn text<'v>(value: Option<&'v Value>, field: &str) -> Option<&'v str> {
    value?.get(field)?.as_str().filter(|text| !text.trim().is_empty())
}

/// The version of an engine of `devEngines`: one, or one of a list.
fn of_engine<'v>(engine: &'v Value, name: &str) -> Option<&'v str> {
    let one =
        |engine: &'v Value| (text(Some(engine), "name")? == name).then(|| text(Some(engine), "version")).flatten();
    match engine.as_array() {
        Some(all) => all.iter().find_map(one),
        None => one(engine),
    }
}

/// What Volta reads, which may stand in another file.
fn volta(root: &Path, volta: Option<&Value>, name: &str) -> Option<String> {
    if let Some(version) = text(volta, name) {
        return Some(version.to_owned());
    }
    let file = fs::read(root.join(text(volta, "extends")?)).ok()?;
    let extended: Value = serde_json::from_slice(&file).ok()?;
    text(extended.get("volta"), name).map(str::to_owned)
}

/// A version as nvm reads it.
fn alias(text: &str) -> &str {
    let lower = text.trim();
    match lower.strip_prefix("lts/") {
        Some("*") => EVEN,
        Some(name) => {
            LTS.iter().find(|(known, _)| *known == name.to_ascii_lowercase()).map_or(lower, |(_, major)| major)
        }
        None if matches!(lower, "node" | "stable" | "latest" | "current") => "*",
        None => lower.strip_prefix("node-").unwrap_or(lower).trim_start_matches('v'),
    }
}

/// The version in `.yarn/releases/yarn-4.5.0.cjs`.
fn of_yarn_path(path: &str) -> Option<&str> {
    let file = path.rsplit('/').next()?.strip_prefix("yarn-")?;
    let version = [".cjs", ".js", ".mjs"].iter().find_map(|end| file.strip_suffix(end))?;
    is_range(version).then_some(version)
}

/// What reads the lock file, where nothing else says which version writes it.
fn by_files(workspace: &Workspace) -> Option<Want> {
    let (root, manager) = (workspace.root(), workspace.manager());
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    match manager {
        Manager::Npm => None,
        Manager::YarnClassic => Some(want("^1.22.0", "yarn.lock")),
        Manager::YarnBerry => {
            let lock = read("yarn.lock");
            let version = lock.split_once("__metadata:").and_then(|(_, rest)| rest.split_once("version:"));
            let version = version.and_then(|(_, rest)| rest.lines().next()).unwrap_or_default().trim();
            match version {
                "4" | "5" | "6" | "7" => Some(want("^3.0.0", "the version of yarn.lock")),
                _ => Some(want(">=4", "yarn.lock")),
            }
        }
        Manager::Pnpm => {
            let lock = read("pnpm-lock.yaml");
            let version = lock.lines().find_map(|line| line.strip_prefix("lockfileVersion:")).unwrap_or_default();
            let version = version.trim().trim_matches(['\'', '"']);
            let reads = match version.split('.').next() {
                Some("5") => return Some(want("^7.0.0", "the version of pnpm-lock.yaml")),
                Some("6") => return Some(want("^8.0.0", "the version of pnpm-lock.yaml")),
                _ => ">=9",
            };
            // Its settings stand where later versions do not look for them.
            match workspace.manifest().get("pnpm") {
                Some(Value::Object(settings)) if !settings.is_empty() => {
                    Some(want(&format!("{reads} <11"), "`pnpm` of package.json, which later versions do not read"))
                }
                _ => Some(want(reads, "pnpm-lock.yaml")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(manifest: Value, files: &[(&str, &str)]) -> Wanted {
        let root = tempfile::tempdir().unwrap();
        let mut manifest = manifest;
        let fields = manifest.as_object_mut().unwrap();
        fields.entry("name").or_insert("own".into());
        fields.entry("version").or_insert("1.0.0".into());
        fs::write(root.path().join("package.json"), manifest.to_string()).unwrap();
        for (file, text) in files {
            fs::write(root.path().join(file), text).unwrap();
        }
        Wanted::read(&Workspace::read(root.path()).unwrap())
    }

    fn ranges(wants: &[Want]) -> Vec<(&str, &str)> {
        wants.iter().map(|want| (want.range.as_str(), want.source.as_str())).collect()
    }

    #[test]
    fn all_places_that_ask_for_a_node_are_read_in_their_order() {
        let manifest = json!({
            "engines": {"node": ">=22.12"}, "volta": {"node": "22.13.0"},
            "devEngines": {"runtime": [{"name": "bun", "version": "1"}, {"name": "node", "version": "^22 || ^24"}]},
        });
        let all = wanted(manifest, &[(".nvmrc", "# ours\nv22\n"), (".node-version", "lts/jod\n")]);
        assert_eq!(
            ranges(&all.node),
            [
                ("^22 || ^24", "devEngines.runtime of package.json"),
                (">=22.12", "engines.node of package.json"),
                ("22", ".nvmrc"),
                ("22", ".node-version"),
                ("22.13.0", "volta.node of package.json")
            ]
        );
        for (text, range) in [("lts/*", EVEN), ("node", "*"), ("20.11.1", "20.11.1"), ("lts/Iron", "20")] {
            assert_eq!(ranges(&wanted(json!({}), &[(".nvmrc", text)]).node), [(range, ".nvmrc")], "{text}");
        }
        let odd = wanted(json!({"engines": {"node": "a lot"}}), &[]);
        assert_eq!((odd.node.len(), odd.notes.len()), (0, 1), "{odd:?}");
        let told = wanted(json!({"engines": {"node": ">=20"}}), &[]).told(Manager::Npm);
        let line = "Node >=20 (engines.node of package.json): a worker's own where it will do, else the newest that does, \
                    from the registry";
        assert_eq!(told, [line]);
        assert!(wanted(json!({}), &[]).told(Manager::Npm).is_empty());
    }

    #[test]
    fn the_manager_is_pinned_or_told_by_its_lock_file() {
        let pinned = wanted(json!({"packageManager": "pnpm@10.26.1+sha512.0af"}), &[]);
        assert_eq!(ranges(&pinned.manager), [("10.26.1", "packageManager of package.json")]);
        assert_eq!(pinned.hash, Some(("sha512".to_owned(), "0af".to_owned())));
        let of = |manifest: Value, files: &[(&str, &str)]| {
            ranges(&wanted(manifest, files).manager).first().map(|(range, _)| (*range).to_owned())
        };
        let lock = |text: &'static str| [("pnpm-lock.yaml", text)];
        assert_eq!(of(json!({}), &lock("lockfileVersion: '6.0'\n")).as_deref(), Some("^8.0.0"));
        assert_eq!(of(json!({}), &lock("lockfileVersion: '9.0'\n")).as_deref(), Some(">=9"));
        let older = json!({"pnpm": {"overrides": {"a": "1"}}});
        assert_eq!(of(older, &lock("lockfileVersion: '9.0'\n")).as_deref(), Some(">=9 <11"));
        assert_eq!(
            of(json!({"devEngines": {"packageManager": {"name": "npm", "version": ">=12"}}}), &[]).as_deref(),
            Some(">=12")
        );
        let berry = [(".yarnrc.yml", "yarnPath: .yarn/releases/yarn-4.5.0.cjs\n")];
        assert_eq!(of(json!({"packageManager": "yarn@4.1.0"}), &berry).as_deref(), Some("4.5.0"));
        assert_eq!(of(json!({}), &[("yarn.lock", "# yarn lockfile v1\n")]).as_deref(), Some("^1.22.0"));
        assert_eq!(of(json!({}), &[("yarn.lock", "\n__metadata:\n  version: 6\n")]).as_deref(), Some("^3.0.0"));
        assert_eq!(of(json!({}), &[]), None);
    }
}
