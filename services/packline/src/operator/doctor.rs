//! `packline doctor`: what is wrong before it hurts.

mod broker;
mod catalogue;
mod npm;
mod workspace;

use anyhow::bail;
use serde::Serialize;
use serde_json::json;

use super::{ask, connection::Connection};
use crate::say;

/// Where to look
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "It reads what the services read: MCP_COMMAND or MCP_URL with MCP_TOKEN, NPM_REGISTRY, WORKSPACE_ROOT.
Exit status: 0 nothing is wrong as far as could be seen, 1 something is."
)]
pub(crate) struct Settings {
    /// Where nats-server answers over HTTP (its -m); on port 8222 of the broker's machine without this
    #[arg(long, env = "NATS_MONITOR_URL", value_name = "URL")]
    monitor: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// What was found of one thing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    about: &'static str,
    verdict: Verdict,
    text: String,
    /// What would mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Clone, Copy, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Good,
    Bad,
    /// It could not be looked at.
    Unknown,
}

impl Finding {
    fn good(about: &'static str, text: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Good, text: text.into(), mend: None }
    }

    fn bad(about: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Bad, text: text.into(), mend: Some(mend.into()) }
    }

    fn unknown(about: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Unknown, text: text.into(), mend: Some(mend.into()) }
    }
}

/// Looks at everything, and says it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let mut findings = broker::look(&settings.connection, settings.monitor.as_deref()).await?;
    findings.push(catalogue::look().await);
    findings.extend(npm::look().await);
    findings.push(workspace::look());
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    if settings.json {
        ask::print(&json!({"schema": packline_domain::SCHEMA, "findings": findings}))?;
    } else {
        findings.iter().try_for_each(|finding| say(&line(finding)))?;
    }
    match bad {
        0 => Ok(()),
        1 => bail!("one thing is wrong"),
        many => bail!("{many} things are wrong"),
    }
}

/// One line, however wide the terminal is.
fn line(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Good => "ok",
        Verdict::Bad => "WRONG",
        Verdict::Unknown => "?",
    };
    let mend = finding.mend.as_ref().map(|mend| format!("; {mend}")).unwrap_or_default();
    format!("{mark:<5}  {:<13}  {}{mend}", finding.about, finding.text.replace('\n', " "))
}
