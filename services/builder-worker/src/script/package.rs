//! What a script is told of its package, by npm's rules.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use semver::Version;
use serde_json::{Map, Value};

/// What npm reads a `package.json` for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is taken as it stands.
    ToPack,
    /// Name, version and scripts are cleaned.
    ToPublish,
}

/// A `package.json`, read by npm.
pub(super) struct Package<'a> {
    pub(super) manifest: &'a Value,
    pub(super) reading: Reading,
    /// Whether `directories.bin` counts where it is read to pack.
    pub(super) finds_programs: bool,
}

impl Package<'_> {
    /// The script of this name.
    pub(super) fn script(&self, name: &str) -> Option<String> {
        let script = self.manifest.get("scripts")?.as_object()?.get(name)?.as_str()?;
        let script = if self.reading == Reading::ToPublish { without_folder(script) } else { script };
        (!script.is_empty()).then(|| script.to_owned())
    }

    /// `name@version`, where it has both.
    pub(super) fn id(&self) -> Option<String> {
        let text = |value: Option<Value>| Some(value?.as_str()?.to_owned()).filter(|text| !text.is_empty());
        Some(format!("{}@{}", text(self.name())?, text(self.version())?))
    }

    /// All `npm_package_…` that come from the `package.json`.
    pub(super) fn variables(&self, folder: &Path) -> BTreeMap<String, String> {
        let mut told = BTreeMap::new();
        let own = |field: &str| self.manifest.get(field).cloned();
        let bins = self.bins(folder).map(Value::Object);
        let fields = [
            ("name", self.name()),
            ("version", self.version()),
            ("config", own("config")),
            ("engines", own("engines")),
            ("bin", bins),
        ];
        for (field, value) in fields {
            if let Some(value) = value {
                tell(&format!("npm_package_{field}"), &value, &mut told);
            }
        }
        told
    }

    fn name(&self) -> Option<Value> {
        match (self.manifest.get("name"), self.reading) {
            (Some(Value::String(name)), Reading::ToPublish) => Some(name.trim().into()),
            (None, Reading::ToPublish) => Some("".into()),
            (name, _) => name.cloned(),
        }
    }

    fn version(&self) -> Option<Value> {
        match (self.manifest.get("version"), self.reading) {
            (Some(Value::String(version)), Reading::ToPublish) => Some(clean(version).into()),
            (None, Reading::ToPublish) => Some("".into()),
            (version, _) => version.cloned(),
        }
    }

    /// Its programs by name: those of `bin`, else those in the folder `directories.bin`.
    fn bins(&self, folder: &Path) -> Option<Map<String, Value>> {
        let bin = self.manifest.get("bin").filter(|bin| is_truthy(bin));
        let name = self.name().as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let named = match bin {
            Some(Value::String(path)) if !name.is_empty() => vec![(name, path.clone())],
            Some(Value::Array(paths)) => {
                paths.iter().filter_map(|path| Some((base(path.as_str()?), path.as_str()?.to_owned()))).collect()
            }
            Some(Value::Object(bins)) => {
                bins.iter().filter_map(|(name, path)| Some((name.clone(), path.as_str()?.to_owned()))).collect()
            }
            _ => Vec::new(),
        };
        let clean = named.iter().map(|(name, path)| (base(&inside(name)), inside(path)));
        let clean: Map<String, Value> = clean
            .filter(|(name, path)| !name.is_empty() && !path.is_empty())
            .map(|(name, path)| (name, path.into()))
            .collect();
        if !clean.is_empty() {
            return Some(clean);
        }
        let directory = self.manifest.get("directories")?.get("bin")?.as_str().filter(|path| !path.is_empty())?;
        // What is no `bin` is removed before that is looked at, when it is read to publish.
        let counts = match self.reading {
            Reading::ToPublish => true,
            Reading::ToPack => self.finds_programs && bin.is_none(),
        };
        counts.then(|| programs(folder, &inside(directory)))
    }
}

/// What JavaScript takes for true.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// One variable for each value, however deep it is.
fn tell(name: &str, value: &Value, told: &mut BTreeMap<String, String>) {
    let mut one = |text: String| {
        told.insert(name.to_owned(), text);
    };
    match value {
        Value::Null | Value::Bool(false) => one(String::new()),
        Value::Bool(true) => one("true".to_owned()),
        Value::Number(value) => one(number(value)),
        Value::String(text) => one(text.clone()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                tell(&format!("{name}_{index}"), item, told);
            }
        }
        Value::Object(fields) => {
            for (field, item) in fields {
                tell(&format!("{name}_{field}"), item, told);
            }
        }
    }
}

/// A number as JavaScript writes it.
fn number(number: &serde_json::Number) -> String {
    let Some(value) = number.as_f64() else { return number.to_string() };
    if value == 0.0 {
        return "0".to_owned();
    }
    match value.abs() {
        size if size >= 1e21 => format!("{value:e}").replace('e', "e+"),
        size if size < 1e-6 => format!("{value:e}"),
        _ => value.to_string(),
    }
}

/// A script without `node_modules/.bin/` at its start: its programs are on PATH.
fn without_folder(script: &str) -> &str {
    let separator = ['/', '\\'];
    let rest = script.strip_prefix('.').and_then(|rest| rest.strip_prefix(separator)).unwrap_or(script);
    let rest = rest.strip_prefix("node_modules").and_then(|rest| rest.strip_prefix(separator));
    rest.and_then(|rest| rest.strip_prefix(".bin")).and_then(|rest| rest.strip_prefix(separator)).unwrap_or(script)
}

/// A version without a `v` before it and without build metadata.
fn clean(version: &str) -> String {
    let plain = version.trim().trim_start_matches(['=', 'v', ' ']);
    match Version::parse(plain) {
        Ok(parsed) => Version { build: semver::BuildMetadata::EMPTY, ..parsed }.to_string(),
        Err(_) => version.to_owned(),
    }
}

/// A path below the package, whatever it says.
fn inside(path: &str) -> String {
    let path = path.replace(['\\', ':'], "/");
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    let folder = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    parts.join("/") + folder
}

fn base(path: &str) -> String {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}

/// All that is in a folder of programs, but for what begins with a dot.
fn programs(folder: &Path, below: &str) -> Map<String, Value> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(folder.join(below).join(&inner)).into_iter().flatten().flatten() {
            let path = inner.join(entry.file_name());
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path.clone());
            }
            found.push(path.display().to_string());
        }
    }
    found.sort();
    found.iter().map(|path| (base(path), format!("{below}/{}", inside(path)).into())).collect()
}
