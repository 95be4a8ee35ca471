//! How to reach the broker; names as the `nats` tool has them.

use std::path::PathBuf;

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{ConnectError, context};

/// Where the broker is when nobody says it.
const USUAL_URL: &str = "nats://127.0.0.1:4222";

/// How to reach the broker, and how often it keeps what it stores.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct Settings {
    /// URL of the broker, or several with commas [default: nats://127.0.0.1:4222]
    #[arg(
        help_heading = "Broker",
        long = "nats-url",
        visible_alias = "server",
        env = "NATS_URL",
        hide_env_values = true
    )]
    pub url: Option<String>,
    /// File with the user's credentials
    #[arg(help_heading = "Broker", long = "nats-creds", env = "NATS_CREDS", value_parser = file())]
    pub creds: Option<PathBuf>,
    /// File with the user's nkey seed
    #[arg(help_heading = "Broker", long = "nats-nkey", env = "NATS_NKEY", value_parser = file())]
    pub nkey: Option<PathBuf>,
    /// User name; without a password, a token
    #[arg(help_heading = "Broker", long = "nats-user", env = "NATS_USER")]
    pub user: Option<String>,
    /// Password of that user
    #[arg(help_heading = "Broker", long = "nats-password", env = "NATS_PASSWORD", hide_env_values = true)]
    pub password: Option<SecretString>,
    /// Token, where the broker wants one in place of a user
    #[arg(help_heading = "Broker", long = "nats-token", env = "NATS_TOKEN", hide_env_values = true)]
    pub token: Option<SecretString>,
    /// File with the certificates of the authority that signed the broker's
    #[arg(help_heading = "Broker", long = "nats-ca", env = "NATS_CA", value_parser = file())]
    pub ca: Option<PathBuf>,
    /// File with our own certificate
    #[arg(help_heading = "Broker", long = "nats-cert", env = "NATS_CERT", value_parser = file())]
    pub cert: Option<PathBuf>,
    /// File with the key of our own certificate
    #[arg(help_heading = "Broker", long = "nats-key", env = "NATS_KEY", value_parser = file())]
    pub key: Option<PathBuf>,
    /// Context of the `nats` tool: what is not said otherwise is read from there
    #[arg(help_heading = "Broker", long = "nats-context", visible_alias = "context", env = "NATS_CONTEXT")]
    pub context: Option<String>,
    /// Replicas of streams and buckets, on a cluster
    #[arg(help_heading = "Broker", long, env = "REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
    pub replicas: u16,
    /// Whether TLS comes before the broker's first word; a context says so.
    #[arg(skip)]
    pub(crate) tls_first: bool,
    /// What inboxes begin with; a context says so.
    #[arg(skip)]
    pub(crate) inbox_prefix: Option<String>,
}

/// A file, or nothing: clap itself refuses an empty path.
fn file() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

impl Settings {
    /// A broker at `url`, without credentials.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: Some(url.into()), replicas: 1, ..Self::default() }
    }

    /// For a person at a terminal: where neither a URL nor a context is named, the context that `nats context
    /// select` has chosen.
    ///
    /// # Errors
    /// When the choice cannot be read.
    pub fn or_selected_context(self) -> Result<Self, ConnectError> {
        let mut settings = self.without_empty();
        if settings.url.is_none() && settings.context.is_none() {
            settings.context = context::selected(&context::folder()).map_err(ConnectError::Settings)?;
        }
        Ok(settings)
    }

    /// The same with what its context says, where nothing else says it.
    pub(crate) fn resolved(&self) -> Result<Self, ConnectError> {
        let settings = self.clone().without_empty();
        match &settings.context {
            None => Ok(settings),
            Some(name) => context::read(&context::folder(), name)
                .and_then(|context| context.complete(settings.clone()))
                .map_err(ConnectError::Settings),
        }
    }

    /// What is set to nothing is not set, as in `NATS_URL=`.
    fn without_empty(self) -> Self {
        let text = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let path = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        let secret = |secret: Option<SecretString>| secret.filter(|secret| !secret.expose_secret().is_empty());
        Self {
            url: text(self.url),
            creds: path(self.creds),
            nkey: path(self.nkey),
            user: text(self.user),
            password: secret(self.password),
            token: secret(self.token),
            ca: path(self.ca),
            cert: path(self.cert),
            key: path(self.key),
            context: text(self.context),
            ..self
        }
    }

    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().filter(|url| !url.is_empty()).unwrap_or(USUAL_URL)
    }

    /// The URL without what may be secret in it.
    pub(crate) fn shown_url(&self) -> String {
        let bare = |url: &str| match url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
            None => url.rsplit('@').next().unwrap_or(url).to_owned(),
        };
        self.url().split(',').map(|url| bare(url.trim())).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_not_shown() {
        let settings = Settings::at("nats://me:secret@one:4222, nats://two:4222");
        assert_eq!(settings.shown_url(), "nats://one:4222,nats://two:4222");
    }

    #[test]
    fn without_a_word_it_is_this_machine() {
        assert_eq!(Settings::default().shown_url(), "nats://127.0.0.1:4222");
        let nothing = Settings { context: Some(String::new()), creds: Some(PathBuf::new()), ..Settings::at("") };
        let resolved = nothing.resolved().unwrap();
        assert!(resolved.url.is_none() && resolved.context.is_none() && resolved.creds.is_none());
    }
}
