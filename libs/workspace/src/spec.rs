//! What a dependency asks for.

use crate::range;

/// What the value of a dependency names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spec<'a> {
    /// A version or range of the package with this name.
    Range { name: &'a str, range: &'a str },
    /// `workspace:`: the member with this name, whatever its version is, or the one in this folder.
    Member { name: &'a str, asked: &'a str },
    /// A folder, relative to that of the package or absolute.
    Folder(&'a str),
    /// A tag, an archive, a repository: nothing of the workspace.
    Elsewhere,
}

impl<'a> Spec<'a> {
    /// Reads the value that stands at `key`.
    pub(crate) fn parse(key: &'a str, value: &'a str) -> Self {
        let value = value.trim();
        if let Some(alias) = value.strip_prefix("npm:") {
            // As Yarn writes a range.
            if range::is_range(alias) {
                return Self::Range { name: key, range: alias };
            }
            let split =
                alias.char_indices().skip(1).find(|(_, c)| *c == '@').and_then(|(at, _)| alias.split_at_checked(at));
            let (name, range) = split.unwrap_or((alias, ""));
            return Self::of_registry(name, range.trim_start_matches('@'));
        }
        if let Some(asked) = value.strip_prefix("workspace:") {
            // `workspace:name@range` is an alias.
            let at = asked.char_indices().skip(1).find(|(_, c)| *c == '@');
            let name = at.and_then(|(at, _)| asked.get(..at)).unwrap_or(key);
            return Self::Member { name, asked };
        }
        let folder = ["file:", "link:", "portal:"].into_iter().find_map(|scheme| value.strip_prefix(scheme));
        let is_path = value.starts_with(['/', '.']) && value.trim_start_matches('.').starts_with('/') || is_dots(value);
        match folder.or_else(|| is_path.then_some(value)) {
            Some(path) if [".tgz", ".tar.gz", ".tar"].into_iter().any(|end| path.ends_with(end)) => Self::Elsewhere,
            Some(path) => Self::Folder(path.strip_prefix("//").filter(|rest| !rest.starts_with('/')).unwrap_or(path)),
            None => Self::of_registry(key, value),
        }
    }

    fn of_registry(name: &'a str, range: &'a str) -> Self {
        if range::is_range(range) { Self::Range { name, range } } else { Self::Elsewhere }
    }
}

fn is_dots(value: &str) -> bool {
    matches!(value, "." | "..")
}
