//! The poller's program: settings from flags and environment, then [`packline_poller::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    packline_service::main(packline_poller::run)
}
