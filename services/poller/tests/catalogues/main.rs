//! The poller between real servers: a nats-server for each test, and catalogues over HTTP and stdio.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod asking;
mod electing;
mod foreign;
mod hostile;
mod malformed;
mod place;
mod polling;
mod program;
mod reporting;
mod scripted;
mod secure;
mod timing;

pub(crate) use place::{PATIENCE, Place, config, name, names, within};
