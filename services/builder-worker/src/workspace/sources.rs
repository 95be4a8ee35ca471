//! The sources of the workspace, taken by a process below the guard of the build that needs them.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use packline_layers::{
    Layer, Store,
    sources::{self, Request, Sources, SourcesError},
};
use packline_recipe::Limits;
use packline_workspace::Workspace;
use serde::{Deserialize, Serialize};

use crate::{
    SOURCES,
    folder::BuildFolder,
    guard::{Input, OWN_PROGRAM},
    manifest,
    phase::{Command, Failure, Runner, TEMPFAIL, verdict},
};

use super::making::machine;

/// How often sources are taken that are evicted before they can be used.
const TRIES: usize = 3;
/// Bytes of the longest answer.
const ANSWER: u64 = 16 * 1024 * 1024;

/// What is taken, as one line on stdin.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    request: Request,
    /// Which state the members of the request are those of; `None` where nobody knows them.
    digest: Option<String>,
    /// The file that the answer goes to.
    answer: PathBuf,
}

/// What the last state says. Most builds see the same one.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    digest: String,
    members: Vec<PathBuf>,
}

impl Known {
    pub(crate) fn of(digest: &str, workspace: &Workspace) -> Self {
        Self { digest: digest.to_owned(), members: folders(workspace) }
    }
}

fn folders(workspace: &Workspace) -> Vec<PathBuf> {
    workspace.members().iter().map(|member| member.folder().to_owned()).collect()
}

/// Reads the order and follows it.
pub(crate) fn run() -> ExitCode {
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    let order = read.and_then(|_| serde_json::from_str::<Order>(&line).map_err(io::Error::from));
    match order.and_then(follow) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("taking the sources failed: {error}");
            ExitCode::from(TEMPFAIL)
        }
    }
}

fn follow(order: Order) -> io::Result<()> {
    let Order { mut request, digest, answer } = order;
    let mut taken = digest.is_some().then(|| sources::take(&request));
    let same = |taken: &Result<Sources, SourcesError>| {
        taken.as_ref().is_ok_and(|taken| Some(&taken.digest) == digest.as_ref())
    };
    // Members are read only of a state that is another one: the same sources have the same members.
    if !taken.as_ref().is_some_and(same) {
        // What is no workspace has no members whose node_modules are none of its sources.
        let members = Workspace::read(&request.root).map(|workspace| folders(&workspace)).unwrap_or_default();
        if taken.is_none() || members != request.members {
            request.members = members;
            taken = Some(sources::take(&request));
        }
    }
    let text = serde_json::to_vec(&taken)?;
    fs::File::create_new(answer)?.write_all(&text)
}

/// Takes the sources of the workspace at `root`, or finds them where they were taken before.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn take(
    store: &Store,
    root: &Path,
    folder: &BuildFolder,
    leave_out: Vec<PathBuf>,
    known: Option<Known>,
    runner: &mut Runner,
) -> Result<(Sources, Layer), Failure> {
    for _ in 0..TRIES {
        let sources = once(store, root, folder, leave_out.clone(), known.clone(), runner).await?;
        let (key, store) = (sources.key.clone(), store.clone());
        let found = tokio::task::spawn_blocking(move || store.find(&key)).await;
        if let Some(layer) = found.map_err(io::Error::other).flatten().map_err(|error| machine(&error))? {
            return Ok((sources, layer));
        }
    }
    Err(Failure::infrastructure("the cache of this machine is too small: the sources are evicted before they are used"))
}

async fn once(
    store: &Store,
    root: &Path,
    folder: &BuildFolder,
    leave_out: Vec<PathBuf>,
    known: Option<Known>,
    runner: &mut Runner,
) -> Result<Sources, Failure> {
    // In a folder of a name that no other build can know.
    let place = tempfile::tempdir_in(folder.beside())
        .map_err(|error| Failure::infrastructure(format!("failed to make a folder for the answer: {error}")))?;
    let answer = place.path().join("answer.json");
    let (digest, members) = known.map(|known| (known.digest, known.members)).unzip();
    let members = members.unwrap_or_default();
    let request =
        Request { root: root.to_owned(), store: store.folder().to_owned(), bounds: store.bounds(), members, leave_out };
    let order = Order { request, digest, answer: answer.clone() };
    let line = serde_json::to_string(&order).unwrap_or_default() + "\n";
    let limits = Limits::default();
    let command = Command {
        argv: vec![OWN_PROGRAM.to_owned(), SOURCES.to_owned()],
        input: Some(Input(line)),
        cwd: Some(place.path()),
        ..Command::new("", limits.clone())
    };
    let (end, printed) = runner.command(command).await?;
    verdict(&end, &printed, &limits, false)?;
    let text = manifest::read_plain(&answer, ANSWER)
        .map_err(|error| Failure::infrastructure(format!("the answer about the sources cannot be read: {error}")))?;
    let taken: Result<Sources, SourcesError> = serde_json::from_slice(&text)
        .map_err(|error| Failure::infrastructure(format!("the answer about the sources is not understood: {error}")))?;
    taken.map_err(|error| Failure::infrastructure(error.to_string()))
}
