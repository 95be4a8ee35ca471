//! `packline status`: the line at a glance.

use anyhow::bail;
use packline_broker::{Broker, topology::STATE};
use packline_domain::{
    answer::{Active, Counts, Stalled, State, WorkerCounts},
    record::LastPoll,
    text::published,
};

use super::{
    ask::{self, Asking, ask},
    shown::{ago, columns, counted, plain, since, span},
};
use crate::last_poll;

/// How to show it
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Exit status: 0 an orchestrator leads and work goes on as it may; 1 nobody leads, or the line is stalled."
)]
pub(crate) struct Settings {
    #[command(flatten)]
    asking: Asking,
}

/// Asks, and shows it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let (broker, state) = settings.asking.ask::<State>(STATE, &()).await?;
    settings.asking.show(&shown(&state, last_poll(&broker).await.as_ref()))?;
    match state.stalled {
        Some(stalled) => bail!("{}", stall(&stalled)),
        None => Ok(()),
    }
}

/// The same as text, asked now.
pub(super) async fn picture(broker: &Broker) -> anyhow::Result<String> {
    let state: State = ask::read(ask(broker, STATE, &()).await?, STATE)?;
    let stalled = state.stalled.as_ref().map(|stalled| format!("{}\n", stall(stalled)));
    Ok(format!("{}{}", stalled.unwrap_or_default(), shown(&state, last_poll(broker).await.as_ref())))
}

fn stall(stalled: &Stalled) -> String {
    format!("stalled for {}: {}", span(since(stalled.since)), plain(&stalled.text))
}

fn shown(state: &State, last_poll: Option<&LastPoll>) -> String {
    let counts = &state.counts;
    let mut lines = vec![
        format!("mode     {}", mode_line(state)),
        format!(
            "permits  {} of {} in use, {} on {}",
            counts.building,
            state.max_concurrent,
            counted(usize::try_from(state.slots).unwrap_or(usize::MAX), "slot"),
            workers(&state.worker_counts),
        ),
        format!(
            "queue    {} ready, {} blocked, {} unresolvable, {} retrying{}",
            counts.ready,
            counts.blocked,
            counts.unresolvable,
            counts.retrying,
            left(state)
        ),
        format!("done     {}, {} failed, {} cancelled", built(counts), counts.failed, counts.cancelled),
        format!("leader   {} (term {}, commit {})", state.leader, state.term, state.commit),
    ];
    if let Some(last) = &state.last_control {
        let incomplete = if last.complete { "" } else { ", not complete yet" };
        lines.push(format!("command  {}, {}{incomplete}", plain(&last.effect), ago(last.at)));
    }
    if let Some(poll) = last_poll {
        let found = match &poll.error {
            None => counted(poll.packages, "package"),
            Some(error) => format!("failed: {}", plain(error)),
        };
        lines.push(format!("poll     {found}, {}", ago(poll.at)));
    }
    if !state.active.is_empty() {
        lines.push(format!("\n{}", active(&state.active)));
        lines.extend(more(state.active.len(), counts.building));
    }
    if !state.retrying.is_empty() {
        let rows = state
            .retrying
            .iter()
            .map(|row| [row.package_name.to_string(), row.attempts.to_string(), row.next_attempt_at.to_string()]);
        lines.push(format!("\n{}", columns(["RETRYING", "FAILURES", "NOT BEFORE"], rows)));
        lines.extend(more(state.retrying.len(), counts.retrying));
    }
    lines.join("\n")
}

fn mode_line(state: &State) -> String {
    let by = state.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let why = state.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let incomplete = if state.complete { "" } else { " (not complete yet)" };
    plain(&format!("{} for {}{by}{why}{incomplete}", state.mode, span(since(state.since))))
}

/// `5 published`, or `3 published, 2 built (private)`.
fn built(counts: &Counts) -> String {
    let public = counts.published.saturating_sub(counts.private);
    let private = (counts.private > 0).then(|| format!(", {} {}", counts.private, published(true)));
    format!("{public} {}{}", published(false), private.unwrap_or_default())
}

/// `2 workers, 1 silent`.
fn workers(counts: &WorkerCounts) -> String {
    let others =
        [(counts.resting, "resting"), (counts.stopping, "stopping"), (counts.silent, "silent"), (counts.lost, "lost")];
    let others = others.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("; {count} {word}"));
    format!("{}{}", counted(counts.live, "worker"), others.collect::<String>())
}

fn left(state: &State) -> String {
    state.estimated_seconds.map(|seconds| format!("; about {} left", span(seconds))).unwrap_or_default()
}

fn active(active: &[Active]) -> String {
    let rows = active.iter().map(|build| {
        let phase = match (&build.phase, &build.worker) {
            _ if build.ending => "ending",
            (Some(phase), _) => phase,
            (None, Some(_)) => "",
            (None, None) => "not taken yet",
        };
        let usual = build.estimated_seconds.map(|seconds| format!(" of {}", span(seconds))).unwrap_or_default();
        [
            build.package_name.to_string(),
            build.attempt.to_string(),
            phase.to_owned(),
            format!("{}{usual}", span(build.seconds)),
            build.worker.clone().unwrap_or_default(),
        ]
    });
    columns(["BUILDING", "ATTEMPT", "PHASE", "FOR", "WORKER"], rows)
}

/// What a list leaves out.
fn more(listed: usize, all: usize) -> Option<String> {
    (all > listed).then(|| format!("… and {} more", all - listed))
}
