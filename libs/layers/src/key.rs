//! What a layer is known by.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// So many hexadecimal digits of a hash name a layer: paths of layers must be short, because the options of a mount
/// fit on one page.
const DIGITS: usize = 32;
const LONGEST_KIND: usize = 16;

/// What a layer is known by: its kind, and a hash of all that it was made from. Written `kind/digest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key {
    kind: String,
    digest: String,
}

/// A text is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no key of a layer: it is a kind of 1 to {LONGEST_KIND} letters from a to z, `/` and {DIGITS} digits \
     from 0 to 9 and a to f"
)]
pub struct BadKey(String);

impl Key {
    /// The key of a layer of this kind that is made from these parts, in this order.
    ///
    /// # Errors
    /// Where `kind` is not 1 to 16 letters from a to z.
    pub fn of<P: AsRef<[u8]>>(kind: &str, parts: impl IntoIterator<Item = P>) -> Result<Self, BadKey> {
        let mut hash = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            // The lengths keep ["a", "b"] and ["ab"] apart.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut digest = hex::encode(hash.finalize());
        digest.truncate(DIGITS);
        format!("{kind}/{digest}").parse()
    }

    /// The kind of the layer.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The hash of what the layer is made from.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// As the name of one file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.{}", self.kind, self.digest)
    }

    /// From the start of a name that begins with [`Key::file_name`].
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let (kind, digest) = (parts.next()?, parts.next()?);
        format!("{kind}/{digest}").parse().ok()
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bad = || BadKey(text.chars().take(100).collect());
        let (kind, digest) = text.split_once('/').ok_or_else(bad)?;
        let is_kind = (1..=LONGEST_KIND).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_lowercase());
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !is_kind || digest.len() != DIGITS || !digest.bytes().all(is_digit) {
            return Err(bad());
        }
        Ok(Self { kind: kind.to_owned(), digest: digest.to_owned() })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.kind, self.digest)
    }
}

impl TryFrom<String> for Key {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_kind_and_a_digest() {
        let key = Key::of("installed", ["a", "b"]).unwrap();
        assert_eq!(key.to_string(), format!("installed/{}", key.digest()));
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!(Key::from_file_name(&format!("{}.x1.y", key.file_name())), Some(key.clone()));
        assert_eq!(serde_json::from_str::<Key>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
        assert_ne!(Key::of("installed", ["ab"]).unwrap(), key, "parts are kept apart");
        assert_ne!(Key::of("sources", ["a", "b"]).unwrap(), key);
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_key() {
        let digest = "0".repeat(32);
        for text in [
            "".to_owned(),
            digest.clone(),
            format!("/{digest}"),
            format!("../{digest}"),
            format!(".store/{digest}"),
            format!("a/b/{digest}"),
            format!("Sources/{digest}"),
            format!("{}/{digest}", "a".repeat(17)),
            format!("a/{}", "0".repeat(31)),
            format!("a/{}", "G".repeat(32)),
            "a/..".to_owned(),
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
        let error = "x/..".parse::<Key>().unwrap_err().to_string();
        assert!(error.starts_with("`x/..` is no key of a layer"), "{error}");
    }
}
