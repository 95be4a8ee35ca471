//! The private copy of the workspace that a build works in: what its package needs, and no link
//! through which it could alter the source.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::fcntl::OFlag;
use packline_domain::{BuildId, PackageName};
use serde_json::Value;

/// Files beside the packages that builds may refer to (compiler settings and the like) are small.
const ROOT_FILE_LIMIT: u64 = 1024 * 1024;

/// Installed or built by others, or settings that would turn npm to another registry.
const LEFT_OUT: [&str; 4] = ["node_modules", ".git", ".packline", ".npmrc"];

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The source is not fit to be built, now or later.
    #[error("{0}")]
    Refused(String),
    /// It was broken off.
    #[error("the copy of the workspace was broken off")]
    BrokenOff,
    /// This machine failed.
    #[error("failed to copy the workspace: {0}")]
    Machine(#[from] io::Error),
}

/// The folders of one build. [`BuildFolder::remove`] them when it is over.
#[derive(Clone, Debug)]
pub struct BuildFolder {
    base: PathBuf,
    /// The package's folder in the copy.
    pub package: PathBuf,
    /// What was left out of the copy, for the log.
    pub left_out: Vec<String>,
}

impl BuildFolder {
    /// Copies what a package needs from the workspace at `root` to a new folder below `scratch`; breaks off
    /// before the next file once `stop` is true. Blocks.
    ///
    /// # Errors
    /// See [`WorkspaceError`]; nothing is left behind.
    pub fn prepare(scratch: &Path, root: &Path, build: &BuildId, stop: &AtomicBool) -> Result<Self, WorkspaceError> {
        let base = scratch.join(format!("{}.{}", build.package.key().replace('/', "+"), build.serial));
        let mut folder = Self { package: base.join("workspace"), base, left_out: Vec::new() };
        let copied = folder.fill(root, &build.package, stop);
        if copied.is_err() {
            folder.remove();
        }
        copied.map(|()| folder)
    }

    /// The root of the copied workspace.
    pub fn root(&self) -> PathBuf {
        self.base.join("workspace")
    }

    /// Whether the package has this file or folder now.
    pub fn has(&self, file: &str) -> bool {
        let there = |path: &Path| path.canonicalize().ok();
        there(&self.package.join(file)).zip(there(&self.package)).is_some_and(|(file, folder)| file.starts_with(folder))
    }

    /// HOME of the build.
    pub fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    /// TMPDIR of the build.
    pub fn temporary(&self) -> PathBuf {
        self.base.join("tmp")
    }

    /// Where the packed tarball goes.
    pub fn tarball(&self) -> PathBuf {
        self.base.join("tarball")
    }

    /// For npm's configuration files.
    pub fn settings(&self) -> PathBuf {
        self.base.join("settings")
    }

    /// Where other builds and the worker itself have their folders.
    pub fn beside(&self) -> PathBuf {
        self.base.parent().map_or_else(|| self.base.clone(), Path::to_owned)
    }

    /// Removes all of it, whatever the build did to it. Blocks.
    pub fn remove(&self) {
        if let Err(error) = remove_tree(&self.base) {
            tracing::warn!("failed to remove {}: {error}", self.base.display());
        }
    }

    fn fill(&mut self, root: &Path, name: &PackageName, stop: &AtomicBool) -> Result<(), WorkspaceError> {
        let (source, below) = source(root, name)?;
        fs::create_dir(&self.base)?;
        for folder in [self.root(), self.home(), self.temporary(), self.tarball(), self.settings()] {
            fs::create_dir(folder)?;
        }
        self.package = self.root().join(&below);
        fs::create_dir_all(&self.package)?;
        self.copy_tree(&source, &self.package.clone(), stop)?;
        self.copy_root_files(root)?;
        let plan = Path::new("plans").join(format!("{}.md", name.unscoped()));
        if is_plain_file(&root.join(&plan)) && is_below(&root.join(&plan), root)? {
            fs::create_dir_all(self.root().join("plans"))?;
            copy_file(&root.join(&plan), &self.root().join(&plan))?;
        }
        Ok(())
    }

