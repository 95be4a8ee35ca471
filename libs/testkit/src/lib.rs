//! Real servers for tests, each on its own port and folder, and foreign peers to try them with.
//!
//! All that is started here dies with the process that started it, however that ends.

pub mod campaign;
pub mod http;
pub mod proxy;
pub mod stand_in;
pub mod table;
pub mod tools;
pub mod witness;
pub mod workspaces;

pub use packline_local::{catalogue, line, nats, plant, port, process, registry};
