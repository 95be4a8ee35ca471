//! `packline queue`: what waits, in the order in which it will be built.

use std::collections::BTreeSet;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use packline_broker::topology::QUEUE;
use packline_domain::answer::{Queue, QueueQuestion, QueueRow, Standing};
use serde_json::{Value, json};

use super::{
    ask::{self, ask},
    connection::Connection,
    shown::{columns, span},
};
use crate::say;

/// The most packages of one answer.
const PAGE: usize = 200;

/// Which packages, and how many
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  packline queue --state failed --all\n  packline queue --json | jq -r '.packages[].packageName'"
)]
pub(crate) struct Settings {
    /// Only those that stand so; all that wait without this
    #[arg(long, value_parser = standing())]
    state: Option<Standing>,
    /// The most to show
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Show all
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print it as orchestrator.queue answers, all pages in one
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// A word for a standing. For clap's `value_parser`.
fn standing() -> impl TypedValueParser<Value = Standing> {
    PossibleValuesParser::new(Standing::ALL.map(Standing::as_str)).try_map(|word| {
        Standing::ALL.into_iter().find(|standing| standing.as_str() == word).ok_or("no package stands so")
    })
}

/// Asks page after page, and shows them.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let most = if settings.all { usize::MAX } else { usize::try_from(settings.limit).unwrap_or(usize::MAX) };
    let (mut rows, mut cursor, mut seen) = (Vec::<Value>::new(), None, BTreeSet::new());
    let more = loop {
        let limit = Some((most - rows.len()).min(PAGE));
        let question = QueueQuestion { state: settings.state, limit, cursor: cursor.take() };
        let mut answer = ask(&broker, QUEUE, &question).await?;
        if let Some(Value::Array(packages)) = answer.get_mut("packages").map(Value::take) {
            // A page begins anew where its mark has begun to build meanwhile.
            let new = |row: &Value| {
                row.get("packageName").and_then(Value::as_str).is_some_and(|name| seen.insert(name.to_owned()))
            };
            rows.extend(packages.into_iter().filter(new));
        }
        cursor = answer.get("cursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() || rows.len() >= most {
            break cursor;
        }
    };
    let mut answer = json!({"schema": packline_domain::SCHEMA, "packages": rows});
    if let (Some(fields), Some(cursor)) = (answer.as_object_mut(), more) {
        fields.insert("cursor".into(), cursor.into());
    }
    if settings.json {
        return ask::print(&answer);
    }
    let queue: Queue = ask::read(answer, QUEUE)?;
    if queue.packages.is_empty() {
        return say("no package is like that");
    }
    say(&columns(["PACKAGE", "STATE", "PRIORITY", "FAILURES", "TAKES", "WHY"], queue.packages.iter().map(row)))?;
    if queue.cursor.is_some() { say("… and more: --limit or --all shows them") } else { Ok(()) }
}

fn row(row: &QueueRow) -> [String; 6] {
    [
        row.package_name.to_string(),
        row.state.map(|state| state.for_people(row.private).to_owned()).unwrap_or_default(),
        row.priority.to_string(),
        row.attempts.to_string(),
        row.estimated_seconds.map(span).unwrap_or_default(),
        row.reason.clone(),
    ]
}
