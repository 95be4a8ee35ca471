//! Package names and packages, hostile until parsed.

use std::{borrow::Borrow, collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::{
    PackagePath, key,
    record::{FIRST_PROTOCOL, PROTOCOL},
};

/// The longest name that npm accepts, in bytes.
const MAX_NAME: usize = 214;

/// The most dependencies that one package may name.
const MAX_DEPENDENCIES: usize = 1000;

/// Priorities beyond this are typing errors, and sums of them would not fit.
const MAX_PRIORITY: i64 = 1_000_000_000;

/// The most arrays and objects that a package may have within each other, itself included: it is written and read again
/// within others.
const MAX_DEPTH: usize = 64;

/// The longest category, in bytes: it is a word that chooses a recipe.
pub const MAX_CATEGORY: usize = 200;

/// The category of a package that names none.
pub const NO_CATEGORY: &str = "unknown";

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a package name: {rule}")]
pub struct NameError {
    name: String,
    rule: &'static str,
}

impl NameError {
    pub(crate) fn new(name: &str, rule: &'static str) -> Self {
        Self { name: shown(name), rule }
    }
}

/// A text of a stranger in a line for people.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().count() > 60 {
        shown.push('…');
    }
    shown
}

/// An npm package name, `name` or `@scope/name`.
///
/// npm's grammar for new packages made stricter: ASCII lower case, digits, `-`, `_`, `.` and `~`; no
/// part begins with `-`, `.` or `_`; nowhere `..` or `node_modules`; at most 214 bytes. Folders,
/// subjects, keys and arguments are derived from this type alone. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(Arc<str>);

