//! Killing all that a guard started, whatever it did to get away.

use std::{collections::HashMap, fs, time::Duration};

use nix::{
    errno::Errno,
    poll::{PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpid},
};

/// Kills and reaps until this process has no descendant left; returns the end of `watched`.
///
/// As child subreaper it inherits every orphan below it, so "no child" means that nothing is left.
pub(super) fn kill_descendants(watched: Pid) -> Option<WaitStatus> {
    let mut ended = None;
    let mut pause = Duration::from_millis(1);
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => break,
                Ok(status) if status.pid() == Some(watched) => ended = Some(status),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return ended,
            }
        }
        for pid in descendants(getpid()) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        nap(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// All processes below `ancestor`, by the chains of parents in /proc.
fn descendants(ancestor: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in processes() {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![ancestor.as_raw()];
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.push(Pid::from_raw(child));
            open.push(child);
        }
    }
    found
}

/// Kills every process whose environment names this build, until none is left: for a guard that
/// died before it had done so itself.
pub(super) fn kill_build(build_id: &str) {
    let entry = format!("BUILD_ID={build_id}");
    loop {
        let mut found = false;
        for pid in processes() {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes()) {
                found = kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() || found;
            }
        }
        if !found {
            return;
        }
        nap(Duration::from_millis(10));
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The parent of a process. Its state says nothing: a process whose first thread has ended looks like a zombie.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn nap(duration: Duration) {
    let _ = poll(&mut [], PollTimeout::try_from(duration).unwrap_or(PollTimeout::ZERO));
}
