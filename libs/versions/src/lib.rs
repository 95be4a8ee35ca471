//! Which Node and which version of its package manager a workspace gets.
//!
//! [`Wanted::read`] reads what a workspace asks for, and [`choose`] decides: what the machine has where that will do, else
//! the newest that the registry offers. Nothing here asks a registry or runs anything.

mod choice;
mod wanted;

pub use choice::{Choice, Offer, Own, Selected, choose, own_will_do};
pub use wanted::{Want, Wanted};
