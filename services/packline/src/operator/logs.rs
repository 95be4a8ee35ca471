//! `packline logs`: what a build printed, from the past and as it comes.

mod fold;
mod shown;
mod sorted;
mod target;

use std::{io::IsTerminal, time::Duration};

use anyhow::{Context, bail};
use packline_broker::{Broker, Followed, From, StreamName, topology};
use packline_domain::{LogEntry, Outcome, log};

use self::{
    fold::{Style, outcome_word},
    shown::Shown,
    sorted::{Piece, Sorted},
    target::{Build, Wanted, Which},
};
use super::{
    connection::Connection,
    shown::{ago, plain},
};

/// How long something that is missing, or the end of the log of a build that is over, is waited for.
const LATE: Duration = Duration::from_secs(6);
/// How long logs are kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which log, and how much of it
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Phases that passed are one line each, the one that failed or runs is shown with its lines. Colours are kept on a
terminal only. Without -f the newest build is shown as far as it has come. With -f a package that waits is waited for,
and its build is followed to the end.

Exit status: 0 the log was shown, with -f: and the build was published; 1 there is none, or the build was not published.

Examples:
  packline logs acme/core
  packline logs -f acme/core
  packline logs --phase test acme/core.1764216000000 > test.log
  packline logs --all acme/core")]
pub(crate) struct Settings {
    /// A package (acme/core, @acme/core), or a build as `packline history` lists them
    #[arg(value_name = "PACKAGE|BUILD", value_parser = target::wanted)]
    of: Wanted,
    /// Follow the build to its end
    #[arg(short, long)]
    follow: bool,
    /// The attempt of this number; the newest without it
    #[arg(long, value_name = "N", conflicts_with = "all")]
    attempt: Option<u32>,
    /// All attempts that are known, oldest first
    #[arg(long, conflicts_with_all = ["follow", "attempt"])]
    all: bool,
    /// The lines of this phase, and nothing else
    #[arg(long, value_name = "NAME", conflicts_with = "open")]
    phase: Option<String>,
    /// Show all phases with their lines
    #[arg(long, alias = "no-fold")]
    open: bool,
    /// Print a JSON object for each line, each end of a phase and the end of the build
    #[arg(long, conflicts_with = "open")]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Settings {
    fn which(&self) -> Which {
        match (self.all, self.attempt) {
            (true, _) => Which::All,
            (false, Some(number)) => Which::Attempt(number),
            (false, None) => Which::Newest,
        }
    }

    fn shown(&self, build: &Build) -> Shown {
        let colours = std::io::stdout().is_terminal();
        let style = Style { colours, open: self.open, only: self.phase.clone() };
        Shown::new(build, style, self.json)
    }
}

/// Shows it, until it ends.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let builds = target::builds(&broker, &settings.of, settings.which(), settings.follow).await?;
    let several = builds.len() > 1;
    let mut failed = None;
    for build in builds {
        if several && settings.phase.is_none() && !settings.json {
            crate::say(&format!("── {} ──", build.title()))?;
        }
        let mut shown = settings.shown(&build);
        let end = read(&broker, &build, &mut shown, settings.follow).await?;
        if !settings.follow && build.runs() && end.is_none() {
            eprintln!("build {} still runs; -f follows it", build.id);
        }
        if let Err(error) = judge(settings, &build, &shown, end) {
            // Of several, what one lacks is no reason to leave out the others.
            if several { crate::say(&error.to_string())? } else { failed = Some(error) }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// What the exit status is to say.
fn judge(settings: &Settings, build: &Build, shown: &Shown, end: Option<Outcome>) -> anyhow::Result<()> {
    if shown.is_empty() {
        bail!(nothing(build));
    }
    if let Some(phase) = &settings.phase
        && !shown.phases().contains(phase)
    {
        bail!("build {} has no phase {phase}; it has {}", build.id, shown.phases().join(", "));
    }
    match end {
        _ if !settings.follow => Ok(()),
        Some(Outcome::Published) => Ok(()),
        Some(outcome) => bail!("{} {}", build.id, outcome_word(outcome, false)),
        None => bail!("the end of the log of {} is missing{}", build.id, build.why()),
    }
}

/// Why there is no log, in one line.
fn nothing(build: &Build) -> String {
    let id = &build.id;
    match build.attempt.as_ref() {
        Some(attempt) if super::shown::elapsed(attempt.finished_at) > KEPT => {
            format!(
                "the log of build {id} has expired: it ended {}, and logs are kept for 7 days",
                ago(attempt.finished_at)
            )
        }
        Some(attempt) => {
            let error = attempt.error.as_deref().and_then(|error| error.lines().next());
            let error = error.map(|error| format!("; it ended with: {}", plain(error))).unwrap_or_default();
            format!("build {id} left no log, or newer logs have pushed it out{error}")
        }
        None if build.runs() => format!("build {id} has printed nothing yet; -f waits for it"),
        None => format!("no log of build {id}: there never was one, or it has expired after 7 days"),
    }
}

/// Reads the log of one build: all that is there, or with `follow` to its end. Answers how the build ended, as
/// far as that is known.
async fn read(broker: &Broker, build: &Build, shown: &mut Shown, follow: bool) -> anyhow::Result<Option<Outcome>> {
    let mut messages = broker.follow(StreamName::Logs, &topology::build_log(&build.id), From::Sequence(0));
    let mut state = target::Ending::follow(broker, build);
    let mut sorted = Sorted::default();
    // Given up where nothing comes any more that could change it.
    let mut late = None;
    loop {
        let next = tokio::select! {
            next = messages.next() => Some(next.context("failed to read the log")?),
            () = sleep_until(late) => None,
            ended = state.ended(), if follow && late.is_none() => {
                ended?;
                late = Some(tokio::time::Instant::now() + LATE);
                continue;
            }
        };
        match next {
            Some(Followed::Message(message)) => {
                let entry = LogEntry::parse(|name| message.header(name));
                let number = message.header(log::NUMBER).and_then(|number| number.parse().ok());
                pass(shown, sorted.push(number, (entry, message)))?;
                late = late.filter(|_| state.is_over()).map(|_| tokio::time::Instant::now() + LATE);
            }
            Some(Followed::CaughtUp) => {
                if !follow {
                    pass(shown, sorted.give_up())?;
                }
                shown.go_live()?;
                if !follow {
                    return Ok(shown.over());
                }
            }
            None => {
                pass(shown, sorted.give_up())?;
                if state.is_over() {
                    shown.go_live()?;
                    return Ok(shown.over().or(state.outcome()));
                }
                late = None;
            }
        }
        if let Some(outcome) = shown.over().filter(|_| follow) {
            return Ok(Some(outcome));
        }
        if !state.is_over() {
            late = sorted.waits().then(|| late.unwrap_or_else(|| tokio::time::Instant::now() + LATE));
        }
    }
}

async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

fn pass(shown: &mut Shown, pieces: Vec<Piece<(LogEntry, packline_broker::Stored)>>) -> anyhow::Result<()> {
    for piece in pieces {
        match piece {
            Piece::Message((entry, message)) => shown.take(&entry, &message)?,
            Piece::Missing(count) => shown.missing(count)?,
        }
    }
    Ok(())
}
