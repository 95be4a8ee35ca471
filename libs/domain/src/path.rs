//! Where a package is in its workspace, hostile until parsed.

use std::{fmt, path::Path, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{PackageName, package::shown};

/// The longest path, in bytes.
const MAX_PATH: usize = 1024;

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not the path of a package: {rule}")]
pub struct PathError {
    path: String,
    rule: &'static str,
}

/// The folder of a package, relative to the root of its workspace: `.` for the root itself, else parts separated by
/// `/`, none of them empty, `.` or `..`; no control characters; at most 1,024 bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackagePath(Arc<str>);

impl PackagePath {
    /// `packages/<unscoped name>`: where a package is whose path nobody gave.
    pub fn of_name(name: &PackageName) -> Self {
        Self(format!("packages/{}", name.unscoped()).into())
    }

    /// As it is written; `.` for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What to join to the root: nothing where the package is the root itself.
    pub fn below_root(&self) -> &Path {
        Path::new(if self.is_root() { "" } else { &self.0 })
    }

    /// Whether this is where a package of that name is anyway, without a path.
    pub fn is_of_name(&self, name: &PackageName) -> bool {
        self.0.strip_prefix("packages/") == Some(name.unscoped())
    }

    /// Whether the root of the workspace is the package.
    pub fn is_root(&self) -> bool {
        &*self.0 == "."
    }
}

impl FromStr for PackagePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let refuse = |rule| Err(PathError { path: shown(text), rule });
        if text.is_empty() {
            return refuse("a path is not empty; `.` is the root of the workspace");
        }
        if text.len() > MAX_PATH {
            return refuse("a path has at most 1024 bytes");
        }
        if text.starts_with('/') {
            return refuse("a path is relative to the root of the workspace");
        }
        if text.chars().any(char::is_control) {
            return refuse("no control character stands in a path");
        }
        if text != "." && text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return refuse("no part of a path is empty, `.` or `..`");
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PackagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PackagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PackagePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PackagePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