    fn copy_tree(&mut self, source: &Path, target: &Path, stop: &AtomicBool) -> Result<(), WorkspaceError> {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(source.join(&folder))? {
                if stop.load(Ordering::Relaxed) {
                    return Err(WorkspaceError::BrokenOff);
                }
                let entry = entry?;
                if is_left_out(&entry.file_name()) {
                    continue;
                }
                let inner = folder.join(entry.file_name());
                let (from, to) = (source.join(&inner), target.join(&inner));
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    fs::create_dir(&to)?;
                    fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
                    folders.push(inner);
                } else if kind.is_file() {
                    copy_file(&from, &to)?;
                } else if kind.is_symlink() {
                    copy_link(source, &inner, &to)?;
                } else {
                    self.left_out.push(format!("{} is no file", inner.display()));
                }
            }
        }
        Ok(())
    }

    /// Compiler settings and the like; no lock file, no settings of npm, no `workspaces`.
    fn copy_root_files(&mut self, root: &Path) -> Result<(), WorkspaceError> {
        const LOCKS: [&str; 4] = ["package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"];
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let private = LOCKS.contains(&text.as_ref()) || text.starts_with(".env") || text.starts_with(".yarnrc");
            if private || is_left_out(&name) || !entry.file_type()?.is_file() {
                continue;
            }
            let (from, to) = (entry.path(), self.root().join(&name));
            if entry.metadata()?.len() > ROOT_FILE_LIMIT {
                self.left_out.push(format!("{text} of the workspace root is larger than 1 MiB"));
            } else if text == "package.json" {
                self.copy_root_manifest(&from, &to)?;
            } else {
                copy_file(&from, &to)?;
            }
        }
        Ok(())
    }

    fn copy_root_manifest(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        match serde_json::from_slice::<Value>(&fs::read(from)?) {
            Ok(Value::Object(mut fields)) => {
                fields.remove("workspaces");
                fs::write(to, Value::Object(fields).to_string())
            }
            _ => {
                self.left_out.push("package.json of the workspace root is no JSON object".into());
                Ok(())
            }
        }
    }
}

/// The package's folder, resolved, and its path below the root.
fn source(root: &Path, name: &PackageName) -> Result<(PathBuf, PathBuf), WorkspaceError> {
    let below = Path::new("packages").join(name.unscoped());
    let folder = root.join(&below);
    match folder.canonicalize() {
        Ok(resolved) if !resolved.starts_with(root.canonicalize()?) => {
            Err(WorkspaceError::Refused(format!("{} leads out of the workspace", below.display())))
        }
        Ok(resolved) if resolved.is_dir() => Ok((resolved, below)),
        Ok(_) => Err(WorkspaceError::Refused(format!("{} is no folder", below.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(WorkspaceError::Refused(format!("the workspace has no folder {}", below.display())))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_left_out(name: &OsStr) -> bool {
    LEFT_OUT.iter().any(|left_out| name == *left_out)
}

fn is_plain_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= ROOT_FILE_LIMIT)
}

fn is_below(path: &Path, root: &Path) -> io::Result<bool> {
    Ok(path.canonicalize()?.starts_with(root.canonicalize()?))
}

/// A file of its own, sharing blocks where the file system can.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    // Not what a link that came meanwhile points to, and not waiting for a pipe's other end.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut source = OpenOptions::new().read(true).custom_flags(flags.bits()).open(from)?;
    let metadata = source.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(format!("{} changed while it was copied", from.display())));
    }
    let mut target = File::create_new(to)?;
    if reflink_copy::reflink_file(&source, &target).is_err() {
        target.set_len(0)?;
        io::copy(&mut source, &mut target)?;
    }
    // A build may write to its own copy, and no more bits than these are its business.
    target.set_permissions(fs::Permissions::from_mode(0o644 | (metadata.permissions().mode() & 0o111)))
}

/// The same link, where it stays within the package; it then does so in the copy too.
fn copy_link(source: &Path, inner: &Path, to: &Path) -> Result<(), WorkspaceError> {
    let link = source.join(inner);
    let target = fs::read_link(&link)?;
    // Both: a way up through the root and down again resolves inside the source, and from the copy it leads
    // to the source itself.
    let inside = stays_below(inner, &target) && link.canonicalize().map_or(true, |place| place.starts_with(source));
    if target.is_absolute() || !inside {
        let refusal = format!("{} is a link that leads out of the package", inner.display());
        return Err(WorkspaceError::Refused(refusal));
    }
    symlink(target, to)?;
    Ok(())
}

/// Whether a link stays below the folder that `inner` is relative to, whatever other links there are: its ways
/// up all come first, and do not lead above.
fn stays_below(inner: &Path, target: &Path) -> bool {
    let mut depth = inner.components().count().saturating_sub(1);
    let mut down = false;
    for component in target.components() {
        match component {
            Component::Normal(_) => down = true,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 && !down => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Removes a folder, also where folders in it were closed to their owner. Links are removed, never followed.
///
/// # Errors
/// When something in it cannot be removed.
pub fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            let mut closed = vec![folder.to_owned()];
            while let Some(folder) = closed.pop() {
                let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
                for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        closed.push(entry.path());
                    }
                }
            }
            fs::remove_dir_all(folder)
        }
        Ok(()) => Ok(()),
    }
}
