//! What git says is in a checkout.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{LeftOut, SourcesError, checkout, entry::os, git};

/// The mode of a submodule in an index.
const SUBMODULE: &[u8] = b"160000";

/// Paths of the sources that may be there, and what is left out.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Below the root, each once, in their order.
    pub(super) paths: BTreeSet<PathBuf>,
    pub(super) left_out: LeftOut,
    /// The hash of the index.
    pub(super) index: [u8; 32],
}

/// What is never taken, whatever git says.
pub(super) struct Never<'a> {
    /// Below the root; their own `node_modules` are installed, not sources.
    pub(super) members: &'a BTreeSet<PathBuf>,
    /// Folders below the root.
    pub(super) leave_out: &'a [PathBuf],
}

impl Never<'_> {
    /// Whether a path is in a folder that is left out without being counted.
    pub(super) fn is_ours(&self, path: &Path) -> bool {
        path.starts_with(".packline") || self.leave_out.iter().any(|folder| path.starts_with(folder))
    }

    /// The installed packages that a path is in, or is: `node_modules` of the root or a member.
    pub(super) fn installed<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        path.ancestors().find(|folder| {
            folder.file_name().is_some_and(|name| name == "node_modules")
                && folder.parent().is_some_and(|parent| parent == Path::new("") || self.members.contains(parent))
        })
    }
}

/// Asks git about the workspace at `root`, the top of a checkout or a folder in one.
pub(super) fn list(root: &Path, never: &Never<'_>) -> Result<List, SourcesError> {
    let mut list = List::default();
    let mut installed = BTreeSet::new();
    let mut checkouts = vec![PathBuf::new()];
    while let Some(below) = checkouts.pop() {
        let folder = root.join(&below);
        let tracked = git::start(&folder, &["ls-files", "-z", "--stage", "-t"])?;
        let others = git::start(&folder, &["ls-files", "-z", "--others", "--exclude-standard"])?;
        let ignored = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
        let ignored = git::start(&folder, &ignored)?;
        let tracked = tracked.stdout()?;
        if below.as_os_str().is_empty() {
            list.index = Sha256::digest(&tracked).into();
        }
        for line in parts(&tracked) {
            let Some((mode, path)) = tracked_path(line) else { continue };
            let path = below.join(os(path));
            if mode == SUBMODULE && checkout::has_repository(&root.join(&path)) {
                checkouts.push(path);
            } else if !never.is_ours(&path) {
                list.paths.insert(path);
            }
        }
        for path in parts(&others.stdout()?) {
            // A repository that is no submodule yet.
            let (path, is_checkout) = match path.strip_suffix(b"/") {
                Some(path) => (below.join(os(path)), true),
                None => (below.join(os(path)), false),
            };
            if never.is_ours(&path) {
            } else if let Some(folder) = never.installed(&path) {
                installed.insert(folder.to_owned());
            } else if is_checkout {
                checkouts.push(path);
            } else {
                list.paths.insert(path);
            }
        }
        // git cannot say this of a folder that it ignores itself.
        let ignored = ignored.output()?.stdout;
        let ignored: BTreeSet<&[u8]> = parts(&ignored).collect();
        let mut ignored = ignored.into_iter().peekable();
        while let Some(path) = ignored.next() {
            // A folder is listed also where only all that is in it is ignored.
            if path.ends_with(b"/") && ignored.peek().is_some_and(|next| next.starts_with(path)) {
                continue;
            }
            let path = below.join(os(path.strip_suffix(b"/").unwrap_or(path)));
            let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
            match name {
                _ if never.is_ours(&path) => {}
                b"node_modules" => list.left_out.node_modules += 1,
                name if name.starts_with(b".env") => list.left_out.env += 1,
                _ => list.left_out.ignored += 1,
            }
        }
    }
    list.left_out.node_modules += installed.len() as u64;
    Ok(list)
}

/// The mode and path of a line such as `H 100644 <object> 0\tpath`.
fn tracked_path(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (before, path) = line.split_at(tab);
    Some((before.split(|byte| *byte == b' ').nth(1)?, path.get(1..)?))
}

fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty())
}
