//! Peers that nobody here wrote.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use anyhow::{Context, bail};
use packline_testkit::{
    process::command,
    tools::{self, Python},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

/// Where the scripts of foreign peers are.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Somebody with nats-py.
pub struct NatsPy {
    python: Python,
    nats_url: String,
}

impl NatsPy {
    /// At this broker.
    ///
    /// # Errors
    /// When Python or its packages are missing.
    pub async fn at(nats_url: &str) -> anyhow::Result<Self> {
        Ok(Self { python: tools::python().await?, nats_url: nats_url.to_owned() })
    }

    /// Does these steps (see `fixtures/nats_client.py`) over one connection; the answer of each.
    ///
    /// # Errors
    /// With what Python said, when one of them fails.
    pub async fn run(&self, steps: &[Value]) -> anyhow::Result<Vec<Value>> {
        let input: String = steps.iter().map(|step| format!("{step}\n")).collect();
        let mut script = self.python.command(&fixture("nats_client.py"));
        script.env("NATS_URL", &self.nats_url);
        let ended = run(script.into(), &input).await?;
        if !ended.status.success() {
            bail!("nats-py says {}", String::from_utf8_lossy(&ended.stderr));
        }
        let answers: Result<Vec<Value>, _> =
            String::from_utf8_lossy(&ended.stdout).lines().map(serde_json::from_str).collect();
        let answers = answers?;
        anyhow::ensure!(answers.len() == steps.len(), "{} answers to {} steps", answers.len(), steps.len());
        Ok(answers)
    }
}

/// Somebody with the `nats` tool.
pub struct NatsTool {
    program: PathBuf,
    nats_url: String,
    home: tempfile::TempDir,
}

impl NatsTool {
    /// At this broker; `None`, and a line that says so, where there is neither the tool nor Go to build it.
    ///
    /// # Errors
    /// When Go cannot build it.
    pub async fn at(nats_url: &str) -> anyhow::Result<Option<Self>> {
        let Some(program) = tools::nats_cli().await? else {
            crate::left_out("a test with the tool `nats`", "it is not on the PATH, nor Go to build it");
            return Ok(None);
        };
        Ok(Some(Self { program, nats_url: nats_url.to_owned(), home: tempfile::tempdir()? }))
    }

    /// Runs it; what it printed.
    ///
    /// # Errors
    /// With what it complained, when it does not end with status 0.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut tool = command(&self.program);
        tool.args(arguments);
        self.ended(tool, arguments).await
    }

    /// Runs it as [`Self::run`] does, in a terminal: some of its commands want one.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_in_terminal(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let words = std::iter::once(self.program.to_str().context("a strange path")?).chain(arguments.iter().copied());
        let mut terminal = command("script");
        terminal.args(["--quiet", "--return", "--command", &shlex::try_join(words)?, "/dev/null"]);
        self.ended(terminal, arguments).await
    }

    async fn ended(&self, mut tool: std::process::Command, arguments: &[&str]) -> anyhow::Result<String> {
        // A context that the person who runs the tests has chosen must not be used.
        tool.env("NATS_URL", &self.nats_url).env("NATS_TIMEOUT", "60s");
        tool.env("HOME", self.home.path()).env("XDG_CONFIG_HOME", self.home.path()).env_remove("NATS_CONTEXT");
        let ended = run(tool.into(), "").await?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        if !ended.status.success() {
            bail!("nats {} says {said}{}", arguments.join(" "), String::from_utf8_lossy(&ended.stderr));
        }
        Ok(said)
    }

    /// Runs it, and reads what it printed as JSON.
    ///
    /// # Errors
    /// As [`Self::run`], or when it is no JSON.
    pub async fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let said = self.run(arguments).await?;
        serde_json::from_str(&said).with_context(|| format!("nats {} says {said}", arguments.join(" ")))
    }
}

async fn run(mut program: Command, input: &str) -> anyhow::Result<Output> {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = program.spawn()?;
    let mut stdin = child.stdin.take().context("no way to speak to it")?;
    let said = async {
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let (ended, ()) = tokio::join!(child.wait_with_output(), said);
    Ok(ended?)
}
