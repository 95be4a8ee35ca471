//! Somebody at a terminal with `packline`.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, bail};
use packline_testkit::{
    line::{Binaries, Progress},
    process::command,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

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
}
