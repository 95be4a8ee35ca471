//! What packages share: the plan of each, and what stands beside them at the root of the workspace.

use std::{fs, io, path::Path};

use packline_domain::PackageName;
use serde_json::Value;

use super::{
    WorkspaceError,
    tree::{Choice, Copier, Found, Part, is_left_out},
};

/// Files beside the packages that builds may refer to (compiler settings and the like) are small.
const FILE_LIMIT: u64 = 1024 * 1024;
/// So are folders beside the packages: files in one of them, and their bytes.
const FOLDER_FILES: usize = 1000;
const FOLDER_BYTES: u64 = 32 * 1024 * 1024;

/// They speak of all packages, and of no registry that this build is to use.
const LOCKS: [&str; 4] = ["package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"];
const PLANS: &str = "plans";

/// The root's manifest; null where there is none, or no JSON.
pub(super) fn manifest(root: &Path) -> io::Result<Value> {
    match fs::read(root.join("package.json")) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

impl Copier<'_> {
    /// Copies the root of the workspace as the package that it is, without its members and without what is left out
    /// at a root. A lock file stays where it speaks of this package alone.
    pub(super) fn copy_root(&self, manifest: &Value, left_out: &mut Vec<String>) -> Result<(), WorkspaceError> {
        let has_members = manifest.get("workspaces").is_some();
        let found = self.list_chosen(self.root, Part::Package, |found, _| {
            let text = found.path.to_string_lossy();
            let at_top = found.path.parent() == Some(Path::new(""));
            let private = is_private(&text) || has_members && LOCKS.contains(&text.as_ref());
            let theirs = found.kind.is_dir() && self.members.hold(&found.path);
            Ok(if at_top && private || theirs { Choice::Skipped } else { Choice::Taken })
        })?;
        self.copy(self.root, Path::new(""), found.unwrap_or_default(), Part::Package, left_out)
    }

    /// Copies what stands at the root, beside the packages.
    pub(super) fn copy_shared(&self, manifest: &Value, left_out: &mut Vec<String>) -> Result<(), WorkspaceError> {
        for entry in fs::read_dir(self.root)? {
            self.go_on()?;
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            if LOCKS.contains(&text.as_ref()) || is_private(&text) || is_left_out(&name) {
                continue;
            }
            let (kind, below) = (entry.file_type()?, Path::new(&name));
            if !kind.is_dir() && self.package.starts_with(below) {
                continue;
            }
            if kind.is_dir() {
                let tools_own = text.starts_with('.') && text != ".config";
                let theirs = self.scratch.starts_with(entry.path()) || text == PLANS || self.members.hold(below);
                if !tools_own && !theirs {
                    self.copy_folder(below, left_out)?;
                }
            } else if kind.is_symlink() {
                if !self.copy_link(&entry.path(), &entry.path(), below)? {
                    left_out.push(format!("{text} of the workspace root is a link to what is not copied"));
                }
            } else if kind.is_file() && entry.metadata()?.len() > FILE_LIMIT {
                left_out.push(format!("{text} of the workspace root is larger than 1 MiB"));
            } else if kind.is_file() && text == "package.json" {
                self.write_manifest(manifest, left_out)?;
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
    fn copy_folder(&self, below: &Path, left_out: &mut Vec<String>) -> Result<(), WorkspaceError> {
        let source = self.root.join(below);
        let mut bytes = 0;
        let found = self.list_chosen(&source, Part::Shared, |found, count| {
            if self.is_anothers(&below.join(&found.path), found) {
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

    /// Whether a place in a folder beside the packages is a member's, or a link on the way to the package.
    fn is_anothers(&self, below: &Path, found: &Found) -> bool {
        if found.kind.is_dir() { self.members.hold(below) } else { self.package.starts_with(below) }
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

/// Whether a file at the root may hold what is nobody's business.
fn is_private(name: &str) -> bool {
    name.starts_with(".env") || name.starts_with(".yarnrc")
}
