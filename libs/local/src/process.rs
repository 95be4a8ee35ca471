//! A child process that cannot outlive us, and can be killed, frozen, thawed and stopped.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use tokio::sync::watch;

/// A running (or ended) child. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    log: Option<PathBuf>,
    /// True once the pid may belong to somebody else; held while a signal is sent.
    reaped: Arc<Mutex<bool>>,
    exit: watch::Receiver<Option<ExitStatus>>,
    waits: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` (see [`command`]) in a process group of its own; what it prints is added to the file `log`.
    ///
    /// # Errors
    /// When the log cannot be written or the program not be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.stdout(file.try_clone()?).stderr(file);
        Self::begin(name, command, Some(log.to_owned()))
    }

    /// The same for one that prints where we do: what it prints is not known here.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn_aloud(name: &str, command: Command) -> io::Result<Self> {
        Self::begin(name, command, None)
    }

    fn begin(name: &str, mut command: Command, log: Option<PathBuf>) -> io::Result<Self> {
        command.process_group(0).stdin(Stdio::null());
        let (started, start) = std::sync::mpsc::sync_channel(1);
        let (exited, exit) = watch::channel(None);
        let reaped = Arc::new(Mutex::new(false));
        let reaping = Arc::clone(&reaped);
        // The kernel's "dies with its parent" means the parent's thread: this one lives as long as the child.
        let waits = thread::Builder::new().name(format!("waits for {name}")).spawn(move || match command.spawn() {
            Ok(child) => {
                let _ = started.send(Ok(child.id()));
                exited.send_replace(reap(child, &reaping));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        })?;
        let id = start.recv().map_err(io::Error::other)??;
        let pid = Pid::from_raw(i32::try_from(id).map_err(io::Error::other)?);
        Ok(Self { name: name.to_owned(), pid, log, reaped, exit, waits: Some(waits) })
    }

    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Waits for its end.
    pub async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or_default(),
            Err(_) => ExitStatus::default(),
        }
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        let reaped = lock(&self.reaped);
        if !*reaped {
            let _ = kill(self.pid, signal);
        }
    }

    /// kill -9, and waits until it is gone.
    pub async fn kill(&self) {
        self.signal(Signal::SIGKILL);
        self.exited().await;
    }

    /// Stops its clock: SIGSTOP.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on: SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Asks it to stop (SIGTERM) and waits for its end; kills it where that takes longer than `patience`.
    pub async fn stop(&self, patience: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        match tokio::time::timeout(patience, self.exited()).await {
            Ok(status) => status,
            Err(_) => {
                self.kill().await;
                self.exited().await
            }
        }
    }

    /// All that it has printed so far.
    pub fn printed(&self) -> String {
        let read = self.log.as_ref().and_then(|log| fs::read(log).ok());
        read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines that it has printed.
    pub fn last_lines(&self, count: usize) -> String {
        let printed = self.printed();
        let lines: Vec<&str> = printed.lines().collect();
        lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
    }
}

impl Process {
    /// Kills it and waits until it is gone, without a runtime.
    pub fn end(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(waits) = self.waits.take() {
            let _ = waits.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(reaped: &Mutex<bool>) -> MutexGuard<'_, bool> {
    reaped.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the end of `child` and takes its status, so that no signal meets a pid that is no longer its own.
fn reap(mut child: Child, reaped: &Mutex<bool>) -> Option<ExitStatus> {
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?);
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(nix::Error::EINTR) {}
    let mut reaped = lock(reaped);
    *reaped = true;
    Some(child.wait().unwrap_or_default())
}

/// A command whose program the kernel kills when we end, where the machine has `setpriv` to ask for that.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let known = SETPRIV.get_or_init(|| {
        let mut probe = Command::new("setpriv");
        probe.args(["--pdeathsig", "KILL", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    if !known {
        return Command::new(program);
    }
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL"]).arg(program);
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        let mut program = command("sh");
        program.args(["-c", script]);
        Process::spawn("shell", program, &folder.join("log")).unwrap()
    }

    async fn printed(process: &Process, text: &str) {
        while !process.printed().contains(text) {
            assert!(process.is_running(), "ended after printing {:?}", process.printed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn an_end_is_seen_with_its_status_and_what_it_printed() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("echo out; echo err >&2; exit 7", folder.path());
        assert_eq!(process.exited().await.code(), Some(7));
        assert!(!process.is_running());
        assert_eq!(process.last_lines(5), "out\nerr");
        assert_eq!(process.last_lines(1), "err");
    }

    #[tokio::test]
    async fn one_that_does_not_heed_the_request_to_stop_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let deaf = shell("trap '' TERM; echo ready; while :; do sleep 0.01; done", folder.path());
        printed(&deaf, "ready").await;
        assert_eq!(deaf.stop(Duration::from_millis(50)).await.code(), None);
        let polite = shell("trap 'exit 0' TERM; echo polite; while :; do sleep 0.01; done", folder.path());
        printed(&polite, "polite").await;
        assert_eq!(polite.stop(Duration::from_secs(20)).await.code(), Some(0));
    }

    #[tokio::test]
    async fn a_dropped_one_is_gone_even_when_frozen() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("echo ready; exec sleep 1000", folder.path());
        printed(&process, "ready").await;
        process.freeze();
        let pid = process.pid;
        drop(process);
        assert_eq!(kill(pid, None), Err(nix::Error::ESRCH));
    }
}
