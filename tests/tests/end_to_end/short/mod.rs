//! Tests that end as soon as what they wait for has happened.

mod announce;
mod command;
mod contract;
mod control;
mod hostile;
mod hostile_recipe;
mod last_release;
mod line;
mod logs;
mod operator;
mod outcomes;
mod protocol;
mod questions;
mod refusal;
mod workers;
