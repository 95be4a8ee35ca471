//! The programs of others that tests run: found on this machine, or fetched once by pinned and hashed lists
//! into `target/tools`. A second run needs no network.

mod compose;
mod nats_cli;
mod npm;
mod python;
mod release;
mod typescript;

pub use packline_local::tools::*;

pub use compose::compose;
pub use nats_cli::nats_cli;
pub use npm::{Npm, npm11, npm12};
pub use python::{OLDEST_PYTHON, Python, python};
pub use release::{NODE22, NPM10, NPM12, PNPM10, PNPM12, PNPM12_NATIVE, Pinned, YARN1, YARN4};
pub use typescript::{TypeScript, typescript};
