//! `packline events`: what happened, and what happens.

use std::time::Duration;

use anyhow::Context;
use packline_broker::{Broker, Follow, Followed, From, Stored, StreamName, topology};
use packline_domain::{Event, PackageName, text::published};
use serde_json::Value;

use super::{ask::package, connection::Connection, shown::plain};
use crate::{now, say};

/// Shown where nothing else is said.
const NEWEST: usize = 20;
/// The kind of the event that a build ended as published.
const PUBLISHED: &str = "published";

/// Which events
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Without --since the last 20 are shown. -f ends with Ctrl-C, and leaves out or repeats nothing when the broker restarts.

Examples:
  packline events -f
  packline events --package acme/core --since 24h
  packline events -f --kind failed --json | jq -r .packageName")]
pub(crate) struct Settings {
    /// Go on with what happens
    #[arg(short, long)]
    follow: bool,
    /// Only those of this package
    #[arg(long, value_parser = package)]
    package: Option<PackageName>,
    /// Only those of this kind: queued, started, published, failed, retrying, …
    #[arg(long, value_parser = kind)]
    kind: Option<String>,
    /// All since so long, for example 1h
    #[arg(long, value_name = "DURATION", value_parser = packline_service::duration)]
    since: Option<Duration>,
    /// The most of the past to show; 20 without --since
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..))]
    limit: Option<u32>,
    /// Print each event as it is on events.<kind>, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

fn kind(text: &str) -> Result<String, String> {
    let word = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if word { Ok(text.to_owned()) } else { Err("a kind is one word, such as failed".into()) }
}

impl Settings {
    /// Whether only Ctrl-C ends it.
    pub(super) fn follows(&self) -> bool {
        self.follow
    }

    fn wants(&self, message: &Stored) -> bool {
        let Some(package) = &self.package else { return true };
        serde_json::from_slice::<Event>(&message.payload)
            .is_ok_and(|event| event.package_name.as_ref() == Some(package))
    }

    fn limit(&self) -> usize {
        match (self.limit, self.since) {
            (Some(limit), _) => usize::try_from(limit).unwrap_or(usize::MAX),
            (None, Some(_)) => usize::MAX,
            (None, None) => NEWEST,
        }
    }

    fn show(&self, message: &Stored) -> anyhow::Result<()> {
        say(&if self.json { object(message) } else { line(message) })
    }
}

/// Shows them.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let (past, mut follow) = past(settings, &broker).await?;
    for message in &past {
        settings.show(message)?;
    }
    if past.is_empty() && !settings.json && !settings.follow {
        say("nothing like that has happened")?;
    }
    if !settings.follow {
        return Ok(());
    }
    loop {
        match follow.next().await.context("failed to follow EVENTS")? {
            Followed::Message(message) if settings.wants(&message) => settings.show(&message)?,
            Followed::Message(_) | Followed::CaughtUp => {}
        }
    }
}

/// The last of the past, and what goes on where they end.
async fn past(settings: &Settings, broker: &Broker) -> anyhow::Result<(Vec<Stored>, Follow)> {
    let limit = settings.limit();
    let subject = topology::event(settings.kind.as_deref().unwrap_or(">"));
    let state = broker.stream_state(StreamName::Events).await.context("failed to look at EVENTS")?;
    let mut back = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
    loop {
        let first = state.last_sequence.saturating_add(1).saturating_sub(back);
        let from = settings.since.map_or(From::Sequence(first), |since| From::Time(now().before(since)));
        let mut follow = broker.follow(StreamName::Events, &subject, from);
        let mut found = std::collections::VecDeque::new();
        while let Followed::Message(message) = follow.next().await.context("failed to read EVENTS")? {
            if settings.wants(&message) {
                found.push_back(message);
            }
            if found.len() > limit {
                found.pop_front();
            }
        }
        if found.len() >= limit || settings.since.is_some() || first <= state.first_sequence {
            return Ok((found.into(), follow));
        }
        // Further back: not all are of this kind or package.
        back = back.saturating_mul(10);
    }
}

fn object(message: &Stored) -> String {
    match serde_json::from_slice::<Value>(&message.payload) {
        Ok(value) => value.to_string(),
        Err(_) => Value::String(String::from_utf8_lossy(&message.payload).into_owned()).to_string(),
    }
}

/// One event as a line for a person.
pub(super) fn line(message: &Stored) -> String {
    match serde_json::from_slice::<Event>(&message.payload) {
        Ok(event) => plain(&format!("{}  {:<12} {}", event.at, kind_for_people(&event), event.message)),
        Err(_) => plain(&format!(
            "{}  {:<12} {}",
            message.stored_at,
            message.subject,
            String::from_utf8_lossy(&message.payload)
        )),
    }
}

fn kind_for_people(event: &Event) -> &str {
    if event.kind == PUBLISHED { published(event.private) } else { &event.kind }
}
