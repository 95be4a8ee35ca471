//! The end-to-end tests, on real parts.
