//! The commit that a folder is checked out at, read as npm reads it: from the files of the repository.

use std::{fs, path::Path};

/// The commit of the repository that holds `folder`; `None` where there is none, or no commit yet. A work tree or
/// a submodule, whose `.git` is a file, has none for npm. Blocks.
pub(crate) fn head(folder: &Path) -> Option<String> {
    let git = folder.ancestors().map(|folder| folder.join(".git")).find(|git| git.exists())?;
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.strip_prefix("ref: ").map(str::trim) else { return Some(head.trim().to_owned()) };
    let loose = fs::read_to_string(git.join(reference)).ok().map(|commit| commit.trim().to_owned());
    loose.filter(|commit| !commit.is_empty()).or_else(|| {
        let packed = fs::read_to_string(git.join("packed-refs")).ok()?;
        let commits = packed.lines().filter_map(|line| line.split_once(' '));
        let mut found = commits.filter(|(_, name)| name.trim() == reference);
        found.next().map(|(commit, _)| commit.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_commit_is_found_above_whether_its_reference_is_packed_or_not() {
        let place = tempfile::tempdir().unwrap();
        let package = place.path().join("packages/core");
        let git = place.path().join(".git");
        fs::create_dir_all(&package).unwrap();
        assert_eq!(head(&package), None);
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(head(&package), None, "there is no commit yet");
        fs::write(git.join("packed-refs"), format!("# pack-refs\nbeef refs/heads/next\n{COMMIT} refs/heads/main\n"))
            .unwrap();
        assert_eq!(head(&package).as_deref(), Some(COMMIT));
        fs::write(git.join("refs/heads/main"), "c0ffee\n").unwrap();
        assert_eq!(head(&package).as_deref(), Some("c0ffee"));
        fs::write(git.join("HEAD"), format!("{COMMIT}\n")).unwrap();
        assert_eq!(head(&package).as_deref(), Some(COMMIT));
    }
}
