//! One guard process holds each build: it starts the phases and kills all of them when it is told
//! to, when its fuse is over, or when this worker is gone in whatever way.
//!
//! The guard is this program started again with a hidden first argument, see [`crate::subcommand`].

mod kill;
mod mounts;
mod namespaces;
mod plan;
mod process;
mod protocol;
mod trampoline;

use std::{
    ffi::OsString,
    io,
    path::Path,
    process::{ExitCode, Stdio},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, watch},
    time::timeout,
};

use protocol::{ENDED, OUTPUT, Order};
pub use protocol::{Input, PhaseEnd, PhaseRun, Protected, View, boottime_millis};

const GUARD: &str = "guard";
const LAUNCH: &str = "guard-launch";
const INIT: &str = "guard-init";
const EXEC: &str = "guard-exec";

/// A guard that is told to kill does so within a second; one that has not is beyond reach.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The program that the worker starts as its guard: its own, even after the file was replaced.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Plays the part of a guard, or of a link below one, where the arguments of this process say so.
pub(crate) fn subcommand() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let part = arguments.next()?;
    let command: Vec<OsString> = arguments.collect();
    match part.to_str()? {
        GUARD => Some(process::guard()),
        LAUNCH => Some(trampoline::launch(&command)),
        INIT => Some(trampoline::init(&command)),
        EXEC => Some(trampoline::exec(&command)),
        _ => None,
    }
}

/// The guard is gone, and with it, or soon, its phase.
#[derive(Debug, thiserror::Error)]
#[error("the guard of the build ended by itself")]
pub struct GuardLost;

/// A running guard. Dropping it kills the build as well; only [`Guard::finish`] waits for that.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    frames: ChildStdout,
    buffer: BytesMut,
    orders: mpsc::UnboundedSender<Order>,
    build_id: String,
}

/// Tells a guard to kill its build.
#[derive(Clone, Debug)]
pub struct Stopper(mpsc::UnboundedSender<Order>);

impl Stopper {
    /// All processes of the build are killed, and none is started any more.
    pub fn stop(&self) {
        let _ = self.0.send(Order::Stop);
    }
}

impl Guard {
    /// Starts a guard for one build. `fuse` is the time on CLOCK_BOOTTIME, in milliseconds, at which
    /// the guard kills it; it follows each change.
    ///
    /// # Errors
    /// When the machine cannot start a process.
    pub fn start(program: &Path, build_id: &str, fuse: watch::Receiver<u64>) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg0("packline-guard")
            .arg(GUARD)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("a pipe to the guard is missing");
        let (stdin, frames) = (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?);
        let (orders, waiting) = mpsc::unbounded_channel();
        tokio::spawn(pass_on(stdin, waiting, fuse));
        Ok(Self { child, frames, buffer: BytesMut::new(), orders, build_id: build_id.to_owned() })
    }

    /// What stops this build from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.orders.clone())
    }

    /// Its process id, until it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Runs one phase and hands over its output as it comes. When this returns an end, none of the
    /// phase's processes is alive.
    ///
    /// # Errors
    /// When the guard is gone; [`Guard::finish`] clears up behind it.
    pub async fn run(&mut self, run: PhaseRun, mut output: impl FnMut(&[u8])) -> Result<PhaseEnd, GuardLost> {
        self.orders.send(Order::Run(Box::new(run))).map_err(|_| GuardLost)?;
        loop {
            while let Some((kind, payload)) = protocol::pop_frame(&mut self.buffer) {
                match kind {
                    OUTPUT => output(&payload),
                    ENDED => return serde_json::from_slice(&payload).map_err(|_| GuardLost),
                    _ => return Err(GuardLost),
                }
            }
            match self.frames.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Err(GuardLost),
                Ok(_) => {}
            }
        }
    }

    /// Ends the guard and returns when nothing of the build is alive, even where the guard was
    /// killed or frozen before it could see to that.
    pub async fn finish(self) {
        let Self { mut child, frames, orders, build_id, .. } = self;
        let _ = orders.send(Order::Stop);
        drop((orders, frames));
        if matches!(timeout(PATIENCE, child.wait()).await, Ok(Ok(status)) if status.success()) {
            return;
        }
        let _ = child.kill().await;
        let _ = tokio::task::spawn_blocking(move || kill::kill_build(&build_id)).await;
    }
}

/// Writes orders and fuses to the guard until nobody has any more; then the pipe closes.
async fn pass_on(mut stdin: ChildStdin, mut orders: mpsc::UnboundedReceiver<Order>, mut fuse: watch::Receiver<u64>) {
    fuse.mark_changed();
    let mut follows = true;
    loop {
        let order = tokio::select! {
            biased;
            changed = fuse.changed(), if follows => {
                follows = changed.is_ok();
                if !follows { continue }
                Order::Fuse { deadline: *fuse.borrow_and_update() }
            }
            order = orders.recv() => match order {
                Some(order) => order,
                None => return,
            },
        };
        let Ok(mut line) = serde_json::to_vec(&order) else { continue };
        line.push(b'\n');
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}
