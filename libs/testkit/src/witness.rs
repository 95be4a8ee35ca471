//! A witness outside of Packline: what the kernel shows of the processes of this machine.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use procfs::process::{Process, all_processes};

/// A process that runs, or ran a moment ago. What cannot be read any more, or may not be, is empty.
#[derive(Debug)]
pub struct Seen(Process);

impl Seen {
    /// Its id.
    pub fn pid(&self) -> i32 {
        self.0.pid
    }

    /// Its program and arguments.
    pub fn command(&self) -> Vec<String> {
        self.0.cmdline().unwrap_or_default()
    }

    /// Its environment.
    pub fn environment(&self) -> HashMap<OsString, OsString> {
        self.0.environ().unwrap_or_default()
    }

    /// Whether it works in this folder, or its environment or command line names it.
    fn has_to_do_with(&self, folder: &Path) -> bool {
        let names = |text: &OsStr| text.to_string_lossy().contains(&*folder.to_string_lossy());
        self.0.cwd().is_ok_and(|cwd| cwd.starts_with(folder))
            || self.environment().values().any(|value| names(value))
            || self.command().iter().any(|argument| names(OsStr::from_bytes(argument.as_bytes())))
    }
}

/// All processes.
///
/// # Panics
/// On a machine without /proc.
pub fn processes() -> impl Iterator<Item = Seen> {
    let all = all_processes().unwrap_or_else(|error| panic!("no /proc: {error}"));
    all.flatten().map(Seen)
}

/// The processes of a build, which all have it in their environment.
pub fn processes_of(build: &str) -> Vec<Seen> {
    let of_it = |seen: &Seen| seen.environment().get(OsStr::new("BUILD_ID")).is_some_and(|value| value == build);
    processes().filter(of_it).collect()
}

/// The processes that a process has started and that are its own still.
pub fn children_of(pid: i32) -> Vec<Seen> {
    processes().filter(|seen| seen.0.stat().is_ok_and(|stat| stat.ppid == pid)).collect()
}

/// The command lines of all processes that have to do with a folder.
pub fn commands_in(folder: &Path) -> Vec<String> {
    processes().filter(|seen| seen.has_to_do_with(folder)).map(|seen| seen.command().join(" ")).collect()
}
