//! How a package name becomes a token of a subject and a key of a bucket.
//!
//! The leading `@` is dropped and every byte outside `[A-Za-z0-9_/-]` is written `=XX` (hexadecimal,
//! upper case). An unscoped npm name has no `/`, so scoped and unscoped names never collide.

use std::fmt::Write;

use crate::package::{NameError, PackageName};

/// `@acme/core` is `acme/core`, `lodash.merge` is `lodash=2Emerge`.
pub(crate) fn encode(name: &str) -> String {
    let bare = name.strip_prefix('@').unwrap_or(name);
    let mut key = String::with_capacity(bare.len());
    for byte in bare.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b'-') {
            key.push(char::from(byte));
        } else {
            let _ = write!(key, "={byte:02X}");
        }
    }
    key
}

/// The name whose key this is.
///
/// # Errors
/// When `key` is not what [`encode`] makes of some accepted name.
pub(crate) fn decode(key: &str) -> Result<PackageName, NameError> {
    let mut bytes = Vec::with_capacity(key.len() + 1);
    if key.contains('/') {
        bytes.push(b'@');
    }
    let mut rest = key.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let pair = [rest.next(), rest.next()];
        let digits = pair.map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
        let [Some(high), Some(low)] = digits else {
            return Err(NameError::new(key, "`=` in a key is followed by two hexadecimal digits"));
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
    }
    let text = String::from_utf8(bytes).map_err(|_| NameError::new(key, "a key is ASCII"))?;
    let name: PackageName = text.parse()?;
    if encode(name.as_str()) == key { Ok(name) } else { Err(NameError::new(key, "a key is written in one way only")) }
}
