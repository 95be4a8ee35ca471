//! A small real catalogue: an MCP server over SQLite.
