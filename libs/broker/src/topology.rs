//! All names of subjects, streams, buckets and durable consumers, and their settings, as data.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{AckPolicy, pull},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use packline_domain::BuildId;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long a delivered message may stay without a sign of life before another consumer gets it.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(30);

/// The same for a leader's durables. Short: a message that went to a dead pull comes back after it.
pub(crate) const LEADER_ACK_WAIT: Duration = Duration::from_secs(10);

/// The same for the active poller's statuses: those that a dead one took come back soon after its lease is over.
const CATALOGUE_ACK_WAIT: Duration = Duration::from_secs(10);

/// Waiting pulls that one durable keeps; one for each idle worker.
const MAX_WAITING: i64 = 16_384;

/// Announcements that wait or were applied in the last 7 days; above it new ones are refused, not old ones lost.
const MAX_ANNOUNCEMENTS: i64 = 1_000_000;

/// Logs are the one stream that may push out its oldest.
const MAX_LOG_BYTES: i64 = 1 << 30;

/// The streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// Announcements.
    Packages,
    /// Outcomes for the catalogue.
    Status,
    /// Orders.
    Builds,
    /// How builds ended.
    Results,
    /// What builds printed.
    Logs,
    /// Commands of operators.
    Control,
    /// Facts for whoever looks.
    Events,
    /// What was refused.
    Dead,
}

impl StreamName {
    /// Every stream.
    pub const ALL: [Self; 8] = [
        Self::Packages,
        Self::Status,
        Self::Builds,
        Self::Results,
        Self::Logs,
        Self::Control,
        Self::Events,
        Self::Dead,
    ];

    /// Its name at the broker.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Packages => "PACKAGES",
            Self::Status => "STATUS",
            Self::Builds => "BUILDS",
            Self::Results => "RESULTS",
            Self::Logs => "LOGS",
            Self::Control => "CONTROL",
            Self::Events => "EVENTS",
            Self::Dead => "DEAD",
        }
    }

    /// What it captures.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Packages => "packages.new",
            Self::Status => "packages.status",
            Self::Builds => "builds.start",
            Self::Results => "builds.result",
            Self::Logs => "builds.log.>",
            Self::Control => "control.*",
            Self::Events => "events.*",
            Self::Dead => "dead.*",
        }
    }

    /// The stream that captures `subject`.
    pub fn of(subject: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| {
            let pattern = stream.subject();
            match pattern.strip_suffix('*').or_else(|| pattern.strip_suffix('>')) {
                Some(prefix) => subject.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
                None => subject == pattern,
            }
        })
    }

    /// Whether several messages of it may be stored as one atomic batch.
    pub(crate) fn takes_batches(self) -> bool {
        matches!(self, Self::Builds | Self::Status | Self::Results | Self::Events)
    }

    pub(crate) fn config(self, replicas: u16) -> Config {
        let config = Config {
            name: self.as_str().to_owned(),
            subjects: vec![self.subject().to_owned()],
            storage: StorageType::File,
            num_replicas: replicas.into(),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_bytes: -1,
            allow_atomic_publish: self.takes_batches(),
            duplicate_window: Duration::from_secs(120),
            ..Config::default()
        };
        match self {
            Self::Packages => Config { discard: DiscardPolicy::New, max_messages: MAX_ANNOUNCEMENTS, ..config },
            Self::Status => Config { max_age: 90 * DAY, ..config },
            Self::Builds => Config { retention: RetentionPolicy::WorkQueue, ..config },
            Self::Results | Self::Control | Self::Events => Config { max_age: 30 * DAY, ..config },
            Self::Logs => Config { max_age: 7 * DAY, max_bytes: MAX_LOG_BYTES, ..config },
            Self::Dead => Config { max_age: 30 * DAY, duplicate_window: DAY, ..config },
        }
    }
}

/// The buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BucketName {
    /// All that the leader knows.
    Orchestrator,
    /// One key for each worker process.
    Workers,
    /// What pollers agree on.
    Poller,
}

