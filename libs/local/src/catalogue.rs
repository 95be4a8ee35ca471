//! A real catalogue of one's own: `packages-api` over a database in a folder, spoken to over MCP.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
};

use crate::{line::Binaries, process::command};

/// How long one conversation may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A catalogue: whoever starts its program over the same database sees the same packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    program: PathBuf,
    database: PathBuf,
}

impl Catalogue {
    /// A catalogue of the workspace in `workspace`, kept in `database`.
    ///
    /// # Errors
    /// When the workspace is not understood.
    pub async fn scan(binaries: &Binaries, workspace: &Path, database: &Path) -> anyhow::Result<Self> {
        let catalogue = Self::empty(binaries, database);
        let mut scan = Command::from(command(&catalogue.program));
        scan.arg("scan").arg(workspace).arg("--database").arg(database).stdin(Stdio::null()).kill_on_drop(true);
        let ended = scan.output().await.context("failed to start packages-api")?;
        if !ended.status.success() {
            bail!("packages-api does not scan: {}", String::from_utf8_lossy(&ended.stderr).trim());
        }
        Ok(catalogue)
    }

    /// A catalogue over `database`, which is made when it is first asked.
    pub fn empty(binaries: &Binaries, database: &Path) -> Self {
        Self { program: binaries.path("packages-api"), database: database.to_owned() }
    }

    /// The `MCP_COMMAND` of a poller that asks this catalogue, quoted as for a shell.
    pub fn command(&self) -> String {
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        format!("{} serve --database {}", quoted(&self.program), quoted(&self.database))
    }

    /// All its packages, as it lists them.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn packages(&self) -> anyhow::Result<Vec<Value>> {
        let mut answer = self.call("packages_list", json!({})).await?;
        match answer.get_mut("packages").map(Value::take) {
            Some(Value::Array(packages)) => Ok(packages),
            _ => bail!("the catalogue lists no packages: {answer}"),
        }
    }

    /// Calls one tool, in a session of its own.
    ///
    /// # Errors
    /// When the tool says so, or does not answer within a minute.
    pub async fn call(&self, tool: &str, arguments: Value) -> anyhow::Result<Value> {
        let called = tokio::time::timeout(PATIENCE, self.converse(tool, &arguments)).await;
        called.context("the catalogue does not answer")?.with_context(|| format!("failed to call {tool}"))
    }

    async fn converse(&self, tool: &str, arguments: &Value) -> anyhow::Result<Value> {
        let mut serve = Command::from(command(&self.program));
        serve.arg("serve").arg("--database").arg(&self.database).kill_on_drop(true);
        let mut child = serve.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut input = child.stdin.take().context("no way to speak to packages-api")?;
        let mut output = BufReader::new(child.stdout.take().context("no way to hear packages-api")?).lines();
        let greeting = json!({ "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "packline-local", "version": env!("CARGO_PKG_VERSION") } });
        ask(&mut input, &mut output, 1, "initialize", &greeting).await?;
        say(&mut input, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
        let call = json!({ "name": tool, "arguments": arguments });
        let answer = ask(&mut input, &mut output, 2, "tools/call", &call).await?;
        drop(input);
        child.wait().await?;
        read(&answer)
    }
}

async fn say(input: &mut ChildStdin, message: &Value) -> anyhow::Result<()> {
    input.write_all(format!("{message}\n").as_bytes()).await?;
    Ok(input.flush().await?)
}

async fn ask(
    input: &mut ChildStdin,
    output: &mut Lines<BufReader<ChildStdout>>,
    id: u64,
    method: &str,
    params: &Value,
) -> anyhow::Result<Value> {
    say(input, &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await?;
    while let Some(line) = output.next_line().await? {
        let mut message: Value = serde_json::from_str(&line).with_context(|| format!("`{line}` is no message"))?;
        if message.get("id") != Some(&json!(id)) {
            continue;
        }
        return match message.get_mut("result").map(Value::take) {
            Some(result) => Ok(result),
            None => bail!("{method} is refused: {}", message.get("error").unwrap_or(&Value::Null)),
        };
    }
    bail!("packages-api ended before it answered")
}

/// What a tool answered: structured, or JSON in the first text block.
fn read(answer: &Value) -> anyhow::Result<Value> {
    let text = answer.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default();
    if answer.get("isError") == Some(&Value::Bool(true)) {
        bail!("the tool says: {text}");
    }
    match answer.get("structuredContent") {
        Some(structured @ Value::Object(_)) => Ok(structured.clone()),
        _ => serde_json::from_str(text).with_context(|| format!("`{text}` is no JSON")),
    }
}
