//! Logs: one line a step, on stderr (stdout may be a protocol).

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How a service logs.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// Format of the log lines
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged, as `info` or `packline_orchestrator=debug,warn`
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub rust_log: String,
}

/// The two formats of log lines.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// For a person at a terminal: what goes wrong, without the time.
    #[value(skip)]
    Bare,
}

/// Starts logging, and chooses ring for all TLS of this process: with a second provider compiled in,
/// rustls would panic at the first connection. Call it once, first.
pub fn init(settings: &LogSettings) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Libraries that tell of every session say only what is wrong, unless they are asked by name. What ends a
    // connection to a catalogue is told by whoever wanted it, once and not at every try.
    let filter =
        EnvFilter::try_new(format!("rmcp=warn,rmcp::transport::worker=off,async_nats=warn,{}", settings.rust_log))
            .unwrap_or_else(|error| {
                eprintln!("RUST_LOG `{}` is not a filter ({error}); logging at info", settings.rust_log);
                EnvFilter::new("info")
            });
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
        LogFormat::Bare => {
            subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).without_time().init();
        }
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
    }
}
