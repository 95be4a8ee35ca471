//! What every service starts with: settings, shutdown, telemetry, health. Nothing of the domain.

mod address;
mod health;
pub mod lines;
pub mod metric;
mod shutdown;
mod telemetry;

use std::{
    future::Future,
    io::{Write, stderr},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;

pub use address::{address, listen};
pub use health::{Health, HealthSettings, Readiness};
pub use shutdown::Shutdown;
pub use telemetry::{LogFormat, LogSettings, init};

/// How long tasks that still run at the end may take to let go of what they hold, such as a database.
const LET_GO: Duration = Duration::from_secs(1);

/// A duration as people type it: `30m`, `10s`, `500ms`. For clap's `value_parser`.
///
/// # Errors
/// When it is no duration, or zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("a duration is longer than nothing, for example 10s".into()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; a duration is written like 30m, 10s or 500ms")),
    }
}

/// Settings that are well-formed one by one and unusable together, or with this machine: exit status 2.
#[derive(Debug)]
pub struct Unusable(pub String);

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// Settings of a service, among which those of its logs.
pub trait Settings: Parser {
    /// How it logs.
    fn log(&self) -> &LogSettings;
}

/// Parses settings, starts telemetry, runs until done, and says the truth in the exit status:
/// 0 asked to stop or drained, 2 settings unusable, 1 anything else.
pub fn main<S, F, R>(run: R) -> ExitCode
where
    S: Settings,
    R: FnOnce(S, Shutdown) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let settings = match S::try_parse() {
        Ok(settings) => settings,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    init(settings.log());
    let is_bare = settings.log().log_format == LogFormat::Bare;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("failed to start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async { run(settings, Shutdown::on_signals()?).await });
    runtime.shutdown_timeout(LET_GO);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if is_bare {
                // Not by the log, which may be filtered: without a word nobody knows what a status means.
                let text: String = format!("{error:#}").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let _ = writeln!(stderr(), "error: {text}");
            } else {
                tracing::error!("{error:#}");
            }
            ExitCode::from(if error.is::<Unusable>() { 2 } else { 1 })
        }
    }
}
