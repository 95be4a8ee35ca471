//! What a guard tells the links below it, and what they answer when a phase cannot start.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::protocol::{PhaseRun, Protected, View};

/// The longest answer that is read.
const ANSWER_LIMIT: u64 = 8192;

/// The namespaces of one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Namespaces {
    /// The guard's own: the machine allows no others.
    Shared,
    /// PID and mount namespace.
    Root,
    /// PID and mount namespace in a user namespace, for a user who may not make them otherwise.
    User,
}

/// The first argument of every link; the command follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    pub(super) namespaces: Namespaces,
    pub(super) cwd: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) protected: Option<Protected>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) view: Option<View>,
    /// Whether the command reads the stdin of the links; the stdin of any other is empty.
    pub(super) input: bool,
}

impl Plan {
    pub(super) fn new(run: &PhaseRun, namespaces: Namespaces) -> Self {
        Self {
            namespaces,
            cwd: run.cwd.clone(),
            protected: run.protected.clone(),
            view: run.view.clone(),
            input: run.input.is_some(),
        }
    }

    /// The plan and the command, of the arguments of a link.
    pub(super) fn read(arguments: &[OsString]) -> Option<(Self, &[OsString])> {
        let (plan, command) = arguments.split_first()?;
        Some((serde_json::from_slice(plan.as_encoded_bytes()).ok()?, command))
    }

    pub(super) fn argument(&self) -> io::Result<String> {
        serde_json::to_string(self).map_err(io::Error::other)
    }
}

/// Why no command was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "why")]
pub(super) enum Refusal {
    /// The machine does not allow the namespaces, and a process that has tried cannot go back.
    NoNamespaces { error: String },
    /// Anything else.
    Unstartable { error: String },
}

impl Refusal {
    /// Tells the guard, by the socket that is the stdin of this link.
    pub(super) fn tell(&self) {
        let text = serde_json::to_vec(self).unwrap_or_default();
        if let Ok(mut guard) = stdin() {
            let _ = guard.write_all(&text);
        }
    }

    /// What the links told, after their end.
    pub(super) fn heard(life: &UnixStream) -> Option<Self> {
        let mut text = Vec::new();
        // It does not block; what was read before an error counts.
        let _ = life.take(ANSWER_LIMIT).read_to_end(&mut text);
        serde_json::from_slice(&text).ok()
    }
}

/// Nothing more is told: a command that reads this socket must not speak for the links.
pub(super) fn be_silent() {
    if let Ok(guard) = stdin() {
        let _ = guard.shutdown(Shutdown::Write);
    }
}

fn stdin() -> io::Result<UnixStream> {
    io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)
}
