//! The links between a guard and a phase's command; each dies with the one above it.
//!
//! `launch` opens a PID namespace where the machine allows, `init` is the first process in it, and
//! `exec` becomes the command. A PID namespace takes one first process only, hence a launch for
//! each phase. Their stdin is a socket that the guard holds the other end of. A command that has input reads
//! it there; the stdin of any other is empty.

use std::{
    env,
    ffi::OsString,
    io::{self, ErrorKind},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::Signal,
        statvfs::{FsFlags, statvfs},
        wait::{WaitStatus, waitpid},
    },
    unistd::{getpid, setsid},
};

use super::{EXEC, INIT, WITH_INPUT};
use crate::phase::TEMPFAIL;

/// Opens a namespace for `init`, starts it and passes on how it ended. Before the command stand the folder
/// that is protected from it and the exception; both are empty where there is none. What `init` and `exec` take
/// follows.
pub(super) fn launch(arguments: &[OsString]) -> ExitCode {
    let _ = nix::sys::prctl::set_dumpable(false);
    let [protected, except, command @ ..] = arguments else { return ExitCode::FAILURE };
    if !tied_to_guard() {
        return ExitCode::FAILURE;
    }
    let isolated = unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS).is_ok();
    if isolated {
        // So that init's own /proc shows nowhere else.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let _ = mount(None::<&str>, "/", None::<&str>, private, None::<&str>);
        if !protected.is_empty()
            && let Err(error) = protect(Path::new(protected), Path::new(except))
        {
            eprintln!("the source of the workspace is not protected from this build: {error}");
        }
    }
    match link(INIT, "packline-init").args(command).status() {
        Ok(status) => exit_code(status),
        Err(error) => unstartable(&error),
    }
}

/// Mounts `folder` read-only, in this namespace alone, and leaves `except` writable.
fn protect(folder: &Path, except: &Path) -> io::Result<()> {
    let bind = |place: &Path, flags: MsFlags| {
        mount(Some(place), place, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>).map_err(io::Error::from)
    };
    let here = env::current_dir()?;
    // As a mount of its own it comes along, and stays as it is.
    if except.starts_with(folder) {
        bind(except, MsFlags::empty())?;
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
    bind(folder, kept.fold(MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, |all, flag| all | flag))?;
    // Where this process is, the mounts from before would still be open to the command.
    env::set_current_dir(here)
}

/// Starts the command and buries whatever dies until it ends; as PID 1 its own end kills the rest.
pub(super) fn init(command: &[OsString]) -> ExitCode {
    let _ = nix::sys::prctl::set_dumpable(false);
    if !tied_to_guard() {
        return ExitCode::FAILURE;
    }
    if getpid().as_raw() == 1 {
        let hardened = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let _ = mount(Some("proc"), "/proc", Some("proc"), hardened, None::<&str>);
    }
    let child = match link(EXEC, "packline-exec").args(command).spawn() {
        Ok(child) => child.id(),
        Err(error) => return unstartable(&error),
    };
    loop {
        let ended = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, status)) => (pid, status),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
            Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return unstartable(&error.into()),
        };
        if u32::try_from(ended.0.as_raw()) == Ok(child) {
            return ExitCode::from(u8::try_from(ended.1).unwrap_or(u8::MAX));
        }
    }
}

/// Becomes the command, in a session of its own. Before it stands whether it has input.
pub(super) fn exec(arguments: &[OsString]) -> ExitCode {
    let [input, program, arguments @ ..] = arguments else {
        return ExitCode::FAILURE;
    };
    if !tied_to_guard() {
        return ExitCode::FAILURE;
    }
    let _ = setsid();
    let mut command = Command::new(program);
    command.args(arguments);
    if input != WITH_INPUT {
        command.stdin(Stdio::null());
    }
    let error = command.exec();
    eprintln!("cannot start {}: {error}", program.display());
    let of_the_package = program.as_encoded_bytes().contains(&b'/');
    match error.kind() {
        ErrorKind::NotFound if !of_the_package => ExitCode::from(TEMPFAIL),
        ErrorKind::NotFound => ExitCode::from(127),
        _ => ExitCode::from(126),
    }
}

/// Dies from now on when its parent does; false when the guard is gone already.
fn tied_to_guard() -> bool {
    if prctl::set_pdeathsig(Signal::SIGKILL).is_err() {
        return false;
    }
    // A parent that died before that is noticed by the guard, which kills its orphans; a guard that
    // died leaves its end of the socket closed.
    let stdin = io::stdin();
    let mut ends = [PollFd::new(std::os::fd::AsFd::as_fd(&stdin), PollFlags::empty())];
    let _ = poll(&mut ends, PollTimeout::ZERO);
    let [end] = &ends;
    !end.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

fn link(name: &str, shown: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(shown).arg(name);
    command
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

fn unstartable(error: &io::Error) -> ExitCode {
    eprintln!("cannot start a process: {error}");
    ExitCode::from(TEMPFAIL)
}
