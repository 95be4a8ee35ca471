//! Settings of the orchestrator.

use std::time::Duration;

use clap::Parser;
use packline_service::{HealthSettings, LogSettings, Settings, duration};

/// Keeps the queue: priorities, dependency order, permits, retries, control. Never builds.
///
/// Any number may run: one leads, the others stand by.
#[derive(Parser, Clone, Debug)]
#[command(version)]
pub struct Config {
    /// Builds at a time, all workers together; only the first start counts, later control.adjust-concurrency rules
    #[arg(long, env, default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max_concurrent: u32,
    /// Own failures of a package before it counts as failed
    #[arg(long, env, default_value = "3", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_attempts: u32,
    /// First wait after a failure; doubles with each
    #[arg(long, env, default_value = "10s", value_parser = duration)]
    pub retry_base: Duration,
    /// Longest wait after a failure
    #[arg(long, env, default_value = "10m", value_parser = duration)]
    pub retry_max: Duration,
    /// Workers lost with a package before it counts as failed
    #[arg(long, env, default_value = "3", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_lost: u32,
    /// Failures of machines with a package before it counts as failed
    #[arg(long, env, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_infrastructure: u32,
    /// How long one build may take
    #[arg(long, env, default_value = "1h", value_parser = duration)]
    pub build_deadline: Duration,
    /// How long a leader may be silent before another takes over
    #[arg(long, env, default_value = "6s", value_parser = duration)]
    pub lease: Duration,
    /// How long a worker may be silent before its builds count as lost; twice a planned restart of the broker
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub claim: Duration,
    /// Registry that the orders name; without it, each worker's own
    #[arg(long, env)]
    pub npm_registry: Option<String>,
    /// Where it says how it is.
    #[command(flatten)]
    pub health: HealthSettings,
    /// The broker.
    #[command(flatten)]
    pub nats: packline_broker::Settings,
    /// The logs.
    #[command(flatten)]
    pub log: LogSettings,
}

impl Settings for Config {
    fn log(&self) -> &LogSettings {
        &self.log
    }
}

impl Config {
    /// The rules that the scheduler goes by.
    pub(crate) fn rules(&self) -> packline_scheduler::Config {
        packline_scheduler::Config {
            max_attempts: self.max_attempts,
            retry_base: self.retry_base,
            retry_max: self.retry_max.max(self.retry_base),
            max_lost: self.max_lost,
            max_infrastructure: self.max_infrastructure,
            build_deadline: self.build_deadline,
            registry: self.npm_registry.clone(),
        }
    }
}
