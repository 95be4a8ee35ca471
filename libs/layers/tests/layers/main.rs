//! Layers on a real file system, and sources of real checkouts.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod helper;
mod place;
mod records;
mod repository;
mod sources;
mod states;
mod store;
mod trees;
