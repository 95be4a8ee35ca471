//! The pure core that decides what is built next: no clock, no randomness, no I/O.
//!
//! # The law
//! Everything that happens is an [`Input`]; [`Scheduler::apply`] answers with [`Action`]s and remembers.
//! All actions of an input are committed together; only then is anything sent, and only then is the input
//! acknowledged. Time, chance and identities come in with [`Now`]. The same inputs give the same actions,
//! byte for byte; the records alone give back the same scheduler ([`Scheduler::restore`]).
//!
//! One thing is decided before and remembered after its commit: what changes a permit that a worker may be
//! changing at the same time ([`Scheduler::plan_withdrawal`]). And whoever asks meanwhile is shown what is stored
//! ([`Scheduler::as_stored`]).
//!
//! This is law 1. All laws are in `docs/design/laws.md`.
//!
//! # The loop
//! ```
//! use packline_domain::{Mode, Package, SCHEMA, Timestamp, control::Origin, effect::Effect, record::Control};
//! use packline_scheduler::{Action, Config, Input, Now, Scheduler, invariant};
//!
//! let control = Control {
//!     schema: SCHEMA, mode: Mode::Running, max_concurrent: 4, origin: Origin::default(),
//!     since: Timestamp::default(), complete: true, drained_commit: None, last: None,
//! };
//! let mut scheduler = Scheduler::new(Config::default(), control, 0);
//! let core = Package::named("@acme/core".parse()?);
//! let inputs = [
//!     Input::Started,
//!     Input::WorkersSeen { live: [("w1".to_owned(), 2)].into() },
//!     Input::Announced { packages: vec![core], reported_through: None, slice: None },
//!     Input::Dispatched { limit: 400 },
//! ];
//! let mut sent = Vec::new();
//! for (commit, input) in (1..).zip(inputs) {
//!     // 1. The circumstances of this step.
//!     let now = Now { at: Timestamp::from_millis(1_000), commit, seed: 42 };
//!     // 2. Decide. A refusal changes nothing and is dead-lettered.
//!     let actions = scheduler.apply(&now, input)?;
//!     // 3. Commit all records in one batch. 4. When that is confirmed, say so, and send, in order.
//!     for action in actions {
//!         match action {
//!             Action::Put(_key, _record) => {}
//!             Action::Delete(_key) => {}
//!             Action::Effect(effect) => sent.push(effect),
//!         }
//!     }
//!     scheduler.stored();
//!     // 5. Acknowledge the input. 6. What a lost worker, a deadline or a command withdraws goes by a
//!     // commit of its own, with the revisions of the permits that it relies on.
//!     if let Some(plan) = scheduler.plan_withdrawal(&now, 100) {
//!         scheduler.apply(&now, Input::Withdrawn(plan))?;
//!         scheduler.stored();
//!     }
//!     invariant::check(&scheduler)?;
//! }
//! assert!(matches!(&sent[1], Effect::Order(order) if order.package_name.as_str() == "@acme/core"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![doc = include_str!("transitions.md")]
#![deny(clippy::wildcard_enum_match_arm, reason = "a new variant must break every decision that ignores it")]

mod action;
mod announce;
mod control;
mod cycle;
mod dependency;
mod dispatch;
mod expiry;
mod finish;
mod forecast;
mod history;
mod input;
mod intention;
pub mod invariant;
mod node;
mod order;
mod permit;
mod protocol;
mod restore;
mod retry;
mod scheduler;
mod step;
mod text;
mod unstored;
mod view;
mod waiters;
mod why;
mod withdraw;

pub use action::Action;
pub use input::{Config, Input, Now, Refusal, Slice};
pub use packline_domain::answer::{Counts, Holder, Reason, Standing};
pub use protocol::Behind;
pub use restore::{Impossible, Restoring};
pub use scheduler::Scheduler;
pub use view::Awaited;
pub use withdraw::Withdrawal;
