//! Which folders of a workspace belong to other packages.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::Value;

/// Where packages are that have no path of their own.
const PACKAGES: &str = "packages";

/// The members of a workspace other than the package that is built, known without a look at any of them.
pub(super) struct Members {
    /// The workspace, resolved.
    root: PathBuf,
    /// Folders that hold members, or are one.
    folders: Vec<PathBuf>,
    /// Patterns of members that may be anywhere: a folder that matches is one if it has a `package.json`.
    anywhere: GlobSet,
}

impl Members {
    /// By `workspaces` of the root's manifest, and by where the package is: below `root` at `package`, nowhere for the
    /// root itself. Members are known by what stands before the first pattern. What is beside the package are packages
    /// too, whatever `workspaces` say, and so is what is in `packages`.
    pub(super) fn of(root: &Path, manifest: &Value, package: &Path) -> Self {
        let workspaces = manifest.get("workspaces");
        let patterns = workspaces.and_then(|all| all.as_array().or_else(|| all.get("packages")?.as_array()));
        let patterns = patterns.into_iter().flatten().filter_map(Value::as_str).filter(|text| !text.starts_with('!'));
        let (mut folders, mut anywhere) = (Vec::new(), GlobSetBuilder::new());
        let mut add_pattern = |text: &str| {
            if let Ok(glob) = GlobBuilder::new(text).literal_separator(true).build() {
                anywhere.add(glob);
            }
        };
        for pattern in patterns {
            let folder = before_pattern(pattern);
            if folder == Path::new("") {
                add_pattern(pattern.trim_start_matches("./").trim_end_matches('/'));
            } else {
                folders.push(folder);
            }
        }
        match package.parent() {
            None => {}
            Some(parent) if parent == Path::new("") => {
                add_pattern("*");
                folders.extend([package.to_owned(), PACKAGES.into()]);
            }
            Some(parent) => folders.extend([parent.to_owned(), PACKAGES.into()]),
        }
        Self { root: root.to_owned(), folders, anywhere: anywhere.build().unwrap_or_default() }
    }

    /// Whether a place below the root is in a member, is one, or is a folder that holds them.
    pub(super) fn hold(&self, below: &Path) -> bool {
        let is_one =
            |folder: &Path| self.anywhere.is_match(folder) && self.root.join(folder).join("package.json").is_file();
        self.folders.iter().any(|folder| below.starts_with(folder))
            || !self.anywhere.is_empty() && below.ancestors().filter(|folder| *folder != Path::new("")).any(is_one)
    }
}

/// The folders before the first pattern.
fn before_pattern(text: &str) -> PathBuf {
    let plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{', '!']);
    let parts = Path::new(text).components().filter(|part| *part != Component::CurDir);
    parts.take_while(plain).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use serde_json::json;

    fn held(workspaces: &Value, package: &str) -> Vec<&'static str> {
        let place = tempfile::tempdir().unwrap();
        let members = ["packages/a", "apps/web", "apps/web/src", "tools/cli", "core", "libs/x/y"];
        for folder in members.iter().chain(&["docs", "tools/lint", "libs/x/z"]) {
            fs::create_dir_all(place.path().join(folder)).unwrap();
        }
        for folder in members.iter().filter(|folder| !folder.ends_with("src")) {
            fs::write(place.path().join(folder).join("package.json"), "{}").unwrap();
        }
        let found = Members::of(place.path(), &json!({ "workspaces": workspaces }), Path::new(package));
        let all =
            ["packages", "apps", "apps/web/src", "tools/cli", "tools/lint", "core", "docs", "libs/x/y", "libs/x/z"];
        all.into_iter().filter(|below| found.hold(Path::new(below))).collect()
    }

    #[test]
    fn members_are_known_by_what_stands_before_a_pattern() {
        let patterns = json!(["./apps/**", "tools/cli", "!packages/old", 7]);
        assert_eq!(held(&patterns, "packages/a"), ["packages", "apps", "apps/web/src", "tools/cli"]);
        assert_eq!(held(&json!({"packages": ["libs/{x,y}/*"]}), ""), ["libs/x/y", "libs/x/z"]);
        assert_eq!(held(&json!("packages/*"), "packages/a"), ["packages"]);
        assert!(held(&Value::Null, "").is_empty(), "the root is alone");
    }

    #[test]
    fn where_nothing_stands_before_a_pattern_members_are_folders_with_a_manifest() {
        assert_eq!(held(&json!(["./*/"]), ""), ["core"]);
        assert_eq!(held(&json!(["{apps,tools}/*", "[oops"]), ""), ["apps/web/src", "tools/cli"]);
        assert_eq!(held(&json!(["**"]), ""), ["apps/web/src", "tools/cli", "core", "libs/x/y"]);
    }

    #[test]
    fn what_is_beside_the_package_are_packages_too() {
        assert_eq!(held(&Value::Null, "libs/x/y"), ["packages", "libs/x/y", "libs/x/z"]);
        assert_eq!(held(&Value::Null, "other"), ["packages", "core"]);
    }
}
