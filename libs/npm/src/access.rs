//! What a request to one registry needs: its address, what opens it, and the way to it.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::proxies::Proxies;

/// Everything that one request to one registry needs, also in another process than the one that read the settings.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub(crate) registry: String,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) identity: Option<Identity>,
    /// These alone are trusted.
    pub(crate) roots: Option<Vec<String>>,
    /// These are trusted besides those of the machine.
    pub(crate) extra_roots: Option<String>,
    pub(crate) strict_ssl: bool,
    pub(crate) proxies: Proxies,
    /// What may be wrong with the settings, said where the registry refuses.
    pub(crate) hints: Vec<String>,
}

/// What opens a registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Authorization {
    /// A token.
    Bearer(String),
    /// User and password, in base64.
    Basic(String),
}

/// A client certificate with its key, both PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Access {
    /// Of a registry that needs nothing, reached without a proxy.
    pub fn open(registry: &str) -> Self {
        let mut access = Self {
            registry: registry.trim().trim_end_matches('/').to_owned(),
            authorization: None,
            identity: None,
            roots: None,
            extra_roots: None,
            strict_ssl: true,
            proxies: Proxies::default(),
            hints: Vec::new(),
        };
        access.take_login();
        access
    }

    /// User and password in the address are sent as if they were set, and shown nowhere.
    fn take_login(&mut self) {
        let Ok(mut url) = Url::parse(&self.registry) else { return };
        if url.username().is_empty() && url.password().is_none() {
            return;
        }
        self.authorization =
            Some(Authorization::of_login(&decoded(url.username()), &decoded(url.password().unwrap_or_default())));
        if url.set_username("").is_ok() && url.set_password(None).is_ok() {
            self.registry = url.as_str().trim_end_matches('/').to_owned();
        }
    }

    /// The address, without a slash at its end.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Opens the registry with this token instead of what was set. White space and characters that no token has are
    /// left out; an empty token changes nothing.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        let token: String = token.chars().filter(char::is_ascii_graphic).collect();
        if !token.is_empty() {
            self.authorization = Some(Authorization::Bearer(token));
            self.hints.retain(|hint| !hint.starts_with(UNSET));
        }
        self
    }

    /// The token, or the user and password, that open the registry.
    pub fn authorization(&self) -> Option<&Authorization> {
        self.authorization.as_ref()
    }

    /// Whether there is something that opens the registry.
    pub fn has_credentials(&self) -> bool {
        self.authorization.is_some() || self.identity.is_some()
    }

    /// What must not be seen in logs, in each form in which it may be printed.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = self.authorization.as_ref().map(Authorization::secrets).unwrap_or_default();
        secrets.extend(self.proxies.secrets());
        secrets.retain(|secret| !secret.is_empty());
        secrets
    }

    /// Without what must not be seen.
    pub(crate) fn blank(&self, mut text: String) -> String {
        for secret in self.secrets().iter().filter(|secret| secret.len() >= SECRET) {
            text = text.replace(secret.as_str(), "***");
        }
        text
    }
}

/// Bytes of the shortest text that is a secret: to blank a shorter one would only make lines unreadable.
const SECRET: usize = 4;

/// How a hint at a variable starts.
pub(crate) const UNSET: &str = "the variable";

impl Authorization {
    pub(crate) fn of_login(user: &str, password: &str) -> Self {
        Self::Basic(BASE64_STANDARD.encode(format!("{user}:{password}")))
    }

    /// In each form in which it may be printed.
    pub(crate) fn secrets(&self) -> Vec<String> {
        match self {
            Self::Bearer(token) => vec![token.clone()],
            Self::Basic(both) => {
                let login = BASE64_STANDARD.decode(both).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                let login = login.unwrap_or_default();
                let password = login.split_once(':').map(|(_, password)| password.to_owned()).unwrap_or_default();
                vec![both.clone(), BASE64_STANDARD.encode(&password), login, password]
            }
        }
    }

    pub(crate) fn header(&self) -> String {
        match self {
            Self::Bearer(token) => format!("Bearer {token}"),
            Self::Basic(both) => format!("Basic {both}"),
        }
    }
}

/// Percent-encoded as in a URL.
pub(crate) fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer ***",
            Self::Basic(_) => "Basic ***",
        })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("registry", &self.registry)
            .field("authorization", &self.authorization)
            .field("has_identity", &self.identity.is_some())
            .field("has_roots", &self.roots.is_some())
            .field("strict_ssl", &self.strict_ssl)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
