//! npm's settings beside npm itself, and requests to registries and proxies that misbehave.

mod look;
mod npm;
mod proxy;
mod put;
mod stand;
mod tls;
mod token;
mod upload;
