//! The program `orchestrator`.

use std::process::ExitCode;

fn main() -> ExitCode {
    packline_service::main(packline_orchestrator::run)
}
