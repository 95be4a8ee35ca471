//! The links between a guard and a phase's command; each dies with the one above it.
//!
//! `launch` opens a PID namespace where the machine allows, below a user namespace for an ordinary user; `init` is the
//! first process in it and opens the mount namespace; `exec` becomes the command. A PID namespace takes one first
//! process only, hence a launch for each phase. Their stdin is a socket that the guard holds the other end of: they
//! answer on it where they cannot go on. A command that has input reads it there; the stdin of any other is empty.

use std::{
    env,
    ffi::OsString,
    io::{self, ErrorKind},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::setsid,
};

use super::{
    EXEC, INIT, mounts, namespaces,
    plan::{self, Namespaces, Plan, Refusal},
};
use crate::phase::TEMPFAIL;

/// Opens the namespaces of `init`, starts it and passes on how it ended. All links take a plan and the command.
pub(super) fn launch(arguments: &[OsString]) -> ExitCode {
    let Some((mut plan, command)) = Plan::read(arguments) else { return ExitCode::FAILURE };
    if !tied_to_guard() {
        return ExitCode::FAILURE;
    }
    match namespaces::enter(plan.namespaces) {
        Ok((Namespaces::Shared, why)) if plan.view.is_some() => {
            let why = why.map_or_else(|| "it has refused them before".to_owned(), |error| error.to_string());
            return refuse(&namespaces::no_namespaces(&why));
        }
        Ok((namespaces, _)) => plan.namespaces = namespaces,
        Err(refusal) => return refuse(&refusal),
    }
    // Not before: a process that is closed to its own user cannot write its id maps.
    let _ = nix::sys::prctl::set_dumpable(false);
    match link(INIT, "packline-init", &plan).and_then(|mut init| init.args(command).status()) {
        Ok(status) => exit_code(status),
        Err(error) => unstartable(&error),
    }
}

/// Mounts what the phase is to see, starts the command and buries whatever dies until it ends; as PID 1 its own
/// end kills the rest.
pub(super) fn init(arguments: &[OsString]) -> ExitCode {
    let _ = nix::sys::prctl::set_dumpable(false);
    let Some((plan, command)) = Plan::read(arguments) else { return ExitCode::FAILURE };
    if !tied_to_guard() {
        return ExitCode::FAILURE;
    }
    let mut _mounted = None;
    if plan.namespaces != Namespaces::Shared {
        match mounts::set_up(&plan) {
            Ok(lock) => _mounted = lock,
            Err(refusal) => return refuse(&refusal),
        }
    }
    if plan.namespaces == Namespaces::User
        && let Err(error) = namespaces::done_with_mounts()
    {
        return unstartable(&error);
    }
    if let Err(error) = env::set_current_dir(&plan.cwd) {
        return unstartable(&io::Error::new(error.kind(), format!("{}: {error}", plan.cwd.display())));
    }
    let child = match link(EXEC, "packline-exec", &plan).and_then(|mut exec| exec.args(command).spawn()) {
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

/// Becomes the command, in a session of its own and without any rights that its user has not.
pub(super) fn exec(arguments: &[OsString]) -> ExitCode {
    let Some((plan, [program, arguments @ ..])) = Plan::read(arguments) else { return ExitCode::FAILURE };
    if !tied_to_guard() {
        return ExitCode::FAILURE;
    }
    if plan.namespaces == Namespaces::User
        && let Err(error) = namespaces::drop_all()
    {
        return unstartable(&error);
    }
    plan::be_silent();
    let _ = setsid();
    let mut command = Command::new(program);
    command.args(arguments);
    if !plan.input {
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

fn link(name: &str, shown: &str, plan: &Plan) -> io::Result<Command> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(shown).arg(name).arg(plan.argument()?);
    Ok(command)
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

fn unstartable(error: &io::Error) -> ExitCode {
    refuse(&Refusal::Unstartable { error: error.to_string() })
}

fn refuse(refusal: &Refusal) -> ExitCode {
    refusal.tell();
    ExitCode::from(TEMPFAIL)
}
