//! How a line stands, followed through its records and shown to a person.

pub(crate) mod board;
pub(crate) mod follow;
pub(crate) mod observer;
pub(crate) mod progress;
pub(crate) mod remarks;
pub(crate) mod row;
pub(crate) mod standing;
pub(crate) mod standings;
pub(crate) mod table;
pub(crate) mod warnings;
