//! The catalogue over HTTP: who is let in, what MCP clients and people see.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod door;
mod foreign;
mod page;
mod served;
mod serving;
