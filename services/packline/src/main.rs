//! The operator's command: settings from flags and environment, then [`packline::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    packline_service::main(packline::run)
}
