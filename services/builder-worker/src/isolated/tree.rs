//! Copying folders, files and links so that no write to the copy reaches the source.

use std::{
    ffi::OsStr,
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::fcntl::OFlag;

use super::{WorkspaceError, members::Members};

/// Installed or built by others, or settings that would turn npm to another registry.
const LEFT_OUT: [&str; 4] = ["node_modules", ".git", ".packline", ".npmrc"];

/// So much of a file is copied before the next look at whether to go on.
const PIECE: u64 = 8 * 1024 * 1024;

/// Copies from one workspace to one build.
pub(super) struct Copier<'a> {
    /// The workspace, resolved.
    pub(super) root: &'a Path,
    /// The package's folder, below the root of the copy; empty where it is the root.
    pub(super) package: &'a Path,
    /// The other packages.
    pub(super) members: &'a Members,
    /// The root of the copy.
    pub(super) target: &'a Path,
    /// Where builds have their folders, resolved.
    pub(super) scratch: &'a Path,
    /// Once true, the copy is broken off.
    pub(super) stop: &'a AtomicBool,
}

/// How many links of the package that are left out are named; the others are counted.
const LINKS_NAMED: usize = 20;

/// What a folder is to the package that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its own folder.
    Package,
    /// A folder that packages share.
    Shared,
}

impl Part {
    /// Whether `name` in `folder`, a path below this part, is not copied. npm packs what stands deeper in a package
    /// under these names: fixtures and templates.
    fn leaves_out(self, folder: &Path, name: &OsStr) -> bool {
        is_left_out(name) && (self == Self::Shared || folder == Path::new(""))
    }
}

/// One thing in a folder.
pub(super) struct Found {
    /// Below the folder.
    pub(super) path: PathBuf,
    pub(super) kind: FileType,
}

/// What is done about one thing that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Taken,
    /// With all that is in it.
    Skipped,
    /// The whole folder is left out because of it.
    TooMuch,
}

impl Copier<'_> {
    /// All that is to be copied from the package's folder, what holds before what is held.
    pub(super) fn list(&self, source: &Path) -> Result<Vec<Found>, WorkspaceError> {
        self.list_chosen(source, Part::Package, |_, _| Ok(Choice::Taken)).map(Option::unwrap_or_default)
    }

    /// What `choose` takes, told of each thing and of how many there are with it; `None` when it is too much.
    pub(super) fn list_chosen(
        &self,
        source: &Path,
        part: Part,
        mut choose: impl FnMut(&Found, usize) -> io::Result<Choice>,
    ) -> Result<Option<Vec<Found>>, WorkspaceError> {
        let mut all: Vec<Found> = Vec::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(source.join(&folder))? {
                self.go_on()?;
                let entry = entry?;
                if part.leaves_out(&folder, &entry.file_name()) || self.scratch.starts_with(entry.path()) {
                    continue;
                }
                let found = Found { path: folder.join(entry.file_name()), kind: entry.file_type()? };
                match choose(&found, all.len() + 1)? {
                    Choice::Taken => {}
                    Choice::Skipped => continue,
                    Choice::TooMuch => return Ok(None),
                }
                if found.kind.is_dir() {
                    folders.push(found.path.clone());
                }
                all.push(found);
            }
        }
        Ok(Some(all))
    }

    /// Copies what was found in the folder `source` to the folder `below` the root of the copy.
    pub(super) fn copy(
        &self,
        source: &Path,
        below: &Path,
        found: Vec<Found>,
        part: Part,
        left_out: &mut Vec<String>,
    ) -> Result<(), WorkspaceError> {
        fs::create_dir_all(self.target.join(below))?;
        let mut links = 0;
        for Found { path, kind } in found {
            self.go_on()?;
            let (from, inner) = (source.join(&path), below.join(&path));
            // Of the package, its owner knows where it is.
            let shown = if part == Part::Package { &path } else { &inner };
            let to = self.target.join(&inner);
            if kind.is_dir() {
                // On the way to the package it is there.
                fs::create_dir_all(&to)?;
                fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
            } else if kind.is_file() {
                self.copy_file(&from, &to)?;
            } else if !kind.is_symlink() {
                left_out.push(format!("{} is no file", shown.display()));
            } else if !self.copy_link(source, &from, &inner)? {
                links += 1;
                if part == Part::Shared {
                    left_out.push(format!("{} is a link to what is not copied", shown.display()));
                } else if links <= LINKS_NAMED {
                    left_out.push(format!("{} is a link that leads out of the package", shown.display()));
                }
            }
        }
        if part == Part::Package && links > LINKS_NAMED {
            left_out.push(format!("{} more links that lead out of the package", links - LINKS_NAMED));
        }
        Ok(())
    }

    /// A file of its own, sharing blocks where the file system can.
    pub(super) fn copy_file(&self, from: &Path, to: &Path) -> Result<(), WorkspaceError> {
        // Not what a link that came meanwhile points to, and not waiting for a pipe's other end.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let source = OpenOptions::new().read(true).custom_flags(flags.bits()).open(from)?;
        let metadata = source.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other(format!("{} changed while it was copied", from.display())).into());
        }
        let mut target = File::create_new(to)?;
        if reflink_copy::reflink_file(&source, &target).is_err() {
            target.set_len(0)?;
            while io::copy(&mut (&source).take(PIECE), &mut target)? == PIECE {
                self.go_on()?;
            }
        }
        // npm packs these bits as they are. A build may write to its own copy, and others may not.
        let mode = 0o600 | (metadata.permissions().mode() & 0o755);
        Ok(target.set_permissions(fs::Permissions::from_mode(mode))?)
    }

    /// The same link at `inner` of the copy, where it stays among what is copied; it then does so in the copy
    /// too. False where it does not. `source` is the folder that is being copied.
    pub(super) fn copy_link(&self, source: &Path, link: &Path, inner: &Path) -> io::Result<bool> {
        let target = fs::read_link(link)?;
        let Some(place) = place(inner, &target) else { return Ok(false) };
        // Both: a way up through the root of the machine and down again resolves inside the source, and from
        // the copy it leads to the source itself.
        let resolves =
            |to: PathBuf| to.starts_with(source) || to.strip_prefix(self.root).is_ok_and(|below| self.is_copied(below));
        if !self.is_copied(&place) || !link.canonicalize().map_or(true, resolves) {
            return Ok(false);
        }
        symlink(target, self.target.join(inner))?;
        Ok(true)
    }

    /// Whether a place below the root may be in the copy: siblings are not.
    fn is_copied(&self, below: &Path) -> bool {
        let in_package = self.package != Path::new("") && below.starts_with(self.package);
        in_package || !self.members.hold(below)
    }

    /// An error once the copy is to be broken off.
    pub(super) fn go_on(&self) -> Result<(), WorkspaceError> {
        if self.stop.load(Ordering::Relaxed) { Err(WorkspaceError::BrokenOff) } else { Ok(()) }
    }
}

/// Whether nothing of this name is copied from the root and from what packages share, at any level, and from the top
/// of a package.
pub(super) fn is_left_out(name: &OsStr) -> bool {
    LEFT_OUT.iter().any(|left_out| name == *left_out)
}

/// Where a link at `inner` leads, below the same root, whatever other links there are: its ways up all come
/// first, and do not lead above. `None` where that is not so.
fn place(inner: &Path, target: &Path) -> Option<PathBuf> {
    let mut place = inner.parent()?.to_owned();
    let mut down = false;
    for component in target.components() {
        match component {
            Component::Normal(name) => {
                down = true;
                place.push(name);
            }
            Component::CurDir => {}
            Component::ParentDir if !down && place.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(place)
}
