//! The files of a tarball, and how Node finds one by a path.

use std::{cell::Cell, collections::BTreeMap, ops::Bound};

use serde_json::Value;

/// Larger files are not looked into, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// Of all that is looked into, in bytes.
const CONTENTS: usize = 32 * 1024 * 1024;
/// Of all paths, in bytes.
const PATHS: usize = 32 * 1024 * 1024;
/// What Node tries where a path has no such file, in its order.
const EXTENSIONS: [&str; 4] = ["", ".js", ".json", ".node"];

/// How many paths one check looks at when it searches; what it has not looked at by then counts as there.
const LOOKS: u32 = 1_000_000;

/// What is left of [`LOOKS`].
pub(super) struct Budget(Cell<u32>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(LOOKS))
    }
}

impl Budget {
    pub(super) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// Whether there is one look more.
    pub(super) fn spend(&self) -> bool {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// The files of a tarball by their paths below its first folder, and what stands in those that may be code.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: BTreeMap<String, Option<Vec<u8>>>,
    contents: usize,
    paths: usize,
    cut: bool,
}

impl Files {
    /// How many bytes of a file of this size and beginning are wanted; `None` where its path is enough.
    pub(crate) fn wants(&self, path: &str, size: u64, begins: &[u8]) -> Option<u64> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let code = [".js", ".cjs", ".mjs"].iter().any(|extension| name.ends_with(extension));
        let may_be_code = code || name == "package.json" || begins.starts_with(b"#!") || size == 0;
        let fits = size <= LARGEST && usize::try_from(size).is_ok_and(|size| self.contents + size <= CONTENTS);
        // What all the rest is measured by.
        (may_be_code && fits || path == "package.json").then_some(size)
    }

    /// Adds a file; nothing where there are too many.
    pub(crate) fn add(&mut self, path: String, contents: Option<Vec<u8>>) {
        self.cut |= self.paths + path.len() > PATHS;
        if self.cut {
            return;
        }
        self.paths += path.len() + 64;
        self.contents += contents.as_ref().map_or(0, Vec::len);
        self.files.insert(path, contents);
    }

    /// Whether some files are missing here.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// What stands in a file, where it is known.
    pub(crate) fn contents(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path)?.as_deref()
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(super) fn has_folder(&self, path: &str) -> bool {
        match path {
            "" => !self.files.is_empty(),
            _ => self.beginning(&format!("{path}/"), &Budget::default()).next().is_some(),
        }
    }

    /// Whether a file has nothing but a line that says who runs it.
    pub(super) fn is_blank(&self, path: &str) -> bool {
        let Some(contents) = self.contents(path) else { return false };
        let code = match contents.strip_prefix(b"#!") {
            Some(line) => line.iter().position(|byte| *byte == b'\n').and_then(|end| line.get(end..)),
            None => Some(contents),
        };
        code.unwrap_or_default().trim_ascii().is_empty()
    }

    /// The text of a file that Node would run.
    pub(super) fn script(&self, path: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.contents(path)?).ok()?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let by_name = [".js", ".cjs", ".mjs"].iter().any(|extension| name.ends_with(extension));
        let by_first_line = text.starts_with("#!") && text.lines().next().is_some_and(|line| line.contains("node"));
        (by_name || by_first_line && !name.contains('.')).then_some(text)
    }

    /// The file that Node takes for a path in `main`: as it is, with an extension, or the index of a folder.
    pub(super) fn resolve(&self, path: &str) -> Option<String> {
        let index = if path.is_empty() { "index".to_owned() } else { format!("{path}/index") };
        let of_path = EXTENSIONS.iter().map(|extension| format!("{path}{extension}"));
        let of_index = EXTENSIONS.iter().skip(1).map(|extension| format!("{index}{extension}"));
        of_path.filter(|_| !path.is_empty()).chain(of_index).find(|file| self.has(file))
    }

    /// The same for what is loaded: a folder may have a `package.json` of its own.
    pub(super) fn resolve_module(&self, path: &str) -> Option<String> {
        let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
        let manifest = self.contents(&format!("{folder}package.json"));
        let main = manifest.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        let main = main.as_ref().and_then(|manifest| manifest.get("main")).and_then(Value::as_str);
        let by_main = || main.and_then(|main| self.resolve(&normal(path, main)));
        self.resolve(path).or_else(by_main)
    }

    /// Whether there is a file of this name with any extension that a bundler may take, or an index of that kind.
    pub(super) fn has_kind_of(&self, path: &str, budget: &Budget) -> bool {
        const NO_CODE: [&str; 6] = [".d.ts", ".d.mts", ".d.cts", ".map", ".flow", ".tsbuildinfo"];
        let begins = if path.is_empty() {
            vec!["index.".to_owned()]
        } else {
            vec![format!("{path}."), format!("{path}/index.")]
        };
        let of_code = |file: &&str| !NO_CODE.iter().any(|extension| file.ends_with(extension));
        let found = begins.iter().any(|begin| {
            self.beginning(begin, budget)
                .filter(of_code)
                .any(|file| file.get(begin.len()..).is_some_and(|rest| !rest.contains('/')))
        });
        found || budget.is_spent()
    }

    /// The files whose paths begin like this.
    pub(super) fn beginning<'a>(&'a self, begin: &'a str, budget: &'a Budget) -> impl Iterator<Item = &'a str> {
        let range = self.files.range::<str, _>((Bound::Included(begin), Bound::Unbounded));
        range.map(|(path, _)| path.as_str()).take_while(move |path| path.starts_with(begin) && budget.spend())
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Files {
    fn from(listed: [(&str, &str); N]) -> Self {
        let mut files = Self::default();
        for (path, text) in listed {
            let wanted = files.wants(path, text.len() as u64, text.as_bytes());
            files.add(path.to_owned(), wanted.map(|_| text.into()));
        }
        files
    }
}

/// The folder of a file; empty for the root.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A path below `folder` without `.` and `..`; nothing leads out of the package, as npm and Node see to it.
pub(super) fn normal(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split(['/', '\\'])) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The same for what a file loads; `None` where it leads out of the package.
pub(super) fn beside(folder: &str, path: &str) -> Option<String> {
    let mut depth = folder.split('/').filter(|part| !part.is_empty()).count();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1)?,
            _ => depth += 1,
        }
    }
    Some(normal(folder, path))
}
