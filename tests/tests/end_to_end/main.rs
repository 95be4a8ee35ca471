//! The whole pipeline from outside, on real parts.
//!
//! The test harness starts tests in the order of their names: what takes longest is in [`long`], so that no long test
//! is left alone at the end.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod long;
mod short;
