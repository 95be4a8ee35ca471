//! The scheduler from outside: what each input leads to, and what never happens.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod announce;
mod command;
mod contract;
mod dependency;
mod finish;
mod forecast;
mod line;
mod order;
mod private;
mod property;
mod protocol;
mod restore;
mod start;
mod transition;
mod why;
mod withdraw;
mod worker;
mod world;
