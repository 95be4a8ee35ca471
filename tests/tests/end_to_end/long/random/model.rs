//! What must follow from commands: a model as small as can be.
//!
//! The order of `CONTROL` is the order in which commands count. When builds start and how they end is not the
//! model's to say: it takes that from the events, and knows which of them may come when.

use std::collections::BTreeMap;

use packline_broker::Stored;
use packline_domain::{Command, Event, Mode};

/// A build that was granted a permit.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) serial: u64,
    /// The limit of concurrent builds at that moment.
    pub(crate) limit: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Queued,
    Building { build: String, cancelled: bool },
    Retrying,
    Published,
    Failed,
    Cancelled,
}

pub(crate) struct Model {
    commands: BTreeMap<u64, (Command, Option<String>)>,
    /// The last command that was applied.
    applied: u64,
    commit: u64,
    /// The command whose permits are being withdrawn.
    withdraws: Option<u64>,
    mode: Mode,
    limit: u32,
    packages: BTreeMap<String, State>,
    grants: BTreeMap<String, Grant>,
}

impl Model {
    pub(crate) fn new(limit: u32, stored: &[Stored]) -> Self {
        let commands = stored.iter().filter_map(|message| {
            let name = message.subject.strip_prefix("control.")?;
            let (command, origin) = Command::parse(name, &message.payload).ok()?;
            Some((message.sequence, (command, origin.by)))
        });
        Self {
            commands: commands.collect(),
            applied: 0,
            commit: 0,
            withdraws: None,
            mode: Mode::Running,
            limit,
            packages: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    pub(crate) fn granted(&self, build: &str) -> Option<&Grant> {
        self.grants.get(build)
    }

    pub(crate) fn held(&self) -> Vec<&str> {
        let held = self.packages.iter().filter(|(_, state)| matches!(state, State::Building { .. }));
        held.map(|(name, _)| name.as_str()).collect()
    }

    /// The state of a package, as its record calls it.
    pub(crate) fn state(&self, package: &str) -> &'static str {
        match self.packages.get(package).unwrap_or(&State::Queued) {
            State::Queued => "queued",
            State::Building { .. } => "building",
            State::Retrying => "retrying",
            State::Published => "published",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

    pub(crate) fn take(&mut self, event: &Event) {
        assert!(event.commit >= self.commit, "out of order: {event:?}");
        self.commit = event.commit;
        match event.command {
            Some(sequence) => self.commanded(sequence, event),
            None => self.happened(event),
        }
    }

    /// An event that no command says of itself.
    fn happened(&mut self, event: &Event) {
        let build = event.build_id.as_ref().map(ToString::to_string);
        let package = event.package_name.as_ref().map(ToString::to_string);
        let next = match event.kind.as_str() {
            "drained" => {
                assert_eq!(self.mode, Mode::Draining, "{event:?}");
                assert!(self.held().is_empty(), "drained with {:?}", self.held());
                self.mode = Mode::Drained;
                return;
            }
            "resumed" => {
                assert_eq!(self.mode, Mode::Drained, "{event:?}");
                self.mode = Mode::Running;
                return;
            }
            "started" => return self.started(event, package.unwrap(), build.unwrap()),
            "published" => State::Published,
            "failed" => State::Failed,
            "retrying" | "workerLost" => State::Retrying,
            "returned" => State::Queued,
            "cancelled" => State::Cancelled,
            "queued" | "ending" | "stale" | "stalled" | "stallEnded" => return,
            other => panic!("{other}: {event:?}"),
        };
        let package = package.unwrap();
        let Some(State::Building { build: standing, cancelled }) = self.packages.get(&package) else {
            panic!("{package} is not being built: {event:?}");
        };
        assert_eq!(Some(standing), build.as_ref(), "{event:?}");
        let dropped = matches!(next, State::Cancelled | State::Published);
        assert!(!cancelled || dropped, "a cancelled build ends as {next:?}: {event:?}");
        assert!(*cancelled || next != State::Cancelled, "nobody cancelled it: {event:?}");
        self.packages.insert(package, next);
    }

    fn started(&mut self, event: &Event, package: String, build: String) {
        assert_eq!(self.mode, Mode::Running, "{event:?}");
        let state = self.packages.get(&package).unwrap_or(&State::Queued);
        assert!(matches!(state, State::Queued | State::Retrying), "{package} is {state:?}: {event:?}");
        let serial = event.build_id.as_ref().map(|build| build.serial).unwrap();
        self.grants.insert(build.clone(), Grant { serial, limit: self.limit });
        self.packages.insert(package, State::Building { build, cancelled: false });
        assert!(self.held().len() <= usize::try_from(self.limit).unwrap(), "{event:?}: {:?}", self.held());
    }

    /// The one event by which a command says what it did, or a second one that its withdrawals are complete.
    fn commanded(&mut self, sequence: u64, event: &Event) {
        if event.kind == "withdrawn" {
            assert_eq!(self.withdraws.take(), Some(sequence), "{event:?}");
            return;
        }
        let next = self.commands.range(self.applied + 1..).next().map(|(next, _)| *next);
        assert_eq!(Some(sequence), next, "the next of CONTROL, once: {event:?}");
        assert_eq!(self.withdraws, None, "the one before is not complete: {event:?}");
        let (command, by) = self.commands.get(&sequence).cloned().unwrap();
        assert_eq!(event.by, by, "{event:?}");
        self.applied = sequence;
        let kind = self.follow(&command);
        assert_eq!(event.kind, kind, "after {command:?}: {event:?}");
        if let Command::RequeueFailed = command {
            let failed: Vec<_> = self.packages.values_mut().filter(|state| **state == State::Failed).collect();
            assert!(event.message.starts_with(&format!("requeued {} failed", failed.len())), "{event:?}");
            failed.into_iter().for_each(|state| *state = State::Queued);
        }
        if event.message.ends_with("first") || event.kind == "cancelling" {
            self.withdraws = Some(sequence);
        }
    }

    /// What a command does, by the name of its event.
    fn follow(&mut self, command: &Command) -> &'static str {
        let (mode, kind) = match command {
            Command::Resume if self.mode == Mode::Running => return "unchanged",
            Command::Pause | Command::Drain if self.mode == Mode::Stopped => return "unchanged",
            Command::Resume => (Mode::Running, "resumed"),
            Command::Pause => (Mode::Paused, "paused"),
            Command::Drain => (Mode::Draining, "draining"),
            Command::EmergencyStop => (Mode::Stopped, "stopped"),
            Command::AdjustConcurrency { max_concurrent } => {
                self.limit = *max_concurrent;
                return "limit";
            }
            Command::Cancel { package_name } => return self.cancel(package_name.as_str()),
            Command::Requeue { package_name } => return self.requeue(package_name.as_str()),
            Command::RequeueFailed => return "requeued",
            Command::Poll => panic!("a poll is the poller's"),
        };
        self.mode = mode;
        kind
    }

    fn cancel(&mut self, package: &str) -> &'static str {
        let state = self.packages.entry(package.to_owned()).or_insert(State::Queued);
        match state {
            State::Queued | State::Retrying | State::Failed => {
                *state = State::Cancelled;
                "cancelled"
            }
            State::Building { cancelled, .. } if !*cancelled => {
                *cancelled = true;
                "cancelling"
            }
            State::Building { .. } | State::Published | State::Cancelled => "unchanged",
        }
    }

    fn requeue(&mut self, package: &str) -> &'static str {
        let state = self.packages.entry(package.to_owned()).or_insert(State::Queued);
        match state {
            State::Failed | State::Cancelled | State::Retrying => {
                *state = State::Queued;
                "requeued"
            }
            State::Building { cancelled, .. } if *cancelled => {
                *cancelled = false;
                "requeued"
            }
            State::Queued | State::Building { .. } | State::Published => "unchanged",
        }
    }
}
