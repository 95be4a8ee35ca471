//! What a phase's processes find mounted, in their own mount namespace.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        stat::Mode,
        statvfs::{FsFlags, statvfs},
    },
};

use super::{
    namespaces::no_namespaces,
    plan::{Plan, Refusal},
    protocol::View,
};
use packline_layers::remove_tree;

/// The kernel takes one page of options, with a zero at its end.
const OPTIONS_LIMIT: usize = 4095;

/// Opens the mount namespace and mounts what the plan says; the answer is to be kept for as long as the mounts are.
pub(super) fn set_up(plan: &Plan) -> Result<Option<File>, Refusal> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| no_namespaces(&error.to_string()))?;
    // So that no mount of this phase shows anywhere else.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| no_namespaces(&error.to_string()))?;
    if let Some(protected) = &plan.protected
        && let Err(error) = protect(&protected.folder, &protected.except)
    {
        eprintln!("the source of the workspace is not protected from this build: {error}");
    }
    let own = plan.protected.as_ref().map(|protected| protected.except.as_path());
    let lock = plan.view.as_ref().map(|view| overlay(view, own)).transpose();
    let lock = lock.map_err(|error| Refusal::Unstartable { error: format!("failed to mount the view: {error}") })?;
    let hardened = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // Not allowed in some containers; the old one shows more, and works.
    let _ = mount(Some("proc"), "/proc", Some("proc"), hardened, None::<&str>);
    Ok(lock)
}

/// Mounts `folder` read-only and leaves `except` writable.
fn protect(folder: &Path, except: &Path) -> io::Result<()> {
    let bind = |place: &Path, flags: MsFlags| {
        mount(Some(place), place, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>).map_err(io::Error::from)
    };
    // As a mount of its own it comes along, and stays as it is.
    if except != folder && except.starts_with(folder) {
        bind(except, MsFlags::MS_REC)?;
    }
    bind(folder, MsFlags::MS_REC)?;
    // What the file system forbids already has to be said again.
    let forbidden = statvfs(folder)?.flags();
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    let kept = kept.into_iter().filter(|(flag, _)| forbidden.contains(*flag)).map(|(_, flag)| flag);
    bind(folder, kept.fold(MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, |all, flag| all | flag))
}

/// Mounts a view; what is beside it, which its processes reach as `..`, becomes read-only, but for the build's `own`
/// folder: layers of all builds are there. The answer holds the lock on its `upper`.
fn overlay(view: &View, own: Option<&Path>) -> io::Result<File> {
    let said = |what: &str, path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
    };
    fs::create_dir_all(&view.upper).map_err(|error| said("upper", &view.upper, error))?;
    let lock = lock(&view.upper)?;
    let recreated = remove_tree(&view.work).and_then(|()| fs::create_dir_all(&view.work));
    recreated.map_err(|error| said("work", &view.work, error))?;
    let folder = |what: &str, path: &Path| folder(path).map_err(|error| said(what, path, error));
    folder("mount point", &view.at)?;
    let lower = view.lower.iter().map(|path| folder("lower", path)).collect::<io::Result<Vec<_>>>()?;
    let (upper, work) = (folder("upper", &view.upper)?, folder("work", &view.work)?);
    let options = options(&lower, &upper, &work)?;
    // The overlay writes by the folders that are open.
    let beside = view.at.parent().filter(|beside| *beside != Path::new("/"));
    if let Some(beside) = beside
        && let Err(error) = protect(beside, own.unwrap_or(beside))
    {
        eprintln!("the layers of other builds are not protected from this build: {error}");
    }
    // Opened last: what was opened before is below the new mount.
    let at = folder("mount point", &view.at)?;
    let at = shown(&at);
    let mount = |options: &str| mount(Some("overlay"), at.as_str(), Some("overlay"), MsFlags::empty(), Some(options));
    // What a view holds is of no use after a crash of the machine. A kernel that cannot leave out its syncs says EINVAL.
    mount(&format!("{options},volatile"))
        .or_else(|error| if error == Errno::EINVAL { mount(&options) } else { Err(error) })
        .map_err(|error| match error {
            Errno::EINVAL => {
                io::Error::other(format!(
                "the kernel refuses an overlay that writes to {} (EINVAL): its file system may be one itself, as that of a container",
                view.upper.display()
            ))
            }
            error => said("overlay with upper", &view.upper, error.into()),
        })?;
    Ok(lock)
}

/// Holds the lock beside `upper`: the kernel mounts one twice without a word, and mixes up both.
fn lock(upper: &Path) -> io::Result<File> {
    let mut path = OsString::from(upper);
    path.push(".lock");
    let flags = OFlag::O_NOFOLLOW.bits();
    let lock = OpenOptions::new().write(true).create(true).custom_flags(flags).open(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(io::Error::other(format!("{} is mounted already", upper.display()))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// A name without any of the characters that options need escaped, and a short one.
fn shown(folder: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", folder.as_raw_fd())
}

fn options(lower: &[OwnedFd], upper: &OwnedFd, work: &OwnedFd) -> io::Result<String> {
    let lower: Vec<String> = lower.iter().map(shown).collect();
    let options = format!("userxattr,lowerdir={},upperdir={},workdir={}", lower.join(":"), shown(upper), shown(work));
    if options.len() + ",volatile".len() > OPTIONS_LIMIT {
        return Err(io::Error::other(format!("{} layers are too many for the kernel; join some", lower.len())));
    }
    Ok(options)
}
