//! Lock files without versions of members, which are then linked instead.

use packline_workspace::{parse_yaml, to_yaml};
use serde_json::{Map, Value};

/// A lock file of pnpm; `None` where it is not understood.
pub(super) fn without_of_pnpm(lock: &str, members: &[(&str, &str)]) -> Option<String> {
    let mut lock = parse_yaml(lock).ok()?;
    let is_one = |name: &str, version: &str| {
        let plain = version.split('(').next().unwrap_or_default();
        members.iter().any(|(member, of_member)| *member == name && *of_member == plain)
    };
    let is_key = |key: &str| {
        let plain = key.trim_start_matches('/').split('(').next().unwrap_or_default();
        plain.rsplit_once('@').is_some_and(|(name, version)| is_one(name, version))
    };
    for kind in ["packages", "snapshots"] {
        if let Some(Value::Object(entries)) = lock.get_mut(kind) {
            entries.retain(|key, _| !is_key(key));
        }
    }
    let importers = lock.get_mut("importers").and_then(Value::as_object_mut);
    for importer in importers.into_iter().flat_map(Map::values_mut) {
        for kind in ["dependencies", "devDependencies", "optionalDependencies"] {
            if let Some(Value::Object(named)) = importer.get_mut(kind) {
                let version = |entry: &Value| entry.get("version").unwrap_or(entry).as_str().map(str::to_owned);
                named.retain(|name, entry| !version(entry).is_some_and(|version| is_one(name, &version)));
            }
        }
    }
    to_yaml(&lock).ok()
}

/// A lock file of Yarn from version 2 on.
pub(super) fn without_of_yarn(lock: &str, members: &[(&str, &str)]) -> String {
    let is_one = |block: &&str| {
        members.iter().any(|(name, version)| block.contains(&format!("\n  resolution: \"{name}@npm:{version}\"\n")))
    };
    lock.split("\n\n").filter(|block| !is_one(&&*format!("{block}\n"))).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_of_members_are_taken_out() {
        let members = [("@x/core", "1.2.3")];
        let yarn = "__metadata:\n  version: 8\n\n\"@x/core@npm:^1\":\n  version: 1.2.3\n  resolution: \"@x/core@npm:1.2.3\"\n\n\"@x/core@npm:^0.1\":\n  version: 0.1.0\n  resolution: \"@x/core@npm:0.1.0\"\n";
        let left = without_of_yarn(yarn, &members);
        assert!(!left.contains("1.2.3") && left.contains("0.1.0") && left.contains("version: 8"), "{left}");
        let pnpm = "lockfileVersion: '9.0'\nimporters:\n  a:\n    dependencies:\n      '@x/core': {specifier: ^1, version: 1.2.3(y@1.0.0)}\n      z: {specifier: ^1, version: 1.2.3}\npackages:\n  '@x/core@1.2.3': {}\n  z@1.2.3: {}\nsnapshots:\n  '@x/core@1.2.3(y@1.0.0)': {}\n  z@1.2.3: {}\n";
        let left = parse_yaml(&without_of_pnpm(pnpm, &members).unwrap()).unwrap();
        assert!(!left.to_string().contains("@x/core"), "{left}");
        assert!(
            left["snapshots"].get("z@1.2.3").is_some() && left["importers"]["a"]["dependencies"].get("z").is_some()
        );
    }
}
