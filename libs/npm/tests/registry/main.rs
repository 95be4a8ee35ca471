//! npm's settings beside npm itself, and requests to registries and proxies that misbehave.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod look;
mod npm;
mod proxy;
mod put;
mod real;
mod stand;
mod tls;
mod token;
mod upload;