impl PackageName {
    /// As npm writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its scope: the folder below `packages/` of a package that has no path.
    pub fn unscoped(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// `@scope`, where it has one.
    pub fn scope(&self) -> Option<&str> {
        self.0.split_once('/').map(|(scope, _)| scope)
    }

    /// The key and subject token of this name, see [`crate::key`].
    pub fn key(&self) -> String {
        key::encode(&self.0)
    }

    /// The name whose key this is.
    ///
    /// # Errors
    /// When `key` is not the key of an accepted name.
    pub fn from_key(key: &str) -> Result<Self, NameError> {
        key::decode(key)
    }

    /// From `acme/core`, `@acme/core` or `core`, as people type it where a bare `@` means a file.
    ///
    /// # Errors
    /// When it is not an accepted name in either form.
    pub fn from_typed(text: &str) -> Result<Self, NameError> {
        if text.contains('/') && !text.starts_with('@') { format!("@{text}").parse() } else { text.parse() }
    }
}

/// A map by names is asked by the text of one as well.
impl Borrow<str> for PackageName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule| Err(NameError::new(text, rule));
        if text.is_empty() {
            return refuse("a name is `name` or `@scope/name`, and not empty");
        }
        if text.len() > MAX_NAME {
            return refuse("a name has at most 214 bytes");
        }
        let (scope, name) = match text.strip_prefix('@') {
            None => (None, text),
            Some(rest) => match rest.split_once('/') {
                Some((scope, name)) => (Some(scope), name),
                None => return refuse("after `@scope` come `/` and the name"),
            },
        };
        for part in scope.into_iter().chain([name]) {
            if part.is_empty() {
                return refuse("neither scope nor name is empty");
            }
            if !part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.~".contains(&b)) {
                return refuse("scope and name consist of a-z, 0-9, `-`, `_`, `.` and `~`");
            }
            if part.starts_with(['-', '.', '_']) {
                return refuse("neither scope nor name begins with `-`, `.` or `_`");
            }
            if part.contains("..") {
                return refuse("`..` stands nowhere in a name");
            }
            if part == "node_modules" || part == "favicon.ico" {
                return refuse("`node_modules` and `favicon.ico` are taken");
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PackageName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PackageName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A package as it is announced, with whatever fields of their own its owners gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Stored")]
pub struct Package {
    /// Its npm name.
    pub name: PackageName,
    /// Higher is built first.
    #[serde(default)]
    pub priority: i64,
    /// What must be published before it, each once, in the order given.
    #[serde(default)]
    pub dependencies: Vec<PackageName>,
    /// What is built before it where it can be, each once, in the order given. It needs none of them to be published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_after: Vec<PackageName>,
    /// The catalogue's own identity of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Chooses the recipe; `unknown` where none is given.
    #[serde(default = "no_category")]
    pub category: String,
    /// Its folder in the workspace, where it is another than [`PackagePath::of_name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PackagePath>,
    /// Unknown fields, kept and passed on; also a `path` of another shape than [`PackagePath`], and a `buildAfter` that
    /// is no list of names.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A [`Package`] as it is read: what stands in `path` and `buildAfter` is understood or one of its owners' own fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    name: PackageName,
    #[serde(default)]
    priority: i64,
    #[serde(default)]
    dependencies: Vec<PackageName>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default = "no_category")]
    category: String,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl From<Stored> for Package {
    fn from(Stored { name, priority, dependencies, id, category, mut extra }: Stored) -> Self {
        let path = take_path(&mut extra);
        let build_after = take_build_after(&mut extra);
        Self { name, priority, dependencies, build_after, id, category, path, extra }
    }
}

/// Takes a `path` out of a package's fields; one of another shape stays there.
fn take_path(fields: &mut Map<String, Value>) -> Option<PackagePath> {
    let path = match fields.get(PATH) {
        Some(Value::String(text)) => Some(text.parse().ok()?),
        Some(Value::Null) => None,
        Some(_) | None => return None,
    };
    fields.remove(PATH);
    path
}

/// Takes `buildAfter` out of a package's fields; one of another shape stays there.
fn take_build_after(fields: &mut Map<String, Value>) -> Vec<PackageName> {
    let names = match fields.get(BUILD_AFTER) {
        Some(Value::Null) => Vec::new(),
        Some(value) => match names(value) {
            Ok(names) => names,
            Err(_) => return Vec::new(),
        },
        None => return Vec::new(),
    };
    fields.remove(BUILD_AFTER);
    names
}

/// Reads a list of names, each once, in the order given; the error completes a sentence about its field.
fn names(value: &Value) -> Result<Vec<PackageName>, String> {
    let Value::Array(items) = value else {
        return Err(format!("is an array of at most {MAX_DEPENDENCIES} names"));
    };
    if items.len() > MAX_DEPENDENCIES {
        return Err(format!("is an array of at most {MAX_DEPENDENCIES} names"));
    }
    let mut names = Vec::with_capacity(items.len());
    let mut seen = BTreeSet::new();
    for item in items {
        let Value::String(text) = item else { return Err(format!("holds names, not {}", kind(item))) };
        let name: PackageName = text.parse().map_err(|error| format!("holds names: {error}"))?;
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Where the path of a package stands among its fields.
const PATH: &str = "path";
/// Where the packages that it is built after stand among its fields.
const BUILD_AFTER: &str = "buildAfter";

fn no_category() -> String {
    NO_CATEGORY.into()
}

impl Package {
    /// A package of which only the name is known.
    pub fn named(name: PackageName) -> Self {
        Self {
            name,
            priority: 0,
            dependencies: Vec::new(),
            build_after: Vec::new(),
            id: None,
            category: no_category(),
            path: None,
            extra: Map::new(),
        }
    }

    /// Its folder in the workspace.
    pub fn folder(&self) -> PackagePath {
        self.path.clone().unwrap_or_else(|| PackagePath::of_name(&self.name))
    }

    /// The protocol that a worker has to speak to build it.
    pub fn protocol(&self) -> u32 {
        let elsewhere = self.path.as_ref().is_some_and(|path| !path.is_of_name(&self.name));
        if elsewhere { PROTOCOL } else { FIRST_PROTOCOL }
    }

    /// Which fields of those that it was announced with are ignored, each with the reason.
    pub fn ignored_fields(&self) -> Vec<(&'static str, String)> {
        let path = self.extra.get(PATH).and_then(|value| match value {
            Value::String(text) => text.parse::<PackagePath>().err().map(|error| error.to_string()),
            other => Some(format!("`path` is a string, not {}", kind(other))),
        });
        let build_after = self.extra.get(BUILD_AFTER).and_then(|value| names(value).err());
        let path = path.map(|why| (PATH, why));
        path.into_iter().chain(build_after.map(|why| (BUILD_AFTER, format!("`{BUILD_AFTER}` {why}")))).collect()
    }

    /// Reads one announced package.
    ///
    /// # Errors
    /// One line that says what is wrong and what would be right.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let Value::Object(fields) = value else {
            return Err(format!("a package is an object with a `name`, not {}", kind(value)));
        };
        if !is_shallow(value, MAX_DEPTH) {
            return Err(format!("a package has at most {MAX_DEPTH} arrays and objects within each other"));
        }
        let mut fields = fields.clone();
        fields.remove("schema");
        let name = match fields.remove("name") {
            Some(Value::String(name)) => name.parse::<PackageName>().map_err(|e| e.to_string())?,
            Some(other) => return Err(format!("`name` is a string, not {}", kind(&other))),
            None => return Err("`name` is missing; it is the only field that must be there".into()),
        };
        let fail = |what: String| Err(format!("{name}: {what}"));
        let priority = match fields.remove("priority") {
            None | Some(Value::Null) => 0,
            Some(value) => match whole(&value) {
                Some(number) if (-MAX_PRIORITY..=MAX_PRIORITY).contains(&number) => number,
                _ => return fail(format!("`priority` is a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")),
            },
        };
        let dependencies = match fields.remove("dependencies") {
            None | Some(Value::Null) => Vec::new(),
            Some(value) => match names(&value) {
                Ok(names) => names,
                Err(problem) => return fail(format!("`dependencies` {problem}")),
            },
        };
        let id = match fields.remove("id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id),
            Some(Value::Number(id)) => Some(id.to_string()),
            Some(other) => return fail(format!("`id` is a string, not {}", kind(&other))),
        };
        let category = match fields.remove("category") {
            None | Some(Value::Null) => no_category(),
            Some(Value::String(category)) if category.len() <= MAX_CATEGORY => category,
            Some(Value::String(_)) => return fail(format!("`category` has at most {MAX_CATEGORY} bytes")),
            Some(other) => return fail(format!("`category` is a string, not {}", kind(&other))),
        };
        let path = take_path(&mut fields);
        let build_after = take_build_after(&mut fields);
        Ok(Self { name, priority, dependencies, build_after, id, category, path, extra: fields })
    }

    /// Whether `newer` is something else to build: anything but priority, id, category, status and what is built
    /// before it where it can be differs.
    pub fn builds_differently(&self, newer: &Self) -> bool {
        let without_status = |package: &Self| {
            let mut extra = package.extra.clone();
            extra.remove("status");
            extra
        };
        self.dependencies != newer.dependencies
            || self.folder() != newer.folder()
            || without_status(self) != without_status(newer)
    }
}

/// Whether a value has at most so many levels.
fn is_shallow(value: &Value, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else { return !matches!(value, Value::Array(_) | Value::Object(_)) };
    match value {
        Value::Array(items) => items.iter().all(|item| is_shallow(item, left)),
        Value::Object(fields) => fields.values().all(|field| is_shallow(field, left)),
        _ => true,
    }
}

/// The number, where the value is a whole one (`3.0` is).
pub(crate) fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| {
        let float = value.as_f64()?;
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and exact")]
        (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
    })
}

/// The JSON type of a value, for a message to a person.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
