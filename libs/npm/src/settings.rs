//! npm's settings: variables, the file of a project, the user's file, the global file, and the file of npm itself.

use std::{collections::BTreeSet, fs, io, path::Path, path::PathBuf};

use thiserror::Error;
use url::Url;

use crate::{
    environment::Environment,
    expand::expand,
    ini::{self, Value},
};

/// Where packages come from and go to unless a setting names another registry.
pub const DEFAULT_REGISTRY: &str = "https://registry.npmjs.org";

/// A file that settings name or are in, and that cannot be read; one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} {path} cannot be read: {why}", path = path.display())]
pub struct Unreadable {
    /// What the file is to npm.
    pub what: String,
    /// Where it is.
    pub path: PathBuf,
    /// What the system said.
    pub why: String,
}

/// How a file is read; `None` where there is none.
pub(crate) type Read<'a> = &'a dyn Fn(&Path) -> io::Result<Option<String>>;

/// What npm is set to.
#[derive(Clone, Default)]
pub struct Settings {
    /// What counts most comes first.
    layers: Vec<Vec<(String, Value)>>,
    pub(crate) environment: Environment,
}

impl Settings {
    /// Reads what npm would read outside any project: variables `npm_config_*`, then the user's file, then the global
    /// file, then the file of npm itself.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn read(environment: Environment) -> Result<Self, Unreadable> {
        Self::read_by(environment, &read_file)
    }

    /// Reads what npm would read in `project`, the folder of a `package.json`: as [`Self::read`], with the project's
    /// file between the variables and the user's file. Paths are relative to `project`.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn read_in(project: &Path, environment: Environment) -> Result<Self, Unreadable> {
        Self::read_in_by(project, environment, &read_file)
    }

    pub(crate) fn read_by(environment: Environment, read: Read<'_>) -> Result<Self, Unreadable> {
        Self::of_variables(environment, read)?.with_files(read)
    }

    pub(crate) fn read_in_by(project: &Path, environment: Environment, read: Read<'_>) -> Result<Self, Unreadable> {
        let mut settings = Self::of_variables(environment.within(project), read)?;
        let path = project.join(".npmrc");
        // In the home folder it is the user's file.
        if !settings.is_global() && path != settings.user() {
            let project = file("npm's project settings", path, read, &settings.environment)?;
            settings.layers.insert(1, project);
        }
        settings.with_files(read)
    }

    fn of_variables(environment: Environment, read: Read<'_>) -> Result<Self, Unreadable> {
        let builtin = match environment.builtin() {
            Some(path) => file("npm's own settings", path, read, &environment)?,
            None => Vec::new(),
        };
        Ok(Self { layers: vec![variables(&environment), builtin], environment })
    }

    /// With the user's and the global file. Each may be named in what counts more and in what was read before.
    fn with_files(mut self, read: Read<'_>) -> Result<Self, Unreadable> {
        let user = file("npm's user settings", self.user(), read, &self.environment)?;
        self.insert_above_builtin(user);
        let prefix = || self.path("prefix").or_else(|| self.environment.prefix());
        if let Some(global) = self.path("globalconfig").or_else(|| Some(prefix()?.join("etc/npmrc"))) {
            let global = file("npm's global settings", global, read, &self.environment)?;
            self.insert_above_builtin(global);
        }
        Ok(self)
    }

    fn insert_above_builtin(&mut self, layer: Vec<(String, Value)>) {
        self.layers.insert(self.layers.len().saturating_sub(1), layer);
    }

    fn user(&self) -> PathBuf {
        self.path("userconfig").unwrap_or_else(|| self.environment.path("~/.npmrc"))
    }

    /// Whether npm works on what is installed globally, and looks for no project.
    fn is_global(&self) -> bool {
        self.value("global") == Some(&Value::Flag(true)) || self.text("location").as_deref() == Some("global")
    }

    /// The registry of a scope (`@acme`), or of packages without one; without a slash at its end.
    pub fn registry(&self, scope: Option<&str>) -> String {
        let of_scope = |scope: &str| self.text(&format!("@{}:registry", scope.trim_start_matches('@')));
        let own = scope.and_then(of_scope);
        let set = own.or_else(|| of_scope(&self.text("scope")?)).or_else(|| {
            // What is set and is no address must fail, as with npm: it was not meant to be the public registry.
            self.value("registry").map(|value| value.text().unwrap_or_default())
        });
        set.as_deref().unwrap_or(DEFAULT_REGISTRY).trim().trim_end_matches('/').to_owned()
    }

    /// The scopes (`@acme`) that a registry is set for.
    pub fn scopes(&self) -> BTreeSet<&str> {
        let keys = self.layers.iter().flatten().map(|(key, _)| key.as_str());
        let scopes = keys.filter(|key| key.starts_with('@') && self.text(key).is_some());
        scopes.filter_map(|key| key.strip_suffix(":registry")).collect()
    }

    /// Whether a setting that is on or off is on.
    pub fn is_on(&self, key: &str) -> bool {
        self.value(key) == Some(&Value::Flag(true))
    }

    /// What a setting is set to where it counts most.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        let mut found = self.layers.iter().filter_map(|layer| layer.iter().find(|(known, _)| known == key));
        found.find(|(_, value)| is_valid(key, value)).map(|(_, value)| value)
    }

    /// The same as text; `None` for what npm takes for none.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.value(key)?.text()
    }

    /// Each setting of each place, so that what counts more comes later.
    pub(crate) fn rising(&self) -> impl Iterator<Item = &(String, Value)> {
        self.layers.iter().rev().flatten()
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(|text| self.environment.path(&text))
    }
}

