//! `packline bench`: the line under load and at rest, on real parts of its own, measured from outside.

mod bed;
mod busy;
mod control;
mod idle;
mod latency;
mod line;
mod quantiles;
mod questions;
mod queue;
mod usage;

use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use packline_service::Shutdown;
use serde::Serialize;

use crate::say;
use bed::Bed;

/// What is measured, and how much of it
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// What to measure, with commas between; all of it without this
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Packages of `line`
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    packages: u32,
    /// Packages in one announcement
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// The limit on concurrent builds
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_concurrent: u32,
    /// Worker processes; they share the limit between them as slots
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Packages that `latency` announces, commands of `control`, and each of the `questions`, one after the other
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// How long `idle` looks on
    #[arg(long, default_value = "20s", value_parser = packline_service::duration)]
    idle: Duration,
    /// Packages that wait in `queue`, and under the load of `control` and `questions`
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    queued: u32,
    /// Print JSON alone
    #[arg(long)]
    json: bool,
}

/// One measurement; each has a broker and processes of its own.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Builds a second, from the first announcement to the last status
    Line,
    /// From an announcement on an idle line to the claim of its build
    Latency,
    /// What each part takes while there is nothing to do
    Idle,
    /// Memory of a long queue, and how long a restart with it takes
    Queue,
    /// From a command to the record in the bucket, at rest and with a long queue and builds that finish at once
    Control,
    /// From a question to its answer, in both
    Questions,
}

/// All that was measured.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    /// Numbers of a debug build say little.
    debug_build: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<line::Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<latency::Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<idle::Idle>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<queue::Queue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<control::Control>,
    #[serde(skip_serializing_if = "Option::is_none")]
    questions: Option<questions::Questions>,
}

/// Measures what was asked for, and prints it.
pub(crate) async fn run(settings: &Settings, shutdown: &Shutdown) -> anyhow::Result<()> {
    tokio::select! {
        done = measure(settings) => done.map_err(crate::name_what_is_missing),
        () = shutdown.requested() => anyhow::bail!("stopped before the end"),
    }
}

async fn measure(settings: &Settings) -> anyhow::Result<()> {
    let asked = |part| settings.only.is_empty() || settings.only.contains(&part);
    let mut measured = Measured { debug_build: cfg!(debug_assertions), ..Measured::default() };
    if measured.debug_build {
        settings.tell(
            "This is a debug build, and so are the programs it measures: `cargo run --release -p packline -- bench`",
        )?;
    }
    if asked(Part::Line) {
        let line = line::measure(settings).await.context("failed to measure the line")?;
        settings.tell(&line)?;
        measured.line = Some(line);
    }
    if asked(Part::Latency) {
        let latency = latency::measure(settings).await.context("failed to measure the latency")?;
        settings.tell(&latency)?;
        measured.latency = Some(latency);
    }
    if asked(Part::Idle) {
        let idle = idle::measure(settings).await.context("failed to measure the idle line")?;
        settings.tell(&idle)?;
        measured.idle = Some(idle);
    }
    if asked(Part::Queue) {
        let queue = queue::measure(settings).await.context("failed to measure the long queue")?;
        settings.tell(&queue)?;
        measured.queue = Some(queue);
    }
    if asked(Part::Control) {
        let control = control::measure(settings).await.context("failed to measure commands")?;
        settings.tell(&control)?;
        measured.control = Some(control);
    }
    if asked(Part::Questions) {
        let questions = questions::measure(settings).await.context("failed to measure questions")?;
        settings.tell(&questions)?;
        measured.questions = Some(questions);
    }
    if settings.json { say(&serde_json::to_string_pretty(&measured)?) } else { Ok(()) }
}

impl Settings {
    /// Slots of each worker.
    fn slots(&self) -> u32 {
        self.max_concurrent.div_ceil(self.workers)
    }

    fn tell(&self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        if self.json { Ok(()) } else { say(&text.to_string()) }
    }
}
