//! Asks the catalogue over MCP and brings outcomes back to it.
