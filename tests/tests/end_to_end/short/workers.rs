//! What an operator is told of the workers.
use std::{fs, path::PathBuf, time::Instant};

use packline_domain::answer::{State, Worker, WorkerState};
use packline_testkit::process::Process;
use packline_tests::{Bare, PATIENCE, SHORT_CLAIM};

/// Builds of category `slow` go on until they are killed; all others say that their machine is at fault.
const RECIPE: &str = r#"
[[phase]]
name = "fetch"
run = ["sh", "-c", "exit 75"]
[[category.slow.phase]]
name = "polish"
run = ["sleep", "600"]
"#;

struct Stage {
    line: Bare,
    recipe: PathBuf,
    workspace: PathBuf,
}

impl Stage {
    async fn set(packages: &[&str]) -> Self {
        let settings = [SHORT_CLAIM, ("RETRY_BASE", "50ms"), ("MAX_CONCURRENT", "8"), ("MAX_INFRASTRUCTURE", "3")];
        let line = Bare::start(&settings).await.unwrap();
        let (recipe, workspace) = (line.folder().join("recipe.toml"), line.folder().join("workspace"));
        fs::write(&recipe, RECIPE).unwrap();
        for package in packages {
            let folder = workspace.join("packages").join(package);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("package.json"), format!(r#"{{"name": "@acme/{package}"}}"#)).unwrap();
        }
        Self { line, recipe, workspace }
    }

    fn worker(&self, name: &str) -> Process {
        let (recipe, workspace) = (self.recipe.to_string_lossy(), self.workspace.to_string_lossy());
        let settings = [
            ("SLOTS", "1"),
            ("RECIPE", &*recipe),
            ("WORKSPACE_ROOT", &*workspace),
            ("GRACE", "10m"),
            ("HOSTNAME", name),
        ];
        self.line.line().worker(name, &settings).unwrap()
    }

    /// Asks until it is so.
    async fn until(&self, what: &str, so: impl Fn(&State) -> bool) -> State {
        let since = Instant::now();
        loop {
            let answer = self.line.ask("orchestrator.state", "").await.unwrap();
            let state: State = serde_json::from_value(answer).unwrap();
            if so(&state) {
                return state;
            }
            assert!(since.elapsed() < PATIENCE, "{what}: {state:#?}\n{}", self.line.logs());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn only(state: &State, wanted: WorkerState) -> Option<&Worker> {
    let mut those = state.workers.iter().filter(|worker| worker.state == wanted);
    those.next().filter(|_| those.next().is_none())
}

fn builds(worker: &Worker) -> Vec<(&str, Option<&str>)> {
    worker.builds.iter().map(|build| (build.package_name.as_str(), build.phase.as_deref())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn live_silent_lost_resting_and_stopping_workers_are_told_with_what_they_build_and_why_they_rest() {
    let stage = Stage::set(&["hot", "slow", "slower"]).await;
    let hot = stage.worker("hot");
    stage.until("a worker lives", |state| only(state, WorkerState::Live).is_some()).await;
    stage.line.announce(r#"{"name": "@acme/hot"}"#).await.unwrap();
    let state = stage.until("it rests", |state| only(state, WorkerState::Resting).is_some()).await;
    let resting = only(&state, WorkerState::Resting).unwrap();
    assert!(resting.resting.as_ref().is_some_and(|why| why.contains("the machine")), "{resting:?}");
    assert_eq!((resting.slots, state.slots, state.worker_counts.resting), (0, 0, 1));
    stage.line.until_state("@acme/hot", "failed").await.unwrap();
    drop(hot);

    let frozen = stage.worker("frozen");
    stage.line.announce(r#"{"name": "@acme/slow", "category": "slow"}"#).await.unwrap();
    let building = [("@acme/slow", Some("polish"))];
    let state = stage
        .until("it builds", |state| only(state, WorkerState::Live).is_some_and(|live| builds(live) == building))
        .await;
    let live = only(&state, WorkerState::Live).unwrap();
    let name = live.name.clone();
    let host = live.host.clone().unwrap();
    assert!(name.starts_with(&host), "{live:?}");
    assert_eq!((live.version.as_deref(), live.slots), (Some(env!("CARGO_PKG_VERSION")), 1));
    assert_eq!(state.active.len(), 1);

    frozen.freeze();
    let is = |state: &State, wanted: WorkerState| {
        state.workers.iter().find(|worker| worker.name == name).is_some_and(|worker| worker.state == wanted)
    };
    let state = stage.until("it is silent", |state| is(state, WorkerState::Silent)).await;
    let silent = state.workers.iter().find(|worker| worker.name == name).unwrap();
    assert_eq!(builds(silent), building, "its build is not lost yet");
    assert!(silent.silent_seconds >= 3, "half of CLAIM: {silent:?}");
    assert_eq!(state.slots, 0);
    let state = stage.until("it is lost", |state| is(state, WorkerState::Lost)).await;
    let lost = state.workers.iter().find(|worker| worker.name == name).unwrap();
    assert!(lost.silent_seconds >= 11, "CLAIM and 5 s: {lost:?}");
    stage
        .until("it holds nothing", |state| {
            state.active.is_empty() && state.workers.iter().all(|worker| worker.builds.is_empty())
        })
        .await;

    frozen.thaw();
    let back = stage
        .until("it is back under a new name, and its package is built again", |state| {
            only(state, WorkerState::Live).is_some_and(|live| builds(live) == building)
        })
        .await;
    assert!(is(&back, WorkerState::Lost), "the old name stays lost: {back:#?}");
    assert_ne!(only(&back, WorkerState::Live).unwrap().name, name);

    let stops = stage.until("it stops", |state| only(state, WorkerState::Stopping).is_some());
    let state = tokio::select! {
        state = stops => state,
        status = frozen.stop(PATIENCE) => panic!("it left its build with {status}"),
    };
    let stopping = only(&state, WorkerState::Stopping).unwrap();
    assert_eq!((builds(stopping), stopping.slots), (building.to_vec(), 0), "it finishes what it has");
    assert_eq!(state.worker_counts.live, 0);
}
