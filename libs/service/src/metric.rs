//! All metrics of all services, as data: what they are called and what they mean.

use metrics::{counter, gauge};

/// What a metric is, by the conventions of Prometheus: base units, `_total` for what only grows.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels; none takes values that grow with the number of packages or workers.
    pub labels: &'static [&'static str],
    /// What it says, in one line.
    pub help: &'static str,
}

/// The types of metrics.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations below each of these bounds.
    Histogram(&'static [f64]),
}

/// What takes milliseconds: a commit.
const SHORT: Kind = Kind::Histogram(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
/// What takes seconds to an hour: a build, a phase, a wait in the queue.
const LONG: Kind = Kind::Histogram(&[
    0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0,
]);
/// How many at a time, up to the most of one commit.
const COUNT: Kind = Kind::Histogram(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1000.0]);

const fn metric(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, labels, help }
}

macro_rules! metrics {
    ($($(#[$about:meta])* $constant:ident = $name:literal, $kind:expr, $labels:expr, $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*
        /// Every metric there is.
        pub const METRICS: &[Metric] = &[$(metric($name, $kind, &$labels, $help)),*];
    };
}

metrics! {
    // every service
    BUILD_INFO = "packline_build_info", Kind::Gauge, ["version"], "1; which version runs";
    CONNECTED = "packline_broker_connected", Kind::Gauge, [], "1 while there is a connection to the broker";
    DEAD_LETTERS = "packline_dead_letters_total", Kind::Counter, ["reason"], "Messages refused by this process, by the last token of dead.<reason>";
    // orchestrator
    LEADER = "packline_leader", Kind::Gauge, [], "1 while this orchestrator leads or this poller is the active one";
    TERM = "packline_leader_term", Kind::Gauge, [], "The term in which this orchestrator leads or this poller is the active one, or was last";
    QUEUE = "packline_queue_packages", Kind::Gauge, ["state"], "Packages that the queue knows, by state; 0 on a standby";
    PERMITS = "packline_permits_in_use", Kind::Gauge, [], "Builds that are handed out; 0 on a standby";
    LIMIT = "packline_permits_limit", Kind::Gauge, [], "Builds that may be handed out at a time; 0 on a standby";
    SLOTS = "packline_slots", Kind::Gauge, [], "Slots of live workers as the leader sees them; 0 on a standby";
    STALLED = "packline_stalled", Kind::Gauge, [], "1 while work could start, or be taken, and nothing has moved for 30 s; 0 on a standby";
    ATTEMPTS = "packline_attempts_total", Kind::Counter, [], "Builds started, each attempt by itself";
    ENDED = "packline_attempts_ended_total", Kind::Counter, ["outcome", "phase"], "Builds ended, by how, and by the phase that failed";
    ATTEMPT_TIME = "packline_attempt_duration_seconds", LONG, ["outcome"], "From the permit to the end that the leader decided";
    WAIT = "packline_announcement_to_start_seconds", LONG, [], "From the announcement (or requeueing) of a package to its first build";
    COMMITS = "packline_commits_total", Kind::Counter, [], "Commits of this leader that stored records; not those that only renew the lease";
    COMMIT_RECORDS = "packline_commit_records", COUNT, [], "Records in one commit, besides the leader's own";
    COMMIT_TIME = "packline_commit_duration_seconds", SHORT, [], "From sending a commit to its acknowledgement";
    // builder-worker
    WORKER_SLOTS = "packline_worker_slots", Kind::Gauge, [], "Builds that this worker may run at a time; 0 while it rests or stops";
    WORKER_BUILDS = "packline_worker_builds", Kind::Gauge, [], "Builds that this worker has taken and not ended";
    BUILDS = "packline_worker_builds_total", Kind::Counter, ["outcome", "phase"], "Builds that this worker ended, by how, and by the phase that failed";
    BUILD_TIME = "packline_worker_build_duration_seconds", LONG, ["outcome"], "From taking an order to its result";
    PHASE_TIME = "packline_worker_phase_duration_seconds", LONG, ["phase", "status"], "How long the phases of builds ran";
    // poller
    POLLS = "packline_polls_total", Kind::Counter, ["result"], "Polls of the catalogue, ok or failed";
    LAST_POLL = "packline_last_poll_timestamp_seconds", Kind::Gauge, [], "When the last poll that succeeded ended, in Unix time, whichever poller did it; 0 before the first";
    POLLED = "packline_last_poll_packages", Kind::Gauge, [], "Packages that the catalogue named in the last poll that succeeded";
    // packages-api
    CATALOGUE = "packline_catalogue_packages", Kind::Gauge, ["status"], "Packages of the catalogue, by status";
}

/// Sets what a service knows of its broker: whether there is a connection, and the dead letters handed over,
/// by the last token of their subject.
pub fn set_broker(connected: bool, dead_letters: impl IntoIterator<Item = (String, u64)>) {
    gauge!(CONNECTED).set(f64::from(u8::from(connected)));
    for (reason, count) in dead_letters {
        counter!(DEAD_LETTERS, "reason" => reason).absolute(count);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus_and_stand_once() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for Metric { name, kind, labels, help } in METRICS {
            assert!(name.starts_with("packline_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), matches!(kind, Kind::Counter), "{name}");
            assert!(!help.is_empty() && !help.contains('\n') && !help.ends_with('.'), "{name}: {help}");
            for forbidden in ["package", "worker", "name", "build", "id", "le"] {
                assert!(!labels.contains(&forbidden), "{name} would have a series for each {forbidden}");
            }
            if let Kind::Histogram(bounds) = kind {
                assert!(bounds.is_sorted() && bounds.len() < 20, "{name}");
            }
        }
    }
}
