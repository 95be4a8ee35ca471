//! Questions to the leader.

use anyhow::{Context, anyhow};
use packline_broker::{Broker, BrokerError};
use packline_domain::PackageName;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::connection::Connection;
use crate::say;

/// Whom to ask, and how to show the answer
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Asking {
    /// Print the answer as it came, in JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

impl Asking {
    /// Asks; prints the answer at once where programs want it.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        question: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<(Broker, T)> {
        let broker = self.connection.open().await?;
        let answer = ask(&broker, question, body).await?;
        if self.json {
            print(&answer)?;
        }
        Ok((broker, read(answer, question)?))
    }

    /// Says what a person wants to see.
    pub(crate) fn show(&self, text: &str) -> anyhow::Result<()> {
        if self.json { Ok(()) } else { say(text) }
    }
}

/// The leader's answer, as it came.
pub(crate) async fn ask(broker: &Broker, question: &str, body: &impl Serialize) -> anyhow::Result<Value> {
    let body = serde_json::to_vec(body).context("failed to write the question")?;
    let answer = broker.ask(question, body).await.map_err(|error| match error {
        BrokerError::Unavailable(why) if why.to_string().contains("no responders") => {
            anyhow!("no orchestrator leads: nobody answers {question}")
        }
        BrokerError::Unavailable(_) => anyhow!("{question} is not answered: the leader or the broker hangs"),
        BrokerError::Missing(_) | BrokerError::Refused(_) => anyhow!("{question}: {error}"),
    })?;
    serde_json::from_slice(&answer).with_context(|| format!("{question} is answered with what is no JSON"))
}

/// The same, read.
pub(crate) fn read<T: DeserializeOwned>(answer: Value, question: &str) -> anyhow::Result<T> {
    serde_json::from_value(answer).with_context(|| format!("{question} is answered by an orchestrator of another kind"))
}

/// Prints an answer for programs.
pub(crate) fn print(answer: &Value) -> anyhow::Result<()> {
    let mut escaped = String::new();
    for c in serde_json::to_string_pretty(answer)?.chars() {
        // JSON may hold DEL and the controls of C1 as they are; a terminal obeys them.
        if c.is_control() && c != '\n' { escaped += &format!("\\u{:04x}", u32::from(c)) } else { escaped.push(c) }
    }
    say(&escaped)
}

/// A package as a person types it. For clap's `value_parser`.
pub(crate) fn package(text: &str) -> Result<PackageName, String> {
    PackageName::from_typed(text).map_err(|error| error.to_string())
}
