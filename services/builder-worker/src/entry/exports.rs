//! `exports`: what is demanded of it, and what is only warned of.

use serde_json::Value;

use super::{Check, Missing, files::normal, plain};

/// The conditions under which Node loads a package.
const DEMANDED: [&str; 4] = ["import", "require", "node", "default"];
/// Nested deeper, nothing is looked at.
const DEEPEST: usize = 20;

impl Check<'_> {
    pub(super) fn exports(&mut self) {
        let manifest = self.manifest;
        match manifest.get("exports") {
            Some(Value::Object(exports)) if exports.keys().all(|key| key.starts_with('.')) => {
                for (key, target) in exports {
                    self.target(&format!("exports[\"{key}\"]"), target, key == ".");
                }
            }
            Some(exports) => self.target("exports", exports, true),
            None => {}
        }
    }

    fn target(&mut self, field: &str, target: &Value, demanded: bool) {
        for lack in self.lacks(field, target, demanded, DEEPEST) {
            match lack {
                Lack::Demanded(missing) => self.miss(&missing.by, &missing.file, false),
                Lack::Other(line) => self.warn(line),
            }
        }
    }

    fn lacks(&mut self, field: &str, target: &Value, demanded: bool, depth: usize) -> Vec<Lack> {
        let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
        match target {
            Value::String(target) => self.lack(field, target, demanded).into_iter().collect(),
            Value::Object(conditions) => conditions
                .iter()
                .flat_map(|(condition, target)| {
                    let demanded = demanded && DEMANDED.contains(&condition.as_str());
                    self.lacks(&format!("{field}.{condition}"), target, demanded, depth)
                })
                .collect(),
            // Fallbacks: one is enough.
            Value::Array(targets) => {
                let mut lacks: Vec<Vec<Lack>> = Vec::new();
                for target in targets.iter().filter(|target| !target.is_null()) {
                    let these = self.lacks(field, target, demanded, depth);
                    if these.is_empty() {
                        return Vec::new();
                    }
                    lacks.push(these);
                }
                lacks.into_iter().next().unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    fn lack(&mut self, field: &str, target: &str, demanded: bool) -> Option<Lack> {
        let Some(below) = target.strip_prefix("./") else {
            // Another package, which Node allows in `imports` alone.
            let line = format!("{} names {}, which does not begin with ./", plain(field), plain(target));
            return Some(Lack::Other(line));
        };
        let path = normal("", below);
        if let Some((begin, end)) = below.split_once('*') {
            // A star stands for the same text everywhere.
            let end = end.rsplit('*').next().unwrap_or(end);
            let is_one = |file: &str| file.len() >= begin.len() + end.len() && file.ends_with(end);
            let found = self.files.beginning(begin, &self.budget).any(is_one) || self.budget.is_spent();
            return (!found).then(|| Lack::Other(lacking(field, target)));
        }
        if below.is_empty() || below.ends_with('/') {
            return (!self.files.has_folder(&path)).then(|| Lack::Other(lacking(field, target)));
        }
        match (self.files.has(&path), demanded) {
            (true, true) => {
                self.entries.insert(path);
                None
            }
            (true, false) => None,
            (false, true) => Some(Lack::Demanded(Missing { by: field.to_owned(), file: path, blank: false })),
            (false, false) => Some(Lack::Other(lacking(field, &path))),
        }
    }
}

fn lacking(field: &str, target: &str) -> String {
    format!("{} names {}, which is not in the tarball", plain(field), plain(target))
}

/// A target that is missing.
enum Lack {
    Demanded(Missing),
    Other(String),
}
