//! What the driver is to do: write records, and send what they imply.

use packline_domain::{
    effect::Effect,
    record::{Key, Record},
};

/// One thing to do. All actions of one step belong into one commit, the effects after it, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write this record.
    Put(Key, Record),
    /// Delete this key.
    Delete(Key),
    /// Send this when the commit is confirmed.
    Effect(Effect),
}
