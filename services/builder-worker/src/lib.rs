//! Takes build orders and runs their phases below a guard.
