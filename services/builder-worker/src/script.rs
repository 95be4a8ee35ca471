//! The scripts of a package that belong to `npm publish`, run as npm runs them but without npm: the command, the
//! environment and the lines that npm prints first.
//!
//! What npm tells every script (its settings, where it and Node are) depends on its version and on the files of
//! settings of the machine. So npm is asked once, see [`Toolchain`], and a [`Script`] fills in what differs from package
//! to package and from build to build.

mod package;
mod toolchain;

use std::{collections::BTreeMap, path::Path};

use packline_npm::DEFAULT_REGISTRY;
use serde_json::Value;

use crate::npm::Npm;

use package::{Package, Reading};
pub use toolchain::{Question, Toolchain, Toolchains};

/// The names of these scripts.
pub const SCRIPTS: [&str; 6] = ["prepublishOnly", "prepack", "prepare", "postpack", "publish", "postpublish"];

/// Where a package is in its publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Before all else.
    PrepublishOnly,
    /// Before the tarball is packed.
    Prepack,
    /// The same, after `prepack`.
    Prepare,
    /// When the tarball is packed.
    Postpack {
        /// That of the tarball, `sha512-…`.
        integrity: &'a str,
    },
    /// When the version is at the registry.
    Publish,
    /// The same, after `publish`.
    Postpublish,
}

impl Event<'_> {
    /// The name of its script.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrepublishOnly => "prepublishOnly",
            Self::Prepack => "prepack",
            Self::Prepare => "prepare",
            Self::Postpack { .. } => "postpack",
            Self::Publish => "publish",
            Self::Postpublish => "postpublish",
        }
    }

    /// npm cleans what it reads to publish, and takes what it reads to pack as it stands.
    fn reading(self) -> Reading {
        match self {
            Self::PrepublishOnly | Self::Publish | Self::Postpublish => Reading::ToPublish,
            Self::Prepack | Self::Prepare | Self::Postpack { .. } => Reading::ToPack,
        }
    }

    /// What npm says of the folder and of its tarball. `null` is its word before there is a tarball.
    fn variables(self, folder: &str) -> Vec<(&'static str, String)> {
        const RESOLVED: &str = "npm_package_resolved";
        const INTEGRITY: &str = "npm_package_integrity";
        match self {
            Self::Prepare => vec![(RESOLVED, folder.to_owned()), (INTEGRITY, "null".to_owned())],
            Self::Postpack { integrity } => vec![
                ("npm_package_from", format!("file:{folder}")),
                (RESOLVED, folder.to_owned()),
                (INTEGRITY, integrity.to_owned()),
            ],
            _ => Vec::new(),
        }
    }
}

/// Where scripts run and with what.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The package's folder, in which they run.
    pub folder: &'a Path,
    /// The environment of the build. Of a variable `npm_config_…` in it npm thinks more than of a file of settings.
    pub base: &'a BTreeMap<String, String>,
    /// The settings of the build.
    pub npm: &'a Npm,
    /// What npm tells every script.
    pub toolchain: &'a Toolchain,
}

/// One script, ready to be run in the package's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// All of its environment.
    pub env: BTreeMap<String, String>,
    /// What npm 11 prints before it runs the script, line by line; npm 12 prints it where its `loglevel` is `notice`.
    pub banner: Vec<String>,
}

impl Script {
    /// The script of an event, where the package has one: exactly of that name, as text that is not empty, unless npm's
    /// settings say that scripts are not run. There are no `pre` and `post` scripts around it.
    ///
    /// `manifest` is the `package.json` as npm has read it last before this event. npm reads it at the start, before
    /// `prepack` (the same holds for `postpack`), before `prepare`, and after `postpack`. Blocks, to look for the
    /// programs in `directories.bin`.
    pub fn new(manifest: &Value, event: Event<'_>, context: &Context<'_>) -> Option<Self> {
        let Context { base, npm, toolchain, .. } = context;
        let setting = |name: &str| set_by_build(base, name).or_else(|| toolchain.exported_as_is(name));
        if setting("npm_config_ignore_scripts").is_some_and(is_on) {
            return None;
        }
        let finds_programs = toolchain.finds_programs();
        let package = Package { manifest, reading: event.reading(), finds_programs };
        let script = package.script(event.name())?;
        // npm speaks of the folder as the kernel does.
        let folder = context.folder.canonicalize().unwrap_or_else(|_| context.folder.to_owned());
        let shown = folder.display().to_string();

        let mut env = (*base).clone();
        for (name, value) in toolchain.exported(npm, &shown, base.get("HOME").map_or("", String::as_str)) {
            // What is so by default npm does not tell.
            let default = name == "npm_config_registry" && npm.registry == DEFAULT_REGISTRY;
            if !default && !keeps(base, &name) {
                env.insert(name, value);
            }
        }
        if let Some(visual) = set(base, "VISUAL").filter(|_| set(base, "EDITOR").is_none()) {
            env.insert("EDITOR".to_owned(), visual.to_owned());
        }
        let mut tell = |name: &str, value: String| {
            env.insert(name.to_owned(), value);
        };
        tell("PATH", toolchain.path(&folder, set(base, "PATH")));
        tell("npm_command", "publish".to_owned());
        for (name, value) in event.variables(&shown) {
            tell(name, value);
        }
        for (name, value) in package.variables(&folder) {
            tell(&name, value);
        }
        tell("npm_package_json", folder.join("package.json").display().to_string());
        tell("npm_lifecycle_event", event.name().to_owned());
        tell("npm_lifecycle_script", script.clone());
        // Nothing starts with such a variable.
        env.retain(|name, value| !name.contains('\0') && !value.contains('\0'));
        let banner = banner(package.id().as_deref(), event.name(), &script);
        let shell = setting("npm_config_script_shell").unwrap_or("/bin/sh").to_owned();
        Some(Self { argv: vec![shell, "-c".to_owned(), script], env, banner })
    }
}

/// What a variable of the build says, unless it says nothing.
fn set<'a>(base: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    base.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// What a build has set of a setting of npm, which knows it in any case and with `-` for `_`.
fn set_by_build<'a>(base: &'a BTreeMap<String, String>, setting: &str) -> Option<&'a str> {
    let is_it = |name: &str| name.to_lowercase().replace('-', "_") == setting;
    base.iter().find(|(name, value)| is_it(name) && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// Whether a setting that is on or off is on.
fn is_on(value: &str) -> bool {
    !matches!(value, "false" | "null" | "0")
}

/// Whether npm leaves what the build has set of this variable.
fn keeps(base: &BTreeMap<String, String>, exported: &str) -> bool {
    // It tells these whatever is set.
    const FACTS: [&str; 3] = ["npm_config_global_prefix", "npm_config_local_prefix", "npm_config_npm_version"];
    let is_setting = exported.starts_with(SETTING) && !FACTS.contains(&exported);
    (exported == "EDITOR" && set(base, exported).is_some()) || (is_setting && set_by_build(base, exported).is_some())
}

/// How the names of npm's settings begin in an environment.
const SETTING: &str = "npm_config_";

fn banner(id: Option<&str>, event: &str, script: &str) -> Vec<String> {
    let first = id.map_or_else(|| format!("> {event}"), |id| format!("> {id} {event}"));
    let script = script.trim().split('\n').map(|line| format!("> {line}"));
    [String::new(), first].into_iter().chain(script).chain([String::new()]).collect()
}

#[cfg(test)]
mod tests;