impl BucketName {
    /// Every bucket.
    pub const ALL: [Self; 3] = [Self::Orchestrator, Self::Workers, Self::Poller];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrator",
            Self::Workers => "workers",
            Self::Poller => "poller",
        }
    }

    /// The stream below it.
    pub(crate) fn stream(self) -> &'static str {
        match self {
            Self::Orchestrator => "KV_orchestrator",
            Self::Workers => "KV_workers",
            Self::Poller => "KV_poller",
        }
    }

    /// What stands before the key in a subject.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Orchestrator => "$KV.orchestrator.",
            Self::Workers => "$KV.workers.",
            Self::Poller => "$KV.poller.",
        }
    }

    /// No direct reads (they may be stale), no purges and no roll-ups (they would empty it).
    pub(crate) fn config(self, replicas: u16) -> Config {
        Config {
            name: self.stream().to_owned(),
            subjects: vec![format!("{}>", self.prefix())],
            storage: StorageType::File,
            num_replicas: replicas.into(),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            max_messages: -1,
            max_messages_per_subject: 1,
            max_bytes: -1,
            max_age: if self == Self::Workers { HOUR } else { Duration::ZERO },
            duplicate_window: Duration::from_secs(120),
            allow_atomic_publish: true,
            allow_direct: false,
            allow_rollup: false,
            deny_delete: true,
            deny_purge: true,
            ..Config::default()
        }
    }
}

/// The durable of the leader, on `PACKAGES`, `RESULTS` and `CONTROL`.
pub const ORCHESTRATOR: &str = "orchestrator";
/// The durable of all workers, on `BUILDS`.
pub const BUILDERS: &str = "builders";
/// The durable of the active poller, on `STATUS`.
pub const CATALOGUE: &str = "catalogue";
/// The durable of the active poller, on `CONTROL`.
pub const POLLER: &str = "poller";

/// The durables that are made once and shared.
pub(crate) fn durables() -> [(StreamName, pull::Config); 3] {
    let durable = |name: &str, filter: &str| pull::Config {
        durable_name: Some(name.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: -1,
        max_waiting: MAX_WAITING,
        filter_subject: filter.to_owned(),
        ..pull::Config::default()
    };
    [
        (StreamName::Builds, durable(BUILDERS, "")),
        (StreamName::Status, pull::Config { ack_wait: CATALOGUE_ACK_WAIT, ..durable(CATALOGUE, "") }),
        (StreamName::Control, durable(POLLER, &control("poll"))),
    ]
}

/// The question how the line stands.
pub const STATE: &str = "orchestrator.state";
/// The question what comes next.
pub const QUEUE: &str = "orchestrator.queue";
/// The question what holds a package back.
pub const WHY: &str = "orchestrator.why";
/// The question what happened to a package.
pub const HISTORY: &str = "orchestrator.history";

/// `packages.new`
pub fn packages_new() -> String {
    StreamName::Packages.subject().to_owned()
}

/// `packages.status`
pub fn packages_status() -> String {
    StreamName::Status.subject().to_owned()
}

/// `builds.start`
pub fn builds_start() -> String {
    StreamName::Builds.subject().to_owned()
}

/// `builds.result`
pub fn builds_result() -> String {
    StreamName::Results.subject().to_owned()
}

/// `builds.log.<buildId>`
pub fn build_log(build: &BuildId) -> String {
    format!("builds.log.{build}")
}

/// `builds.stop.<worker>`, for a worker's name without dots.
pub fn stop(worker: &str) -> String {
    format!("builds.stop.{worker}")
}

/// `control.<command>`
pub fn control(command: &str) -> String {
    format!("control.{command}")
}

/// `events.<kind>`
pub fn event(kind: &str) -> String {
    format!("events.{kind}")
}

/// `dead.<kind>`
pub fn dead(kind: &str) -> String {
    format!("dead.{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_belongs_to_its_stream() {
        let build = BuildId { package: "@acme/core".parse().unwrap(), serial: 7 };
        for (subject, stream) in [
            (packages_new(), StreamName::Packages),
            (packages_status(), StreamName::Status),
            (builds_start(), StreamName::Builds),
            (builds_result(), StreamName::Results),
            (build_log(&build), StreamName::Logs),
            (control("poll"), StreamName::Control),
            (event("queued"), StreamName::Events),
            (dead("control"), StreamName::Dead),
        ] {
            assert_eq!(StreamName::of(&subject), Some(stream), "{subject}");
        }
        assert_eq!(StreamName::of(&stop("host-1")), None);
        assert_eq!(StreamName::of("control."), None);
    }
}
