//! Versions that the workspace holds, where an install takes them from the registry: each member installs by itself.
//!
//! They are what this pipeline publishes, and not what the lock file's author downloaded, so their hash is another one.

use packline_npm::Client;
use packline_workspace::Workspace;
use serde_json::{Map, Value};

use crate::phase::{Failure, Runner};

use super::fetch::look;

/// A member's own version in a lock file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What the registry says of it; `None` where it is not published yet.
    pub(crate) integrity: Option<String>,
}

/// Takes address and hash of such versions out of a lock file; answers which there are, and the changed file. No change
/// where there are none, or the lock file is not understood.
pub(crate) fn unpin(lock: &[u8], workspace: &Workspace) -> Option<(Vec<Held>, Vec<u8>)> {
    let mut lock: Value = serde_json::from_slice(lock).ok()?;
    let is_held = |name: &str, version: &str| {
        workspace.members().iter().map(packline_workspace::Member::manifest).any(|manifest| {
            !manifest.is_private() && manifest.name() == Some(name) && manifest.version() == Some(version)
        })
    };
    let mut held = Vec::new();
    for kind in ["packages", "dependencies"] {
        if let Some(entries) = lock.get_mut(kind).and_then(Value::as_object_mut) {
            unpin_in(entries, &is_held, &mut held);
        }
    }
    held.sort();
    held.dedup();
    (!held.is_empty()).then(|| (held, lock.to_string().into_bytes()))
}

fn unpin_in(entries: &mut Map<String, Value>, is_held: &impl Fn(&str, &str) -> bool, held: &mut Vec<Held>) {
    for (place, entry) in entries {
        let Some(entry) = entry.as_object_mut() else { continue };
        let in_place = place.rsplit_once("node_modules/").map_or(place.as_str(), |(_, name)| name);
        let text = |field: &str| entry.get(field).and_then(Value::as_str);
        let (name, version) = (text("name").unwrap_or(in_place), text("version").unwrap_or_default());
        // An entry without a hash is the project itself, a link, or a folder.
        if entry.contains_key("integrity") && is_held(name, version) {
            held.push(Held { name: name.to_owned(), version: version.to_owned(), integrity: None });
            entry.remove("integrity");
            entry.remove("resolved");
        }
        // The first form of lock files has them in each other.
        if let Some(Value::Object(below)) = entry.get_mut("dependencies") {
            unpin_in(below, is_held, held);
        }
    }
}

/// Asks the registry for each.
///
/// # Errors
/// When it does not answer, or the build is stopped.
pub(crate) async fn ask(held: &mut [Held], client: &Client, runner: &mut Runner) -> Result<(), Failure> {
    for one in held {
        let found = runner.unless_stopped(look(client, &one.name)).await.ok_or_else(Failure::killed)??;
        one.integrity = found.and_then(|found| found.versions.get(&one.version)?.integrity.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use serde_json::json;

    #[test]
    fn the_hash_of_a_version_that_the_workspace_holds_is_taken_out_and_no_other() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("packages/core")).unwrap();
        fs::write(place.path().join("package.json"), r#"{"workspaces": ["packages/*"]}"#).unwrap();
        fs::write(place.path().join("packages/core/package.json"), r#"{"name": "core", "version": "2.0.0"}"#).unwrap();
        let workspace = Workspace::read(place.path()).unwrap();
        let entry =
            |version: &str| json!({"version": version, "resolved": "https://x.example/t.tgz", "integrity": "i"});
        let lock = json!({
            "packages": {
                "": {"name": "app", "dependencies": {"core": "^2.0.0"}},
                "node_modules/core": entry("2.0.0"), "node_modules/other": entry("2.0.0"),
                "node_modules/other/node_modules/core": entry("1.0.0"),
            },
            "dependencies": {"other": {"version": "2.0.0", "integrity": "i", "dependencies": {"core": entry("2.0.0")}}},
        });
        let (held, changed) = unpin(lock.to_string().as_bytes(), &workspace).unwrap();
        assert_eq!(held, [Held { name: "core".into(), version: "2.0.0".into(), integrity: None }]);
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        assert_eq!(changed["packages"]["node_modules/core"], json!({"version": "2.0.0"}));
        assert_eq!(changed["dependencies"]["other"]["dependencies"]["core"], json!({"version": "2.0.0"}));
        assert_eq!(changed["packages"]["node_modules/other"], entry("2.0.0"));
        assert_eq!(changed["packages"]["node_modules/other/node_modules/core"], entry("1.0.0"));
        let older = json!({"packages": {"node_modules/core": entry("1.0.0")}});
        assert_eq!(unpin(older.to_string().as_bytes(), &workspace), None);
    }
}
