//! The command as a person starts it, and what the repository says of it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod bench;
mod demo;
mod docs;
mod features;
mod folders;
mod last_release;
mod place;
mod publishing;
mod reading;
mod readme;
mod recipe;
mod up;
mod uplink;
