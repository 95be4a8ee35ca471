//! npm's settings and the protocol of its registries, without npm: what npm is set to, what opens a registry, and the
//! requests that look a package up, fetch a tarball and publish one.
//!
//! [`Settings`] reads what npm would read, in a project or outside any. [`Settings::access`] makes of them what
//! requests to one registry need; nothing that is set for another registry is in it. [`Client`] makes the requests. It
//! retries nothing: a [`Refusal`] says what its caller can do.

mod access;
mod auth;
mod client;
mod environment;
mod expand;
mod ini;
mod packument;
mod proxies;
mod publish;
mod refusal;
mod settings;
mod trouble;
mod words;

pub use access::{Access, Authorization};
pub use client::{Client, Unusable};
pub use environment::Environment;
pub use packument::{Packument, Version};
pub use publish::Document;
pub use refusal::{Kind, Refusal};
pub use settings::{DEFAULT_REGISTRY, Settings, Unreadable};
