//! The content of a view as a plain folder, for machines where no overlay works.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use super::{Kind, Merged};
use crate::isolated::WorkspaceError;

const NODE_MODULES: &str = "node_modules";
/// So much of a file is copied before the next look at whether to go on.
const PIECE: u64 = 8 * 1024 * 1024;

impl Merged {
    /// Makes `target`, a folder that is not there, of what the view shows: these folders whole, and the files and
    /// links beside the way to them. The copy's files share their blocks with the layers where the file system can.
    ///
    /// A package in a folder `node_modules` that the lowest layer alone holds is a link to it, since an install is too
    /// large to be copied for each build: what a build writes there, it writes to the layer. Links among the packages
    /// of the view stay as they are. A link that leads out of the view is left out; the answer names them. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read or written, and soon after `stop` is true.
    pub fn copy(&self, folders: &[PathBuf], target: &Path, stop: &AtomicBool) -> Result<Vec<PathBuf>, WorkspaceError> {
        fs::create_dir(target)?;
        let mut copy = Copy { view: self, target, stop, left_out: Vec::new() };
        let whole: BTreeSet<&Path> = folders.iter().map(PathBuf::as_path).collect();
        let on_the_way: BTreeSet<&Path> = whole.iter().flat_map(|folder| folder.ancestors().skip(1)).collect();
        let is_in = |set: &BTreeSet<&Path>, path: &Path| path.ancestors().any(|above| set.contains(above));
        for folder in on_the_way.into_iter().filter(|folder| !is_in(&whole, folder)) {
            copy.folder(folder, false)?;
        }
        for folder in whole.iter().filter(|folder| !folder.parent().is_some_and(|above| is_in(&whole, above))) {
            copy.folder(folder, true)?;
        }
        Ok(copy.left_out)
    }
}

struct Copy<'a> {
    view: &'a Merged,
    target: &'a Path,
    stop: &'a AtomicBool,
    left_out: Vec<PathBuf>,
}

impl Copy<'_> {
    /// Copies what is in a folder; of the folders in it all, or `node_modules` alone.
    fn folder(&mut self, folder: &Path, whole: bool) -> Result<(), WorkspaceError> {
        fs::create_dir_all(self.target.join(folder))?;
        for entry in self.view.entries(folder)?.unwrap_or_default() {
            let path = folder.join(&entry.name);
            match entry.kind {
                Kind::Folder if entry.name == NODE_MODULES => self.node_modules(&path)?,
                Kind::Folder if whole => self.folder(&path, true)?,
                Kind::Folder => {}
                _ => self.other(&path, entry.kind)?,
            }
        }
        Ok(())
    }

    /// A folder of its own with links to packages; the same for a scope in it.
    fn node_modules(&mut self, folder: &Path) -> Result<(), WorkspaceError> {
        fs::create_dir_all(self.target.join(folder))?;
        for entry in self.view.entries(folder)?.unwrap_or_default() {
            let path = folder.join(&entry.name);
            let name = entry.name.as_encoded_bytes();
            match (entry.kind, self.view.below_all(&path)) {
                (Kind::Folder, _) if name.starts_with(b"@") => self.node_modules(&path)?,
                // Links of one package to another one: they lead into this copy.
                (Kind::Folder, _) if name == b".bin" => self.folder(&path, true)?,
                (Kind::Folder, Some(installed)) => symlink(installed, self.target.join(&path))?,
                (Kind::Folder, None) => self.folder(&path, true)?,
                (kind, _) => self.other(&path, kind)?,
            }
        }
        Ok(())
    }

    fn other(&mut self, path: &Path, kind: Kind) -> Result<(), WorkspaceError> {
        self.go_on()?;
        match kind {
            Kind::File => self.file(path),
            Kind::Link => Ok(self.link(path)?),
            _ => {
                self.left_out.push(path.to_owned());
                Ok(())
            }
        }
    }

    fn link(&mut self, path: &Path) -> io::Result<()> {
        let Some(link) = self.view.target(path)? else { return Ok(()) };
        let place = self.target.join(path);
        match link.strip_prefix(self.view.at()) {
            Ok(below) if stays(Path::new(""), below) => symlink(self.target.join(below), place),
            Err(_) if path.parent().is_some_and(|folder| stays(folder, &link)) => symlink(link, place),
            _ => {
                self.left_out.push(path.to_owned());
                Ok(())
            }
        }
    }

    fn file(&self, path: &Path) -> Result<(), WorkspaceError> {
        let Some(source) = self.view.open(path)? else { return Ok(()) };
        let metadata = source.metadata()?;
        let mut copied = File::create_new(self.target.join(path))?;
        if reflink_copy::reflink_file(&source, &copied).is_err() {
            copied.set_len(0)?;
            while io::copy(&mut (&source).take(PIECE), &mut copied)? == PIECE {
                self.go_on()?;
            }
        }
        // Incremental compilers compare times.
        copied.set_modified(metadata.modified()?)?;
        let mode = 0o600 | (metadata.permissions().mode() & 0o755);
        Ok(copied.set_permissions(fs::Permissions::from_mode(mode))?)
    }

    fn go_on(&self) -> Result<(), WorkspaceError> {
        if self.stop.load(Ordering::Relaxed) { Err(WorkspaceError::BrokenOff) } else { Ok(()) }
    }
}

/// Whether a link in `folder` stays in the view, whatever other links there are on its way: its ways up come first.
fn stays(folder: &Path, link: &Path) -> bool {
    let mut up = 0;
    let mut down = false;
    for component in link.components() {
        match component {
            Component::Normal(_) => down = true,
            Component::CurDir => {}
            Component::ParentDir if !down => up += 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    up <= folder.components().count()
}
