//! The queue: one leader decides, commits and hands out builds.
