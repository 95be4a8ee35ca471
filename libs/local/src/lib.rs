//! The whole line on one machine: its programs, and the servers that they need, as child processes.
//!
//! All that is started here dies with the process that started it, however that ends.

pub mod catalogue;
pub mod line;
pub mod nats;
pub mod plant;
pub mod port;
pub mod process;
pub mod registry;
pub mod tools;
