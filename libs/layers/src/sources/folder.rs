//! What is in a folder that is no checkout.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    SourcesError,
    list::{List, Never},
};

/// All paths of the sources, and the folders that have nothing in them.
pub(super) fn list(root: &Path, never: &Never<'_>) -> Result<List, SourcesError> {
    let mut list = List::default();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        let at = root.join(&folder);
        let entries = fs::read_dir(&at).map_err(|error| SourcesError::Machine(format!("{}: {error}", at.display())))?;
        let mut is_empty = true;
        for entry in entries {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let is_folder = entry.file_type()?.is_dir();
            let name = entry.file_name();
            is_empty = false;
            if never.is_ours(&path) {
            } else if name == ".git" {
                list.left_out.repositories += 1;
            } else if never.installed(&path).is_some() {
                list.left_out.node_modules += 1;
            } else if is_folder {
                open.push(path);
            } else if name.as_encoded_bytes().starts_with(b".env") {
                list.left_out.env += 1;
            } else {
                list.paths.insert(path);
            }
        }
        if is_empty && !folder.as_os_str().is_empty() {
            list.paths.insert(folder);
        }
    }
    Ok(list)
}
