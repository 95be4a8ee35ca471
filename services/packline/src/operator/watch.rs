//! `packline watch`: the line at a glance, drawn anew with each change.

use std::{
    collections::VecDeque,
    io::{IsTerminal, Write, stdout},
    time::Duration,
};

use anyhow::Context;
use console::Term;
use futures::FutureExt;
use packline_broker::{Broker, Follow, Followed, From, Stored, StreamName, topology};
use tokio::time::{Instant, sleep_until};

use super::{ask::ask, connection::Connection, events, status, wait::aside};
use crate::say;

/// Drawn at least so often, and at most so often.
const SELDOM: Duration = Duration::from_secs(1);
const OFTEN: Duration = Duration::from_millis(100);
/// Events that are shown.
const EVENTS: usize = 10;

/// The screen of a program of its own, without a cursor; and the screen of before.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Which line
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Ctrl-C ends it. Where the output is no terminal the line is printed once, with --json again at each change; `packline events -f` prints each change as a line.")]
pub(crate) struct Settings {
    /// Print the answer of orchestrator.state, one a line, again whenever something happened
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Leaves the terminal as it was, however it ends.
struct Screen(Term);

impl Screen {
    fn enter() -> anyhow::Result<Self> {
        write(ENTER)?;
        Ok(Self(Term::stdout()))
    }

    fn draw(&self, text: &str) -> anyhow::Result<()> {
        let (rows, columns) = self.0.size();
        let lines = text.lines().take(usize::from(rows).saturating_sub(1));
        let lines = lines.map(|line| line.chars().take(usize::from(columns)).collect::<String>());
        // Each line is cleared behind its text, and at last what is below: nothing flickers.
        let text: String = lines.map(|line| format!("{line}\x1b[K\r\n")).collect();
        write(&format!("\x1b[H{text}\x1b[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("nobody reads what is shown")
}

/// Shows it for ever; where nobody watches, once.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let last = broker.stream_state(StreamName::Events).await.map_or(0, |state| state.last_sequence);
    let from = From::Sequence((last + 1).saturating_sub(EVENTS as u64));
    let mut news = broker.follow(StreamName::Events, &topology::event(">"), from);
    let mut recent = VecDeque::new();
    while let Ok(Followed::Message(message)) = news.next().await {
        note(&mut recent, events::line(&message));
    }
    if settings.json {
        return objects(&broker, &mut news).await;
    }
    if !stdout().is_terminal() {
        return say(&with(&status::picture(&broker).await?, &recent));
    }
    let screen = Screen::enter()?;
    loop {
        screen.draw(&picture(&broker, &recent).await)?;
        let drawn = Instant::now();
        tokio::select! {
            () = sleep_until(drawn + SELDOM) => {}
            seen = happened(&mut news) => {
                for message in seen? {
                    note(&mut recent, events::line(&message));
                }
                sleep_until(drawn + OFTEN).await;
            }
        }
    }
}

/// An object at once, and one whenever something happened.
async fn objects(broker: &Broker, news: &mut Follow) -> anyhow::Result<()> {
    loop {
        match ask(broker, topology::STATE, &()).await {
            Ok(state) => say(&state.to_string())?,
            // A watch outlives its leader.
            Err(error) => {
                aside(&format!("{error:#}"));
                tokio::time::sleep(SELDOM).await;
                continue;
            }
        }
        happened(news).await?;
        // What comes together is one object.
        tokio::time::sleep(OFTEN).await;
    }
}

/// What happens next, and all that has come with it. Cancellation safe.
async fn happened(news: &mut Follow) -> anyhow::Result<Vec<Stored>> {
    let mut all = Vec::new();
    let mut next = Some(news.next().await);
    while let Some(seen) = next {
        if let Followed::Message(message) = seen.context("failed to follow EVENTS")? {
            all.push(message);
        }
        next = news.next().now_or_never();
    }
    Ok(all)
}

fn note(recent: &mut VecDeque<String>, line: String) {
    recent.push_back(line);
    if recent.len() > EVENTS {
        recent.pop_front();
    }
}

async fn picture(broker: &Broker, recent: &VecDeque<String>) -> String {
    with(&status::picture(broker).await.unwrap_or_else(|error| format!("{error:#}")), recent)
}

fn with(line: &str, recent: &VecDeque<String>) -> String {
    let events: String = recent.iter().map(|event| format!("\n{event}")).collect();
    format!("{line}\n\nEVENTS{events}")
}
