//! The pure core that decides what is built next; no clock, no randomness, no I/O.
