//! Layers on a real file system, and sources of real checkouts.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod place;
mod sources;
mod store;
