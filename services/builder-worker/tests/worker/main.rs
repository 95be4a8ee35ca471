//! The worker as a process, on a real broker and a real registry, ordered about by a test.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod command;
mod contract;
mod copies;
mod copy;
mod entry;
mod foreman;
mod guard;
mod isolated;
mod layers;
mod lerna;
mod life;
mod lifecycle;
mod like_npm;
mod links;
mod log;
mod managers;
mod merged;
mod modes;
mod no_test;
mod npm;
mod orders;
mod path;
mod publish_config;
mod publisher;
mod put;
mod readme;
mod recipe;
mod recipe_npm;
mod recorder;
mod reflink;
mod refusals;
mod root;
mod scripts;
mod seat;
mod speed;
mod tokens;
mod view;
mod workspaces;
mod yard;
