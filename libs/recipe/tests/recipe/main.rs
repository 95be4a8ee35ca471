//! Recipe files from outside: what right ones mean, and what is wrong with the others.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod problems;
mod recipes;
