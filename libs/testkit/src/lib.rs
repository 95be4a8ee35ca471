//! Real servers for tests and for the demo, each on its own port and folder.
