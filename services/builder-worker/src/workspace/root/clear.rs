//! What a root build leaves that is no output.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use packline_layers::{remove_tree, sources::Sources};
use packline_workspace::Workspace;

/// Removes caches of tools at the root.
pub(super) fn caches(upper: &Path) -> io::Result<()> {
    match folder(upper, Path::new("node_modules"))? {
        Some(modules) => remove(&modules.join(".cache")),
        None => Ok(()),
    }
}

/// Removes from the output of a root build what packages are not made of, and the next one must not find: installed
/// packages at the root and in members, logs there, and the state of the repository.
pub(super) fn all_but_output(upper: &Path, workspace: &Workspace, taken: &Sources) -> io::Result<()> {
    remove(&upper.join(".git"))?;
    let sources: HashSet<PathBuf> = taken.files()?.into_iter().map(|file| file.path).collect();
    let members = workspace.members().iter().map(|member| member.real_folder());
    for below in [Path::new("")].into_iter().chain(members) {
        let Some(folder) = folder(upper, below)? else { continue };
        remove(&folder.join("node_modules"))?;
        for entry in fs::read_dir(folder)? {
            let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
            let is_log = Path::new(&name).extension().is_some_and(|extension| extension == "log");
            if is_log && !sources.contains(&below.join(&name)) {
                remove(&path)?;
            }
        }
    }
    Ok(())
}

/// A folder of the output. A script may have put a link in its place, which leads anywhere.
fn folder(upper: &Path, below: &Path) -> io::Result<Option<PathBuf>> {
    let mut folder = upper.to_owned();
    for part in below {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(folder))
}

/// Removes whatever is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_is_removed_behind_a_link_that_a_script_has_made() {
        let place = tempfile::tempdir().unwrap();
        let (upper, elsewhere) = (place.path().join("upper"), place.path().join("elsewhere"));
        fs::create_dir_all(elsewhere.join(".cache")).unwrap();
        fs::create_dir_all(upper.join("packages")).unwrap();
        symlink(&elsewhere, upper.join("node_modules")).unwrap();
        symlink(&elsewhere, upper.join("packages/a")).unwrap();
        caches(&upper).unwrap();
        assert!(elsewhere.join(".cache").exists());
        assert_eq!(folder(&upper, Path::new("packages/a")).unwrap(), None);
        assert_eq!(folder(&upper, Path::new("packages")).unwrap(), Some(upper.join("packages")));
    }
}
