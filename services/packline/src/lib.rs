//! The operator's command.

mod bench;
mod demo;
mod recipe;
mod view;

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use packline_domain::Timestamp;
use packline_local::tools::Missing;
use packline_service::{LogFormat, LogSettings, Shutdown, Unusable};

/// The operator's command of Packline
#[derive(Parser, Clone, Debug)]
#[command(name = "packline", version)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    command: Command,
    /// A person reads what this command prints, so of its log only what goes wrong is shown.
    #[arg(skip = quiet())]
    log: LogSettings,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Run the whole line on this machine: eight packages, two workers, a registry, a catalogue
    Demo(demo::Settings),
    /// Measure the line on this machine: builds a second, latency, memory, restart
    Bench(bench::Settings),
    /// Look at a recipe file
    Recipe(recipe::Settings),
}

impl packline_service::Settings for Cli {
    fn log(&self) -> &LogSettings {
        &self.log
    }
}

fn quiet() -> LogSettings {
    let rust_log = std::env::var("RUST_LOG").unwrap_or_else(|_| "error".into());
    LogSettings { log_format: LogFormat::Text, rust_log }
}

/// Does what was asked for, until it is done or `shutdown` is requested.
///
/// # Errors
/// When it was not done; [`packline_service::Unusable`] where this machine lacks something.
pub async fn run(cli: Cli, shutdown: Shutdown) -> anyhow::Result<()> {
    match cli.command {
        Command::Demo(settings) => demo::run(&settings, &shutdown).await,
        Command::Bench(settings) => bench::run(&settings, &shutdown).await,
        Command::Recipe(settings) => recipe::run(&settings),
    }
}

/// What this machine lacks is for its owner to settle, not for us to try again.
fn name_what_is_missing(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Missing>() {
        Ok(missing) => Unusable(missing.to_string()).into(),
        Err(error) => error,
    }
}

/// This machine's time.
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
