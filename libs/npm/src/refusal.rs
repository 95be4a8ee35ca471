//! What the answer of a registry means to whoever asked. Status, headers and body decide, and nothing that npm prints.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    StatusCode,
    header::{HeaderMap, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{access::Access, words};

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Refusal {
    /// What can be done about it.
    pub kind: Kind,
    /// One line that names the registry, and no secret.
    pub message: String,
}

/// What can be done about a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The same request is refused again: somebody has to change something.
    Permanent,
    /// The version may be there already: look what is there.
    Exists,
    /// The registry says that the version was published before. Where it is not there, it was unpublished, and no
    /// registry takes its number again.
    Taken,
    /// The registry wants fewer requests.
    Busy {
        /// How long it wants to be left alone, if it says so.
        wait: Option<Duration>,
    },
    /// The registry, or the way to it, does not work at present, or is not set up for this. Nothing is known to have
    /// come of the request.
    Unavailable,
    /// The request was sent, wholly or in part, and no answer came: look what has come of it.
    NoAnswer,
}

/// What was asked of a registry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    /// What it has of a package.
    Look(&'a str),
    /// A tarball.
    Download(&'a str),
    /// To publish.
    Put {
        what: &'a str,
        /// Bytes of the request.
        size: u64,
    },
}

impl Asked<'_> {
    pub(crate) fn is_put(&self) -> bool {
        matches!(self, Self::Put { .. })
    }
}

impl Refusal {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn permanent(message: impl Into<String>) -> Self {
        Self::new(Kind::Permanent, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }
}

/// An answer that is no success.
pub(crate) struct Answer<'a> {
    pub(crate) asked: Asked<'a>,
    pub(crate) access: &'a Access,
    /// What answered, for people: the registry, or the host of a tarball.
    pub(crate) host: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// Its first part.
    pub(crate) body: &'a [u8],
    pub(crate) now: Timestamp,
}

impl Answer<'_> {
    /// What it means.
    pub(crate) fn refusal(&self) -> Refusal {
        let (kind, message) = self.judged();
        Refusal { kind, message: self.access.blank(message) }
    }

    fn judged(&self) -> (Kind, String) {
        let host = self.host;
        let status = self.status.as_u16();
        let what = match self.asked {
            Asked::Look(name) | Asked::Download(name) => name,
            Asked::Put { what, .. } => what,
        };
        let what = words::line(what);
        let (kind, text) = match status {
            300..=399 => {
                let place = self.header(LOCATION).map_or("nowhere".into(), |place| words::line(&without_query(place)));
                let cure = if self.asked.is_put() { "; set the registry to that address" } else { "" };
                (Kind::Permanent, format!("{host} redirects {what} to {place}{cure}"))
            }
            401 | 403 if self.wants_second_factor() => (
                Kind::Permanent,
                format!("{host} wants a second factor to publish {what}: use a token that can publish without one"),
            ),
            403 if self.header(RETRY_AFTER).is_some() => return self.busy(),
            400 | 403 | 422 if self.asked.is_put() && self.says_exists() => {
                (Kind::Taken, format!("{host} says that {what} was published before"))
            }
            401 | 403 if !self.access.has_credentials() => (
                Kind::Permanent,
                format!("{host} wants a token for {what}, and none is set for this registry{}", self.hint()),
            ),
            401 if self.challenges("ipaddress") => {
                (Kind::Permanent, format!("{host} does not accept the token from the address of this machine"))
            }
            401 => (Kind::Permanent, format!("{host} does not accept the token that is set for it{}", self.hint())),
            402 => (Kind::Permanent, format!("{host} wants a paid plan for {what}")),
            403 if self.asked.is_put() => {
                (Kind::Permanent, format!("{host} does not let this token publish {what}{}", self.hint()))
            }
            403 => (Kind::Permanent, format!("{host} does not let this token read {what}{}", self.hint())),
            404 if self.asked.is_put() => (
                Kind::Unavailable,
                format!(
                    "{host} rejects {what}: there is no registry at this address, or the token may not publish there"
                ),
            ),
            404 | 410 => (Kind::Permanent, format!("{host} does not have {what}")),
            407 => (Kind::Unavailable, format!("a proxy on the way to {host} wants a login")),
            408 | 425 => (Kind::Unavailable, format!("{host} timed out while it waited for the request")),
            409 => (Kind::Exists, format!("{host} says that {what} conflicts with what it has")),
            413 => match self.asked {
                Asked::Put { size, .. } => {
                    (Kind::Unavailable, format!("{host} rejects {what}: a request of {size} bytes is too large"))
                }
                _ => (Kind::Permanent, format!("{host} says that the request for {what} is too large")),
            },
            429 => return self.busy(),
            500..=599 => (Kind::Unavailable, format!("{host} failed with status {status}")),
            400..=499 => (Kind::Permanent, format!("{host} rejects {what}")),
            _ => (Kind::Unavailable, format!("{host} answered with status {status}, which means nothing here")),
        };
        (kind, self.with_words(text))
    }

    fn busy(&self) -> (Kind, String) {
        let wait = self.header(RETRY_AFTER).and_then(|text| wait(text, self.now));
        let told = wait.map(|wait| format!(": retry after {} s", wait.as_secs())).unwrap_or_default();
        (Kind::Busy { wait }, self.with_words(format!("{} limits the rate of requests{told}", self.host)))
    }

    /// With the status and what the registry says itself.
    fn with_words(&self, text: String) -> String {
        let status = self.status.as_u16();
        // Before it is cut: half a token is one, too.
        let body = self.access.blank(String::from_utf8_lossy(self.body).into_owned());
        match words::said(body.as_bytes()) {
            Some(words) => format!("{text} ({status}: {words})"),
            None => format!("{text} ({status})"),
        }
    }

    fn hint(&self) -> String {
        self.access.hints.iter().map(|hint| format!("; {}", words::line(hint))).collect()
    }

    fn header(&self, name: reqwest::header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the registry wants this to log in.
    fn challenges(&self, scheme: &str) -> bool {
        let all = self.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|value| value.split([',', ' '])).any(|word| word.trim().eq_ignore_ascii_case(scheme))
    }

    fn wants_second_factor(&self) -> bool {
        const WORDS: [&str; 5] = ["one-time pass", "one time pass", "two-factor", "two factor", "second factor"];
        self.challenges("otp") || self.says(&WORDS)
    }

    fn says_exists(&self) -> bool {
        const WORDS: [&str; 7] = [
            "publish over",
            "previously published",
            "already been published",
            "already exist",
            "already present",
            "pre-existing version",
            "not allow updating",
        ];
        self.says(&WORDS)
    }

    fn says(&self, words: &[&str]) -> bool {
        let text = String::from_utf8_lossy(self.body).to_lowercase();
        words.iter().any(|word| text.contains(word))
    }
}

/// A place without what may be secret in it: user, password and query.
fn without_query(place: &str) -> String {
    let place = place.split(['?', '#']).next().unwrap_or_default();
    match place.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", host.rsplit('@').next().unwrap_or_default())
        }
        None => place.to_owned(),
    }
}

/// `Retry-After`: seconds, or when.
fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests;
