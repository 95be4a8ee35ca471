use std::{collections::BTreeMap, fs, io, path::Path};

use serde_json::{Map, Value};

use crate::EdgeKind;

/// A package.json.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest(Map<String, Value>);

/// Why a package.json cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("failed to read: {0}")]
    Read(#[from] io::Error),
    /// It is not JSON.
    #[error("is not JSON: {0}")]
    Json(#[from] packline_json::JsonError),
    /// It is JSON of another kind, which is named.
    #[error("is {0}, not an object")]
    Kind(&'static str),
}

impl Manifest {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no JSON object.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        Self::parse(&fs::read(path)?)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        match packline_json::parse(text)? {
            Value::Object(fields) => Ok(Self(fields)),
            Value::Null => Err(ManifestError::Kind("null")),
            Value::Bool(_) => Err(ManifestError::Kind("a boolean")),
            Value::Number(_) => Err(ManifestError::Kind("a number")),
            Value::String(_) => Err(ManifestError::Kind("a string")),
            Value::Array(_) => Err(ManifestError::Kind("an array")),
        }
    }

    /// All its fields.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// One field.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// Its name, unless that is empty or no string.
    pub fn name(&self) -> Option<&str> {
        self.text("name")
    }

    /// Its version, unless that is empty or no string.
    pub fn version(&self) -> Option<&str> {
        self.text("version")
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Whether it is never published: `private` is true in JavaScript's eyes.
    pub fn is_private(&self) -> bool {
        self.get("private").is_some_and(is_truthy)
    }

    /// Its scripts, with the commands that they run.
    pub fn scripts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries("scripts")
    }

    /// The command of one script.
    pub fn script(&self, name: &str) -> Option<&str> {
        self.get("scripts")?.get(name)?.as_str()
    }

    /// The packages that it names as dependencies of this kind, with what it wants of each.
    pub fn dependencies(&self, kind: EdgeKind) -> impl Iterator<Item = (&str, &str)> {
        let field = match kind {
            EdgeKind::Runtime => "dependencies",
            EdgeKind::Peer | EdgeKind::OptionalPeer => "peerDependencies",
            EdgeKind::Development => "devDependencies",
            EdgeKind::Optional => "optionalDependencies",
        };
        self.entries(field).filter(move |(name, _)| match kind {
            // npm drops it from `dependencies`
            EdgeKind::Runtime => self.entries("optionalDependencies").all(|(optional, _)| optional != *name),
            EdgeKind::Peer => !self.is_optional_peer(name),
            EdgeKind::OptionalPeer => self.is_optional_peer(name),
            EdgeKind::Development | EdgeKind::Optional => true,
        })
    }

    fn is_optional_peer(&self, name: &str) -> bool {
        let meta = self.get("peerDependenciesMeta").and_then(|meta| meta.get(name));
        meta.and_then(|meta| meta.get("optional")).is_some_and(is_truthy)
    }

    /// The commands that it brings, with their files.
    pub fn bin(&self) -> BTreeMap<String, String> {
        match self.get("bin") {
            Some(Value::String(file)) => {
                let name = self.name().map(|name| name.rsplit('/').next().unwrap_or(name));
                name.map(|name| (name.to_owned(), file.clone())).into_iter().collect()
            }
            _ => self.entries("bin").map(|(name, file)| (name.to_owned(), file.to_owned())).collect(),
        }
    }

    /// Those of an object's entries that are strings.
    fn entries(&self, field: &str) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.get(field).and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }
}

/// What JavaScript takes for true.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn private_is_what_javascript_takes_for_true() {
        for (value, is_private) in [
            ("true", true),
            ("\"false\"", true),
            ("1", true),
            ("{}", true),
            ("[]", true),
            ("1e999", false),
            ("false", false),
            ("\"\"", false),
            ("0", false),
            ("-0.0", false),
            ("null", false),
        ] {
            assert_eq!(manifest(&format!("{{\"private\": {value}}}")).is_private(), is_private, "{value}");
        }
        assert!(!manifest("{}").is_private());
    }

    #[test]
    fn names_and_versions_are_texts_that_are_not_empty() {
        let all = manifest(r#"{"name": "a", "version": "1.0.0"}"#);
        assert_eq!((all.name(), all.version()), (Some("a"), Some("1.0.0")));
        let none = manifest(r#"{"name": "", "version": 1}"#);
        assert_eq!((none.name(), none.version()), (None, None));
    }

    #[test]
    fn dependencies_have_a_kind() {
        let manifest = manifest(
            r#"{"dependencies": {"a": "1", "b": "2", "odd": 3}, "optionalDependencies": {"b": "2"},
                "peerDependencies": {"c": "3", "d": "4"}, "peerDependenciesMeta": {"d": {"optional": true}, "x": 1},
                "devDependencies": ["e"]}"#,
        );
        let of = |kind| manifest.dependencies(kind).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(of(EdgeKind::Runtime), ["a"]);
        assert_eq!(of(EdgeKind::Optional), ["b"]);
        assert_eq!(of(EdgeKind::Peer), ["c"]);
        assert_eq!(of(EdgeKind::OptionalPeer), ["d"]);
        assert!(of(EdgeKind::Development).is_empty());
    }

    #[test]
    fn a_single_command_is_called_like_its_package_without_the_scope() {
        let bin = |text: &str| manifest(text).bin().into_iter().collect::<Vec<_>>();
        let one = |name: &str, file: &str| vec![(name.to_owned(), file.to_owned())];
        assert_eq!(bin(r#"{"name": "@acme/tool", "bin": "cli.js"}"#), one("tool", "cli.js"));
        assert_eq!(bin(r#"{"name": "tool", "bin": {"t": "./cli.js", "odd": 1}}"#), one("t", "./cli.js"));
        assert!(bin(r#"{"bin": "cli.js"}"#).is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let error = Manifest::parse(b"[]").unwrap_err().to_string();
        assert_eq!(error, "is an array, not an object");
        let error = Manifest::parse(b"{").unwrap_err().to_string();
        assert!(error.starts_with("is not JSON: expected a key"), "{error}");
    }
}
