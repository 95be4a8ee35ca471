//! What a dependency asks for.

use std::path::{Component, Path, PathBuf};

use crate::range;

/// What the value of a dependency names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spec<'a> {
    /// A version or range of the package that the key names.
    Range(&'a str),
    /// `workspace:`: the member that the key names, whatever its version is.
    Member,
    /// A folder, relative to that of the package or absolute.
    Folder(&'a str),
    /// Another package, a tag, an archive, a repository: nothing of the workspace.
    Elsewhere,
}

impl<'a> Spec<'a> {
    /// Reads the value that stands at `key`.
    pub(crate) fn parse(key: &str, value: &'a str) -> Self {
        let value = value.trim();
        if let Some(alias) = value.strip_prefix("npm:") {
            return match alias.strip_prefix(key) {
                Some("") => Self::Range(""),
                Some(rest) => rest.strip_prefix('@').map_or(Self::Elsewhere, Self::of_registry),
                None => Self::Elsewhere,
            };
        }
        if value.starts_with("workspace:") {
            return Self::Member;
        }
        let folder = ["file:", "link:", "portal:"].into_iter().find_map(|scheme| value.strip_prefix(scheme));
        let is_path = value.starts_with(['/', '.']) && value.trim_start_matches('.').starts_with('/') || is_dots(value);
        match folder.or_else(|| is_path.then_some(value)) {
            Some(path) if [".tgz", ".tar.gz", ".tar"].into_iter().any(|end| path.ends_with(end)) => Self::Elsewhere,
            Some(path) => Self::Folder(path.strip_prefix("//").filter(|rest| !rest.starts_with('/')).unwrap_or(path)),
            None => Self::of_registry(value),
        }
    }

    fn of_registry(value: &'a str) -> Self {
        if range::is_range(value) { Self::Range(value) } else { Self::Elsewhere }
    }
}

fn is_dots(value: &str) -> bool {
    matches!(value, "." | "..")
}

/// The folder that `path` names in `folder`, relative to the root; `None` where it is outside.
pub(crate) fn folder_below(root: &Path, folder: &Path, path: &str) -> Option<PathBuf> {
    let absolute = root.join(folder).join(path);
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain.strip_prefix(root).ok().map(Path::to_owned)
}
