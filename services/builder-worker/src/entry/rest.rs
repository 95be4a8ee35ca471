//! The rest of what a `package.json` names: warned of only.

use globset::{GlobBuilder, GlobSetBuilder};
use serde_json::Value;

use super::{Check, files::normal, plain};

/// What names one file.
const FILES: [&str; 8] = ["module", "types", "typings", "browser", "unpkg", "jsdelivr", "style", "man"];
/// Of a list, how many are looked at.
const MOST: usize = 1000;

impl Check<'_> {
    pub(super) fn rest(&mut self) {
        for field in FILES {
            for path in texts(self.manifest.get(field)) {
                let path = normal("", path);
                // Types are found by other extensions.
                let found =
                    || self.files.resolve_module(&path).is_some() || self.files.has_kind_of(&path, &self.budget);
                let declared = ["types", "typings"].contains(&field)
                    && [".d.ts", "/index.d.ts"].iter().any(|end| self.files.has(&format!("{path}{end}")));
                if !found() && !declared {
                    self.warn(format!("{field} names {}, which is not in the tarball", plain(&path)));
                }
            }
        }
        let folder = self.manifest.get("directories").and_then(|directories| directories.get("bin"));
        if let Some(folder) = folder.and_then(Value::as_str).map(|folder| normal("", folder))
            && !self.files.has_folder(&folder)
        {
            self.warn(format!("directories.bin names {}, which is not in the tarball", plain(&folder)));
        }
        for listed in texts(self.manifest.get("files").filter(|files| files.is_array())) {
            if self.matches(listed) == Some(false) {
                self.warn(format!("files names {}, which matches nothing in the tarball", plain(listed)));
            }
        }
    }

    /// Whether an entry of `files` matches something; `None` where it takes away, or cannot be told.
    fn matches(&self, listed: &str) -> Option<bool> {
        let path = listed.trim_start_matches("./").trim_matches('/');
        if listed.starts_with('!') || path.is_empty() || path == "." {
            return None;
        }
        let mut globs = GlobSetBuilder::new();
        for pattern in [path.to_owned(), format!("{path}/**"), format!("**/{path}"), format!("**/{path}/**")] {
            globs.add(GlobBuilder::new(&pattern).literal_separator(true).case_insensitive(true).build().ok()?);
        }
        let globs = globs.build().ok()?;
        let found = self.files.paths().take_while(|_| self.budget.spend()).any(|file| globs.is_match(file));
        Some(found || self.budget.is_spent())
    }
}

/// The paths in a text, a list, or an object such as `browser`.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).take(MOST).collect(),
        Some(Value::Object(items)) => {
            items.values().filter_map(Value::as_str).filter(|text| text.starts_with('.')).take(MOST).collect()
        }
        _ => Vec::new(),
    }
}
