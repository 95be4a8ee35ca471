//! The program `builder-worker`, and the guards of its builds.

use std::process::ExitCode;

fn main() -> ExitCode {
    packline_builder_worker::subcommand().unwrap_or_else(|| packline_service::main(packline_builder_worker::run))
}
