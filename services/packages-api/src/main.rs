//! The catalogue's program: settings from flags and environment, then [`packline_packages_api::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    packline_service::main(packline_packages_api::run)
}
