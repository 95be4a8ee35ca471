//! What packages share: the plan of each, and what stands beside them at the root of the workspace.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use packline_domain::PackageName;
use serde_json::Value;

use super::{
    WorkspaceError,
    tree::{Choice, Copier, PACKAGES, Part, is_left_out},
};

/// Files beside the packages that builds may refer to (compiler settings and the like) are small.
const FILE_LIMIT: u64 = 1024 * 1024;
/// So are folders beside the packages: files in one of them, and their bytes.
const FOLDER_FILES: usize = 1000;
const FOLDER_BYTES: u64 = 32 * 1024 * 1024;

/// They speak of all packages, and of no registry that this build is to use.
const LOCKS: [&str; 4] = ["package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"];
const PLANS: &str = "plans";

impl Copier<'_> {
    /// Copies what stands at the root, beside the packages.
    pub(super) fn copy_shared(&self, left_out: &mut Vec<String>) -> Result<(), WorkspaceError> {
        let manifest = match fs::read(self.root.join("package.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Value::Null,
            Err(error) => return Err(error.into()),
        };
        let members = members(&manifest);
        for entry in fs::read_dir(self.root)? {
            self.go_on()?;
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let private = LOCKS.contains(&text.as_ref()) || text.starts_with(".env") || text.starts_with(".yarnrc");
            if private || is_left_out(&name) {
                continue;
            }
            let (kind, below) = (entry.file_type()?, Path::new(&name));
            if kind.is_dir() {
                let tools_own = text.starts_with('.') && text != ".config";
                let theirs = self.scratch.starts_with(entry.path()) || members.iter().any(|member| member == below);
                if !tools_own && !theirs {
                    self.copy_folder(below, &members, left_out)?;
                }
            } else if kind.is_symlink() {
                if !self.copy_link(&entry.path(), &entry.path(), below)? {
                    left_out.push(format!("{text} of the workspace root is a link to what is not copied"));
                }
            } else if kind.is_file() && entry.metadata()?.len() > FILE_LIMIT {
                left_out.push(format!("{text} of the workspace root is larger than 1 MiB"));
            } else if kind.is_file() && text == "package.json" {
                self.write_manifest(&manifest, left_out)?;
            } else if kind.is_file() {
                self.copy_file(&entry.path(), &self.target.join(below))?;
            }
        }
        Ok(())
    }

    /// Copies `plans/<unscoped name>.md`, where it is there.
    pub(super) fn copy_plan(&self, name: &PackageName) -> Result<(), WorkspaceError> {
        let below = Path::new(PLANS).join(format!("{}.md", name.unscoped()));
        let plan = self.root.join(&below);
        let plain = plan.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() <= FILE_LIMIT);
        if !plain || !plan.canonicalize()?.starts_with(self.root) {
            return Ok(());
        }
        fs::create_dir_all(self.target.join(PLANS))?;
        self.copy_file(&plan, &self.target.join(&below))
    }

    /// Copies one folder beside the packages; one that is too large is left out whole.
    fn copy_folder(&self, below: &Path, members: &[PathBuf], left_out: &mut Vec<String>) -> Result<(), WorkspaceError> {
        let source = self.root.join(below);
        let mut bytes = 0;
        let found = self.list_chosen(&source, Part::Shared, |found, count| {
            if members.contains(&below.join(&found.path)) {
                return Ok(Choice::Skipped);
            }
            if found.kind.is_file() {
                bytes += fs::symlink_metadata(source.join(&found.path))?.len();
            }
            Ok(if count > FOLDER_FILES || bytes > FOLDER_BYTES { Choice::TooMuch } else { Choice::Taken })
        })?;
        let Some(found) = found else {
            left_out.push(format!("{} has more than {FOLDER_FILES} files or 32 MiB", below.display()));
            return Ok(());
        };
        self.copy(&source, below, found, Part::Shared, left_out)
    }

    /// The root's manifest without `workspaces`: npm would link siblings.
    fn write_manifest(&self, manifest: &Value, left_out: &mut Vec<String>) -> io::Result<()> {
        let Value::Object(fields) = manifest else {
            left_out.push("package.json of the workspace root is no JSON object".into());
            return Ok(());
        };
        let mut fields = fields.clone();
        fields.remove("workspaces");
        fs::write(self.target.join("package.json"), Value::Object(fields).to_string())
    }
}

/// The folders of members, by what stands before the first pattern in each of `workspaces`; and of plans.
fn members(manifest: &Value) -> Vec<PathBuf> {
    let workspaces = manifest.get("workspaces");
    let patterns = workspaces.and_then(|all| all.as_array().or_else(|| all.get("packages")?.as_array()));
    let folders = patterns.into_iter().flatten().filter_map(Value::as_str).map(|pattern| {
        let plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{', '!']);
        let parts = Path::new(pattern).components().filter(|part| *part != Component::CurDir);
        parts.take_while(plain).collect::<PathBuf>()
    });
    folders.filter(|folder| *folder != Path::new("")).chain([PACKAGES.into(), PLANS.into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_folders_of_members_are_known_by_what_stands_before_a_pattern() {
        let of = |workspaces: Value| members(&json!({ "workspaces": workspaces }));
        let shown = |folders: &[&str]| folders.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            of(json!(["packages/*", "./apps/**", "tools/cli", "*", "!packages/old", 7])),
            shown(&["packages", "apps", "tools/cli", "packages", "plans"])
        );
        assert_eq!(of(json!({"packages": ["libs/{a,b}"]})), shown(&["libs", "packages", "plans"]));
        assert_eq!(of(json!("packages/*")), shown(&["packages", "plans"]));
        assert_eq!(members(&Value::Null), shown(&["packages", "plans"]));
    }
}
