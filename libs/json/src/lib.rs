//! JSON as npm reads it, and what programs of other languages write that npm would refuse.
//!
//! [`parse`] differs from strict JSON in this:
//!
//! | in the document | read as |
//! |---|---|
//! | a byte order mark at the start | nothing |
//! | bytes that are not UTF-8 | U+FFFD |
//! | an escaped surrogate without its other half | U+FFFD |
//! | a key that stands twice in an object | the last value |
//! | `NaN`, `Infinity`, `-Infinity` | null |
//! | a number that no 64-bit float can hold | null |
//! | an array or object within [`MAX_DEPTH`] others | null |

mod parser;

use serde_json::Value;

/// Levels of arrays and objects that are read. What was read can be written, wrapped a few times, and read again by
/// serde_json, which refuses more than 127.
pub const MAX_DEPTH: usize = 100;

/// Why a document is not JSON, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at line {line}, column {column}")]
pub struct JsonError {
    /// What is wrong, or what was expected instead.
    pub problem: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in that line, from 1. A byte order mark counts as none.
    pub column: usize,
}

/// Reads one document.
///
/// # Errors
/// When it is not JSON. Of what is read as null for its depth only strings and brackets are looked at.
pub fn parse(document: &[u8]) -> Result<Value, JsonError> {
    let document = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    parser::parse(&String::from_utf8_lossy(document))
}
