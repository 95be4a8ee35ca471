//! yarn.lock as Yarn 1 writes it. It names no members: what one of them satisfies is that member, whoever asks.

use std::{collections::HashMap, path::Path};

use serde_json::{Map, Value};

use crate::{EdgeKind, Manifest, Member, locked::Tree, range};

/// Reads its entries, by all the names that each of them has. A line that is not understood is skipped.
pub(crate) fn parse(text: &str) -> Value {
    let mut entries = Map::new();
    let (mut keys, mut list) = (Vec::<String>::new(), None::<String>);
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        let bare = line.trim_start();
        let depth = line.len() - bare.len();
        let mut words = words(bare).into_iter();
        if depth == 0 {
            keys = words.collect();
            for key in &keys {
                entries.insert(key.clone(), Value::Object(Map::new()));
            }
            list = None;
            continue;
        }
        let (Some(name), value) = (words.next(), words.next()) else { continue };
        if depth == 2 && value.is_none() {
            list = Some(name);
            continue;
        }
        for key in &keys {
            let Some(Value::Object(entry)) = entries.get_mut(key) else { continue };
            let into = match list.as_ref().filter(|_| depth > 2) {
                Some(list) => entry.entry(list.clone()).or_insert_with(|| Value::Object(Map::new())).as_object_mut(),
                None => Some(entry),
            };
            if let Some(into) = into {
                into.insert(name.clone(), value.clone().unwrap_or_default().into());
            }
        }
    }
    Value::Object(entries)
}

/// The words of a line, with or without quotes; commas and colons between them mean nothing.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_end();
    while !rest.is_empty() {
        let end = match rest.strip_prefix('"') {
            Some(quoted) => quoted.find('"').map_or(rest.len(), |end| end + 2),
            None => rest.find([' ', ',']).unwrap_or(rest.len()),
        };
        let (word, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let is_last = behind.is_empty();
        let word = if is_last { word.strip_suffix(':').unwrap_or(word) } else { word };
        words.push(word.trim_matches('"').to_owned());
        rest = behind.trim_start_matches([' ', ',', ':']);
    }
    words
}

/// What Yarn 1 installs.
pub(crate) fn installed(lock: &Value, root: &Manifest, members: &[Member]) -> Value {
    let by_name: HashMap<&str, &Member> =
        members.iter().filter_map(|member| Some((member.manifest().name()?, member))).collect();
    let target = |name: &str, range: &str| {
        let member = by_name.get(name).filter(|member| range::satisfies(member.manifest().version(), range));
        if let Some(member) = member {
            return member.real_folder().to_str().map(str::to_owned);
        }
        let key = format!("{name}@{range}");
        lock.get(&key).map(|entry| place(name, entry))
    };
    let mut tree = Tree::default();
    for (key, entry) in lock.as_object().into_iter().flatten() {
        let Some((name, _)) = key.get(1..).and_then(|rest| rest.find('@')).and_then(|at| key.split_at_checked(at + 1))
        else {
            continue;
        };
        let needs: Vec<(&String, &Value)> = ["dependencies", "optionalDependencies"]
            .into_iter()
            .filter_map(|kind| entry.get(kind)?.as_object())
            .flatten()
            .collect();
        let place = place(name, entry);
        let above = place.rsplit_once("/node_modules/").map_or("", |(above, _)| above);
        for (name, range) in &needs {
            if let Some(target) = range.as_str().and_then(|range| target(name, range)) {
                tree.link(above, name, &target);
            }
        }
        tree.package(&place, needs.iter().map(|(name, _)| name.as_str()));
    }
    let all = members.iter().map(|member| (member.real_folder(), member.manifest()));
    for (folder, manifest) in all.chain([(Path::new(""), root)]) {
        let Some(folder) = folder.to_str() else { continue };
        let kinds = [EdgeKind::Runtime, EdgeKind::Optional, EdgeKind::Development];
        let needs: Vec<(&str, &str)> = kinds.into_iter().flat_map(|kind| manifest.dependencies(kind)).collect();
        for (name, range) in &needs {
            if let Some(target) = target(name, range) {
                tree.link(folder, name, &target);
            }
        }
        tree.package(folder, needs.iter().map(|(name, _)| *name));
    }
    tree.into_lock()
}

fn place(name: &str, entry: &Value) -> String {
    let version = entry.get("version").and_then(Value::as_str).unwrap_or_default();
    format!("node_modules/.yarn/{}@{version}/node_modules/{name}", name.replace('/', "+"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn entries_have_all_their_names() {
        let lock = parse(
            "# yarn lockfile v1\n\n\n\"@x/a@^1.0.0\", \"@x/a@^1.1.0\":\n  version \"1.2.0\"\n  resolved \"https://one.example/@x/a/-/a-1.2.0.tgz#00\"\n  dependencies:\n    \"@x/b\" \"^2.0.0 || 3\"\n    c \"*\"\n  optionalDependencies:\n    d \"1\"\n\nc@*, \"c@>= 1 < 3\":\n  version \"2.0.0\"\n",
        );
        let a = json!({
            "version": "1.2.0", "resolved": "https://one.example/@x/a/-/a-1.2.0.tgz#00",
            "dependencies": {"@x/b": "^2.0.0 || 3", "c": "*"}, "optionalDependencies": {"d": "1"},
        });
        let c = json!({"version": "2.0.0"});
        assert_eq!(lock, json!({"@x/a@^1.0.0": a, "@x/a@^1.1.0": a, "c@*": c, "c@>= 1 < 3": c}));
        assert_eq!(parse("   \n:\n  a\n\"b"), json!({"": {}, "b": {}}));
    }
}
