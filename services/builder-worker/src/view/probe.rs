//! Whether this machine lets a build have views.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::Merged;
use crate::guard::{Guard, PhaseEnd, PhaseRun, View, boottime_millis};

/// It takes a fraction of a second, on a busy machine a few.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the phases of a build get their view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// As an overlay of folders.
    Overlay,
    /// As a copy.
    Copy {
        /// Why no overlay works here.
        why: String,
    },
}

/// Tries a view as builds would have it: below a guard that `program` is, with its writable layer in `scratch` and
/// another one in `layers`.
pub async fn probe(program: &Path, scratch: &Path, layers: &Path) -> Support {
    let began = Instant::now();
    let support = match overlay(program, scratch, layers).await {
        Ok(()) => Support::Overlay,
        Err(why) => Support::Copy { why },
    };
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    match &support {
        Support::Overlay => tracing::info!(overlay = true, millis, "builds see their workspace as an overlay"),
        Support::Copy { why } => {
            tracing::info!(overlay = false, reason = %why, millis, "builds work in copies: no overlay works here");
        }
    }
    support
}

async fn overlay(program: &Path, scratch: &Path, layers: &Path) -> Result<(), String> {
    let said = |error: io::Error| error.to_string();
    let (own, lower) = (tempfile::tempdir_in(scratch).map_err(said)?, tempfile::tempdir_in(layers).map_err(said)?);
    let view = View {
        at: own.path().join("at"),
        lower: vec![lower.path().to_owned()],
        upper: own.path().join("upper"),
        work: own.path().join("work"),
    };
    fs::create_dir(&view.at).and_then(|()| fs::write(lower.path().join("removed"), "")).map_err(said)?;
    let run = PhaseRun {
        argv: ["sh", "-c", "rm removed && echo > written"].map(str::to_owned).to_vec(),
        cwd: view.at.clone(),
        env: std::env::var("PATH").map(|path| ("PATH".to_owned(), path)).into_iter().collect::<BTreeMap<_, _>>(),
        timeout_millis: u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX),
        silence_millis: None,
        output_limit: 1 << 16,
        protected: None,
        view: Some(view.clone()),
        input: None,
        spare_millis: 0,
    };
    let (_fuse, follows) = watch::channel(boottime_millis().saturating_add(2 * run.timeout_millis));
    let mut guard = Guard::start(program, "probe", follows).map_err(said)?;
    let mut printed = Vec::new();
    let ended = guard.run(run, |chunk| printed.extend_from_slice(chunk)).await;
    guard.finish().await;
    let printed = String::from_utf8_lossy(&printed);
    let seen = Merged::of(&view);
    let told = match ended.map_err(|lost| lost.to_string())? {
        PhaseEnd::Exited { status: 0 } if seen.exists("written".as_ref()) && !seen.exists("removed".as_ref()) => Ok(()),
        PhaseEnd::Exited { status: 0 } => Err("what was written in an overlay is not there".to_owned()),
        PhaseEnd::Exited { .. } => Err(printed.trim().to_owned()),
        PhaseEnd::Unstartable { error } => Err(error),
        end => Err(format!("the attempt ended as {end:?}")),
    };
    // The kernel leaves a folder that nobody may open.
    let _ = packline_layers::remove_tree(own.path());
    told
}