/// A file, and `None` where there is none.
pub(crate) fn read_file(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn file(
    what: &str,
    path: PathBuf,
    read: Read<'_>,
    environment: &Environment,
) -> Result<Vec<(String, Value)>, Unreadable> {
    match read(&path) {
        Ok(text) => Ok(layer(ini::parse(&text.unwrap_or_default()), environment)),
        Err(error) => Err(Unreadable { what: what.to_owned(), path, why: error.to_string() }),
    }
}

/// What is set by `npm_config_*`, in small or capital letters. An empty variable sets nothing.
fn variables(environment: &Environment) -> Vec<(String, Value)> {
    const PREFIX: &str = "npm_config_";
    let named = environment.variables().filter(|(_, value)| !value.is_empty()).filter_map(|(name, value)| {
        let (prefix, key) = name.split_at_checked(PREFIX.len())?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return None;
        }
        let key = match key.chars().next() {
            // What belongs to one registry is taken as it is.
            Some('/') if key.starts_with("//") => key.to_owned(),
            Some('_') => format!("_{}", key.get(1..)?.replace('_', "-").to_lowercase()),
            _ => key.replace('_', "-").to_lowercase(),
        };
        Some((key, Value::Text(value.to_owned())))
    });
    let mut set: Vec<(String, Value)> = Vec::new();
    for (key, value) in named {
        set.retain(|(known, _)| *known != key);
        set.push((key, value));
    }
    layer(set, environment)
}

/// With variables filled in, and words taken for what they mean to npm.
fn layer(settings: Vec<(String, Value)>, environment: &Environment) -> Vec<(String, Value)> {
    let fill = |text: &str| expand(text, |name| environment.variable(name).map(str::to_owned));
    let one = |(key, value): (String, Value)| {
        let key = fill(&key);
        let is_list = matches!(key.as_str(), "ca" | "noproxy");
        let is_text = is_list || matches!(key.as_str(), "cert" | "key" | "scope" | "cafile");
        let value = match value {
            Value::Text(text) => match (ini::trim(&text), is_text) {
                ("true", false) => Value::Flag(true),
                ("false", false) => Value::Flag(false),
                ("null" | "undefined", false) => Value::Null,
                ("", _) if key == "strict-ssl" => Value::Flag(true),
                (text, _) if is_list && text.contains("\n\n") => Value::List(text.split("\n\n").map(fill).collect()),
                (text, _) => Value::Text(fill(text)),
            },
            Value::List(items) if is_list => Value::List(items.iter().map(|item| fill(ini::trim(item))).collect()),
            other => other,
        };
        (key, value)
    };
    settings.into_iter().map(one).collect()
}

/// Whether npm would take this value: one that it would not take is as if it were not set.
fn is_valid(key: &str, value: &Value) -> bool {
    let is_url = || value.text().is_some_and(|text| Url::parse(&text).is_ok_and(|url| url.has_host()));
    match key {
        "https-proxy" => *value == Value::Null || is_url(),
        "proxy" => matches!(value, Value::Null | Value::Flag(false)) || is_url(),
        "userconfig" | "globalconfig" | "prefix" | "cafile" => matches!(value, Value::Text(_)),
        _ => true,
    }
}

#[cfg(test)]
pub(crate) mod tests;
