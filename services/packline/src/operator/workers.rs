//! `packline workers`: who builds, what, and who rests.

use packline_broker::topology::STATE;
use packline_domain::answer::{State, Worker, WorkerState};
use serde_json::{Value, json};

use super::{
    ask::{self, ask},
    connection::Connection,
    shown::{columns, span},
};
use crate::say;

/// How to show them
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Print the workers as orchestrator.state has them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Asks, and shows them.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let mut answer = ask(&broker, STATE, &()).await?;
    if settings.json {
        let mut take = |name: &str| answer.get_mut(name).map(Value::take);
        return ask::print(&json!({"workers": take("workers"), "workerCounts": take("workerCounts")}));
    }
    let state: State = ask::read(answer, STATE)?;
    if state.workers.is_empty() {
        return say("no worker has been seen");
    }
    say(&columns(["WORKER", "STATE", "BUILDS", "VERSION", "NOW"], state.workers.iter().map(row)))
}

fn row(worker: &Worker) -> [String; 5] {
    let builds = worker.builds.iter().map(|build| {
        let phase = build.phase.as_deref().map(|phase| format!("{phase}, ")).unwrap_or_default();
        format!("{} ({phase}{})", build.package_name, span(build.seconds))
    });
    let mut now: Vec<String> = builds.collect();
    match worker.state {
        WorkerState::Live | WorkerState::Stopping => {}
        WorkerState::Resting => now.extend(worker.resting.clone()),
        WorkerState::Silent | WorkerState::Lost => {
            now.push(format!("nothing heard for {}", span(worker.silent_seconds)));
        }
    }
    [
        worker.name.clone(),
        worker.state.to_string(),
        format!("{} of {}", worker.builds.len(), worker.slots),
        worker.version.clone().unwrap_or_default(),
        now.join(", "),
    ]
}
