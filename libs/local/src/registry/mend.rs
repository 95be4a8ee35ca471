//! What a registry that was killed has left, so that it serves again.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IgnoredAny};

/// Mends the storage of a registry that does not run, and adds a line to `damaged` for what stays as it is.
pub(super) fn mend(storage: &Path, damaged: &mut Vec<String>) -> io::Result<()> {
    database(&storage.join(".verdaccio-db.json"))?;
    let mut unreadable = Vec::new();
    packages(storage, &mut unreadable)?;
    let line = |(manifest, error): (PathBuf, io::Error)| {
        format!(
            "{} cannot be read, so the registry does not serve this package: {error}; put it back, or remove its folder",
            manifest.display()
        )
    };
    damaged.extend(unreadable.into_iter().map(line));
    Ok(())
}

/// The same where all are copies: what cannot be read is fetched again.
pub(super) fn mend_copies(storage: &Path) -> io::Result<()> {
    database(&storage.join(".verdaccio-db.json"))?;
    let mut unreadable = Vec::new();
    packages(storage, &mut unreadable)?;
    // One may lie in another.
    let folders = unreadable.iter().filter_map(|(manifest, _)| manifest.parent());
    folders.filter(|folder| folder.is_dir()).try_for_each(fs::remove_dir_all)
}

/// Removes Verdaccio's list of packages where the kill came while it was written: Verdaccio would refuse every new
/// package. It makes the list anew, and serves all that lies in the storage, listed or not.
fn database(path: &Path) -> io::Result<()> {
    let is_whole = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => serde_json::from_slice::<serde_json::Value>(&read?).is_ok(),
    };
    if is_whole { Ok(()) } else { fs::remove_file(path) }
}

/// Removes what a publish that was killed in the middle has left: a lock, for which Verdaccio would wait minutes;
/// drafts; a tarball that no version names, which it would refuse to take again; a package without a version.
/// Where a manifest cannot be read nobody knows what it names: all beside it stays, and it goes to `unreadable`.
fn packages(folder: &Path, unreadable: &mut Vec<(PathBuf, io::Error)>) -> io::Result<()> {
    #[derive(Default, Deserialize)]
    struct Manifest {
        #[serde(default)]
        versions: BTreeMap<String, IgnoredAny>,
    }
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let path = folder.join("package.json");
    let manifest = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
        read => read.and_then(|text| serde_json::from_slice::<Manifest>(&text).map_err(io::Error::from)),
    };
    let versions = match manifest {
        Ok(Manifest { versions }) => Some(versions),
        Err(error) => {
            unreadable.push((path, error));
            None
        }
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            packages(&entry.path(), unreadable)?;
            continue;
        }
        let Some(versions) = &versions else { continue };
        let is_named = |tarball: &str| versions.keys().any(|version| tarball.ends_with(&format!("-{version}.tgz")));
        let is_left = match name.as_str() {
            "package.json" => versions.is_empty(),
            tarball if tarball.ends_with(".tgz") => !is_named(tarball),
            other => other.starts_with("package.json."),
        };
        if is_left {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed_beside_a_manifest_that_cannot_be_read() {
        let storage = tempfile::tempdir().unwrap();
        let file = |path: &str, text: &str| {
            let path = storage.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (package, manifest) in [("cut", r#"{"versions": {"1.0"#), ("empty", ""), ("odd", r#"{"versions": 7}"#)] {
            file(&format!("@acme/{package}/package.json"), manifest);
            file(&format!("@acme/{package}/{package}-1.0.0.tgz"), "tarball");
        }
        fs::create_dir_all(storage.path().join("folder/package.json")).unwrap();
        file("folder/folder-1.0.0.tgz", "tarball");
        file("whole/package.json", r#"{"versions": {"1.0.0": {}}}"#);
        file("whole/whole-1.0.0.tgz", "tarball");
        file("whole/whole-1.1.0.tgz", "half");
        file("absent/absent-1.0.0.tgz", "half");
        file("stranger/package.json", r#"{"versions": {"1.0.0": {"description": "cut \\ud83d"}}}"#);
        let mut damaged = Vec::new();
        mend(storage.path(), &mut damaged).unwrap();
        let is_there = |path: &str| storage.path().join(path).exists();
        for kept in ["@acme/cut/cut", "@acme/empty/empty", "@acme/odd/odd", "folder/folder", "whole/whole"] {
            assert!(is_there(&format!("{kept}-1.0.0.tgz")), "{kept}");
        }
        assert!(
            is_there("@acme/cut/package.json") && is_there("whole/package.json") && is_there("stranger/package.json")
        );
        assert!(!is_there("whole/whole-1.1.0.tgz") && !is_there("absent/absent-1.0.0.tgz"));
        damaged.sort();
        let named = ["@acme/cut", "@acme/empty", "@acme/odd", "folder"];
        assert_eq!(damaged.len(), named.len(), "{damaged:?}");
        for (line, package) in damaged.iter().zip(named) {
            assert!(line.contains(&format!("{package}/package.json cannot be read")) && !line.contains('\n'), "{line}");
        }
        mend_copies(storage.path()).unwrap();
        assert!(!is_there("@acme/cut") && !is_there("folder") && is_there("whole/package.json"));
    }
}
