//! Somebody at a terminal with `packline`.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use packline_testkit::{
    line::{Binaries, Progress},
    process::{Process, command},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    task::JoinHandle,
};

use crate::PATIENCE;

/// Runs `packline` at one broker, from a home of its own.
pub struct Operator {
    program: PathBuf,
    nats_url: String,
    home: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit status.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl Operator {
    /// At this broker.
    ///
    /// # Errors
    /// When the programs do not build.
    pub async fn at(nats_url: &str) -> anyhow::Result<Self> {
        let program = Binaries::find(Progress::Hidden).await?.path("packline");
        Ok(Self { program, nats_url: nats_url.to_owned(), home: tempfile::tempdir()? })
    }

    /// The command, ready to start, with no other environment than this.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut packline = command(&self.program);
        packline.args(arguments).env_clear();
        for name in ["PATH", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                packline.env(name, value);
            }
        }
        packline.env("NATS_URL", &self.nats_url).env("HOME", self.home.path());
        let mut packline = Command::from(packline);
        packline.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        packline
    }

    /// Where its home is.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// Starts it at a terminal of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub fn terminal(&self, arguments: &[&str]) -> anyhow::Result<Process> {
        let line = format!("{} {}", self.program.display(), arguments.join(" "));
        let mut script = command("script");
        script.args(["-qefc", &line, "/dev/null"]).env("NATS_URL", &self.nats_url).env("HOME", self.home.path());
        Ok(Process::spawn("terminal", script, &self.home.path().join(format!("{}.log", fastrand::u64(..))))?)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        Said::of(self.command(arguments)).await.with_context(|| format!("packline {}", arguments.join(" ")))
    }

    /// Runs it to its end, and reads what it printed as JSON.
    ///
    /// # Errors
    /// When it ends with another status than 0, or prints no JSON.
    pub async fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let said = self.run(arguments).await?;
        if said.status != 0 {
            bail!("packline {}: {said:?}", arguments.join(" "));
        }
        serde_json::from_str(&said.stdout).with_context(|| format!("packline {} says {said:?}", arguments.join(" ")))
    }
}

impl Said {
    /// What a command says until it ends.
    ///
    /// # Errors
    /// When it does not start, or does not end within [`PATIENCE`].
    pub async fn of(mut command: Command) -> anyhow::Result<Self> {
        let ended = tokio::time::timeout(PATIENCE, command.spawn()?.wait_with_output()).await;
        let ended = ended.context("it does not end")??;
        Ok(Self {
            status: ended.status.code().context("it was killed")?,
            stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        })
    }

    /// Starts a command, and returns when it says on stderr that it waits for this; then its end can be awaited.
    ///
    /// # Errors
    /// When it ends without waiting for this, or says nothing for [`PATIENCE`].
    pub async fn until_waiting(mut command: Command, what: &str) -> anyhow::Result<JoinHandle<anyhow::Result<Self>>> {
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("stderr is not kept")?).lines();
        let mut stderr = String::new();
        while !stderr.contains(what) {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
            let Some(line) = line.with_context(|| format!("it neither ends nor waits for {what}: {stderr}"))?? else {
                bail!("it ended without waiting for {what}: {stderr}");
            };
            stderr += &format!("{line}\n");
        }
        Ok(tokio::spawn(async move {
            let rest = async {
                while let Ok(Some(line)) = lines.next_line().await {
                    stderr += &format!("{line}\n");
                }
            };
            let ended = async { tokio::join!(child.wait_with_output(), rest).0 };
            let ended = tokio::time::timeout(PATIENCE, ended).await.context("it does not end")??;
            let stdout = String::from_utf8_lossy(&ended.stdout).into_owned();
            Ok(Self { status: ended.status.code().context("it was killed")?, stdout, stderr })
        }))
    }
}

/// Returns when a terminal has shown something new, beyond the first `seen` bytes, which is so; all that it has shown.
///
/// # Errors
/// When it is not so within [`PATIENCE`], or the command ends.
pub async fn until_shown(terminal: &Process, seen: usize, so: impl Fn(&str) -> bool) -> anyhow::Result<String> {
    let since = Instant::now();
    loop {
        let text = terminal.printed();
        if text.get(seen..).is_some_and(&so) {
            return Ok(text);
        }
        if since.elapsed() > PATIENCE || !terminal.is_running() {
            bail!("the terminal shows {text:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
