//! The catalogue as a program: a process group of its own that does not outlive its session.

use std::{process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A running program. Dropping it kills its whole group.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts it, and answers the two ends to speak to it. What it prints on stderr goes to ours.
    pub(crate) fn start(program: &str, arguments: &[String]) -> std::io::Result<(Self, ChildStdout, ChildStdin)> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).process_group(0);
        // The broker's and the other catalogue's secrets are none of its business, nor is where we serve our metrics:
        // a catalogue that reads the same variable would fail to listen there.
        for ours in
            ["NATS_URL", "NATS_USER", "NATS_PASSWORD", "NATS_CREDS", "NATS_NKEY", "NATS_KEY", "MCP_TOKEN", "HTTP_ADDR"]
        {
            command.env_remove(ours);
        }
        let mut child = command.spawn()?;
        match (child.stdout.take(), child.stdin.take()) {
            (Some(output), Some(input)) => Ok((Self { child }, output, input)),
            _ => Err(std::io::Error::other("its stdin and stdout are not there")),
        }
    }

    /// Waits for its end, which the end of its stdin asks for; beyond `grace` it is killed.
    pub(crate) async fn end(mut self, grace: Duration) {
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            self.signal(Signal::SIGTERM);
            if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
                self.signal(Signal::SIGKILL);
                let _ = self.child.wait().await;
            }
        }
    }

    /// To the whole group: a program like `npx` is only the parent of the one that matters. As long as the
    /// child is not reaped, nobody else can have its number.
    fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
