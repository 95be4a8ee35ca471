//! The registry of a workspace before a registry of its user: what comes from which of them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod growth;
mod held;
mod kept;
mod stand;
