//! Whether a tarball contains the code that its `package.json` names.
//!
//! A false alarm keeps a good package from its users; so what cannot be told apart counts as there.

mod exports;
mod files;
mod loads;
mod rest;
#[cfg(test)]
mod tests;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::Value;

pub use files::Files;
use files::{Budget, folder_of, normal};

/// How many missing files a message names.
const NAMED: usize = 5;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What must not be published like this.
    pub missing: Vec<Missing>,
    /// What people should know, one line each.
    pub warnings: Vec<String>,
}

/// A file that is demanded and missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What demands it: a field of `package.json`, or a file that loads it.
    pub by: String,
    /// Its path in the package.
    pub file: String,
    /// Whether it is there, and has no code in it.
    pub blank: bool,
}

/// Checks the files of a package against its `package.json`.
pub fn check(manifest: &Value, files: &Files) -> Findings {
    let mut check =
        Check { manifest, files, findings: Findings::default(), entries: BTreeSet::new(), budget: Budget::default() };
    if files.is_cut() {
        check.warn("the tarball has too many files to be checked for what package.json names".to_owned());
        return check.findings;
    }
    check.main();
    check.bin();
    check.exports();
    check.loads();
    check.rest();
    check.findings
}

/// A check under way.
struct Check<'a> {
    manifest: &'a Value,
    files: &'a Files,
    findings: Findings,
    /// The files from which the package is loaded.
    entries: BTreeSet<String>,
    budget: Budget,
}

impl Check<'_> {
    /// As Node finds it. A path that only bundlers complete is there.
    fn main(&mut self) {
        let Some(main) = self.manifest.get("main").and_then(Value::as_str).filter(|main| !main.is_empty()) else {
            return;
        };
        let path = normal("", main);
        match self.files.resolve(&path) {
            Some(file) => drop(self.entries.insert(file)),
            None if self.files.resolve("").is_some() => {
                self.warn(format!("main names {}, which is not in the tarball; Node takes the index", plain(main)));
                self.entries.extend(self.files.resolve(""));
            }
            None if self.files.has_kind_of(&path, &self.budget) => {
                self.warn(format!("main names {}, which Node does not find as it is written", plain(main)));
            }
            // The index of the package.
            None if path.is_empty() => self.miss("main", "index.js", false),
            None => self.miss("main", &path, false),
        }
    }

    fn bin(&mut self) {
        let named: Vec<(String, &str)> = match self.manifest.get("bin") {
            Some(Value::String(bin)) => vec![("bin".to_owned(), bin)],
            Some(Value::Object(bins)) => {
                bins.iter().filter_map(|(name, bin)| Some((format!("bin.{name}"), bin.as_str()?))).collect()
            }
            _ => Vec::new(),
        };
        for (field, bin) in named {
            let path = normal("", bin);
            if path.is_empty() {
                continue;
            }
            if self.files.has(&path) {
                if self.files.is_blank(&path) {
                    self.miss(&field, &path, true);
                }
                self.entries.insert(path);
            } else if self.files.has_folder(&path) {
                self.warn(format!("{} names {}, which is a folder", plain(&field), plain(&path)));
            } else {
                self.miss(&field, &path, false);
            }
        }
    }

    /// What the entry files load at once, by a relative path that stands there as it is.
    fn loads(&mut self) {
        for entry in std::mem::take(&mut self.entries) {
            let Some(text) = self.files.script(&entry) else { continue };
            for path in BTreeSet::from_iter(loads::of(text)) {
                let Some(found) = files::beside(folder_of(&entry), &path) else { continue };
                // In an import, Node completes nothing; bundlers do.
                if self.files.resolve_module(&found).is_some() {
                    continue;
                }
                if self.files.has_kind_of(&found, &self.budget) {
                    let (entry, path) = (plain(&entry), plain(&path));
                    self.warn(format!("{entry} loads {path}, which Node does not find as it is written"));
                } else {
                    self.miss(&entry, &found, false);
                }
            }
        }
    }

    /// What is made where the package is installed, is only warned of.
    fn miss(&mut self, by: &str, file: &str, blank: bool) {
        let missing = Missing { by: by.to_owned(), file: file.to_owned(), blank };
        if !blank && self.may_be_made_by_install(file) {
            self.warn(format!("{missing}, unless its install script makes it"));
        } else {
            self.findings.missing.push(missing);
        }
    }

    /// Addons that are compiled there, and programs of another language that are fetched there.
    fn may_be_made_by_install(&self, file: &str) -> bool {
        let scripts = self.manifest.get("scripts");
        let script = |name| scripts.and_then(|scripts| scripts.get(name)).is_some_and(Value::is_string);
        let compiles = self.files.has("binding.gyp");
        if compiles && file.starts_with("build/") {
            return true;
        }
        let is_script = [".js", ".cjs", ".mjs", ".json"].iter().any(|extension| file.ends_with(extension));
        let is_complete = file.rsplit('/').next().is_some_and(|name| name.contains('.'));
        let installs = compiles || ["preinstall", "install", "postinstall"].into_iter().any(script);
        installs && !is_script && (file.ends_with(".node") || !is_complete || self.is_bin(file))
    }

    fn is_bin(&self, file: &str) -> bool {
        let is = |bin: &Value| bin.as_str().is_some_and(|bin| normal("", bin) == file);
        match self.manifest.get("bin") {
            Some(Value::Object(bins)) => bins.values().any(is),
            bin => bin.is_some_and(is),
        }
    }

    fn warn(&mut self, line: String) {
        self.findings.warnings.push(line);
    }
}

impl Findings {
    /// Takes out what another check missed too.
    pub fn forgive(&mut self, other: &Self) {
        self.missing.retain(|missing| !other.missing.iter().any(|too| too.file == missing.file));
    }

    /// One line that names what is missing, and says what would be right; `None` where nothing is.
    pub fn refusal(&self) -> Option<String> {
        let mut files: BTreeMap<(&str, bool), Vec<&str>> = BTreeMap::new();
        for missing in &self.missing {
            files.entry((&missing.file, missing.blank)).or_default().push(&missing.by);
        }
        let mut said: Vec<String> = files.iter().take(NAMED).map(|(file, by)| sentence(by, *file)).collect();
        if files.len() > NAMED {
            said.push(format!("and {} more", files.len() - NAMED));
        }
        let them = if files.len() > 1 { "them" } else { "it" };
        let right = format!("build {them} in \"build\" or \"prepublishOnly\", or name {them} in \"files\"");
        (!said.is_empty()).then(|| format!("{}; {right}", said.join("; ")))
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sentence(&[&self.by], (&self.file, self.blank)))
    }
}

fn sentence(by: &[&str], (file, blank): (&str, bool)) -> String {
    let by: Vec<String> = by.iter().take(NAMED).map(|by| plain(by)).collect();
    let what = if blank { "has no code, at most a first line" } else { "is not in the tarball" };
    let verb = if by.len() > 1 { "name" } else { "names" };
    format!("{} {verb} {}, which {what}", by.join(" and "), plain(file))
}

/// What stands in a package, made harmless and short for a message.
fn plain(text: &str) -> String {
    let harmless = |c: char| if c == '"' { vec![c] } else { c.escape_debug().collect() };
    text.chars().take(200).flat_map(harmless).collect()
}
