//! The links of a package, which npm leaves out of a tarball.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::tree::is_left_out;

/// How many lines name links that are not packed.
const NAMED: usize = 20;

/// All links in a package's folder, as paths below it, in their order. `node_modules` and the like at its top are
/// not looked into, nor is what links lead to; a folder that cannot be read counts as empty. Blocks.
pub fn links(folder: &Path) -> Vec<PathBuf> {
    let mut links = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(folder.join(&inner)).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), inner.join(entry.file_name()));
            match entry.file_type() {
                _ if inner == Path::new("") && is_left_out(&name) => {}
                Ok(kind) if kind.is_symlink() => links.push(path),
                Ok(kind) if kind.is_dir() => open.push(path),
                _ => {}
            }
        }
    }
    links.sort();
    links
}

/// Lines for the log of a build about the links in a package's folder: at most 20 that name one each, and one that
/// counts the others. Blocks.
pub fn not_packed(folder: &Path) -> Vec<String> {
    not_packed_lines(&links(folder))
}

/// The same of links that are known.
pub fn not_packed_lines(links: &[PathBuf]) -> Vec<String> {
    let more = links.len().saturating_sub(NAMED);
    let named =
        links.iter().take(NAMED).map(|link| format!("link {} is not packed: npm packs no links", link.display()));
    named.chain((more > 0).then(|| format!("{more} more links are not packed"))).collect()
}
