//! Real servers for tests and for the demo, each on its own port and folder.
//!
//! All that is started here dies with the process that started it, however that ends.

pub mod catalogue;
pub mod line;
pub mod nats;
pub mod plant;
pub mod process;
pub mod proxy;
pub mod registry;
pub mod tools;
