//! Orchestrators, and the person who starts them again whatever they ended with.

use std::sync::{Arc, Mutex};

use packline_testkit::{line::Line, process::Process};
use packline_tests::Bare;
use tokio::task::JoinSet;

/// Some orchestrators; all end when this is dropped.
pub(crate) struct Crew {
    posts: Vec<Arc<Mutex<Arc<Process>>>>,
    ends: Arc<Mutex<Vec<Option<i32>>>>,
    _people: JoinSet<()>,
}

impl Crew {
    pub(crate) fn start(line: &Line, count: usize) -> anyhow::Result<Self> {
        let (mut posts, mut people) = (Vec::new(), JoinSet::new());
        let ends = Arc::new(Mutex::new(Vec::new()));
        for n in 1..=count {
            let (line, ends, name) = (line.clone(), Arc::clone(&ends), format!("crew-{n}"));
            let post = Arc::new(Mutex::new(Arc::new(line.orchestrator(&name, &[])?)));
            posts.push(Arc::clone(&post));
            people.spawn(async move {
                loop {
                    let process = Arc::clone(&post.lock().unwrap());
                    let status = process.exited().await;
                    ends.lock().unwrap().push(status.code());
                    *post.lock().unwrap() = Arc::new(line.orchestrator(&name, &[]).unwrap());
                }
            });
        }
        Ok(Self { posts, ends, _people: people })
    }

    /// The exit status of each that has ended; none where it was killed.
    pub(crate) fn ends(&self) -> Vec<Option<i32>> {
        self.ends.lock().unwrap().clone()
    }

    /// kill -9 for the one that leads; where none does, waits for one.
    pub(crate) async fn kill_leader(&self, line: &Bare) -> anyhow::Result<()> {
        loop {
            line.until("leader", |leader| leader.is_some_and(|leader| leader["holder"].is_string())).await?;
            let holder = line.leader().await?.holder.unwrap_or_default();
            let processes: Vec<_> = self.posts.iter().map(|post| Arc::clone(&post.lock().unwrap())).collect();
            let leads = |process: &&Arc<Process>| {
                process.is_running() && process.printed().contains(&format!("{holder} leads (term"))
            };
            if let Some(process) = processes.iter().find(leads) {
                process.kill().await;
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}
