//! Tests that wait for leases, deadlines and alarms to run out, or do hundreds of rounds.

mod compose;
mod doctor;
mod documented;
mod foreign;
mod health;
mod kill;
mod nasty;
mod once;
mod pause;
mod published;
mod random;
mod refused;
mod stop;
