//! What is not taken, for the log of a build.

use serde::{Deserialize, Serialize};

/// How much of a workspace is not in its sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Files and folders that git ignores, without the following.
    pub ignored: u64,
    /// `.env*` files.
    pub env: u64,
    /// `node_modules` folders that git does not track.
    pub node_modules: u64,
    /// Repositories in a folder that is no checkout itself.
    pub repositories: u64,
    /// Links that lead out of the workspace.
    pub links: u64,
    /// What is neither a file, a folder nor a link.
    pub special: u64,
    /// Credentials in the settings of package managers.
    pub credentials: u64,
}

impl LeftOut {
    /// A line for each kind of which there is something.
    pub fn lines(&self) -> Vec<String> {
        let kinds = [
            (self.ignored, "file or folder that git ignores", "files and folders that git ignores"),
            (self.env, "`.env` file", "`.env` files"),
            (self.node_modules, "`node_modules` folder", "`node_modules` folders"),
            (self.repositories, "git repository", "git repositories"),
            (self.links, "link that leads out of the workspace", "links that lead out of the workspace"),
            (self.special, "socket, pipe or device", "sockets, pipes and devices"),
            (self.credentials, "credential in settings", "credentials in settings"),
        ];
        let lines = kinds.into_iter().filter(|(count, ..)| *count > 0);
        lines
            .map(|(count, one, many)| {
                format!("left out of the sources: {count} {}", if count == 1 { one } else { many })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_line() {
        assert!(LeftOut::default().lines().is_empty());
        let left_out = LeftOut { ignored: 2, env: 1, ..LeftOut::default() };
        assert_eq!(
            left_out.lines(),
            ["left out of the sources: 2 files and folders that git ignores", "left out of the sources: 1 `.env` file"]
        );
    }
}
