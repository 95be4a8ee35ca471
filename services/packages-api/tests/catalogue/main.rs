//! The catalogue from outside: filled by a scan, over stdio and over HTTP; who is let in, what MCP clients and
//! people see.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod door;
mod foreign;
mod malformed;
mod managers;
mod needs;
mod page;
mod scan;
mod served;
mod serving;
mod tools;
