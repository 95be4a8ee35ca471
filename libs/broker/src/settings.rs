//! How to reach the broker; names as the `nats` tool has them.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

/// How to reach the broker, and how often it keeps what it stores.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// URL of the broker, or several with commas
    #[arg(long = "nats-url", env = "NATS_URL", default_value = "nats://127.0.0.1:4222", hide_env_values = true)]
    pub url: String,
    /// File with the user's credentials
    #[arg(long = "nats-creds", env = "NATS_CREDS")]
    pub creds: Option<PathBuf>,
    /// File with the user's nkey seed
    #[arg(long = "nats-nkey", env = "NATS_NKEY")]
    pub nkey: Option<PathBuf>,
    /// User name
    #[arg(long = "nats-user", env = "NATS_USER")]
    pub user: Option<String>,
    /// Password of that user
    #[arg(long = "nats-password", env = "NATS_PASSWORD", hide_env_values = true)]
    pub password: Option<SecretString>,
    /// File with the certificates of the authority that signed the broker's
    #[arg(long = "nats-ca", env = "NATS_CA")]
    pub ca: Option<PathBuf>,
    /// File with our own certificate
    #[arg(long = "nats-cert", env = "NATS_CERT", requires = "key")]
    pub cert: Option<PathBuf>,
    /// File with the key of our own certificate
    #[arg(long = "nats-key", env = "NATS_KEY", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Replicas of streams and buckets, on a cluster
    #[arg(long, env = "REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
    pub replicas: u16,
}

impl Settings {
    /// A broker at `url`, without credentials.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            creds: None,
            nkey: None,
            user: None,
            password: None,
            ca: None,
            cert: None,
            key: None,
            replicas: 1,
        }
    }

    /// The URL without what may be secret in it.
    pub(crate) fn shown_url(&self) -> String {
        let bare = |url: &str| match url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
            None => url.rsplit('@').next().unwrap_or(url).to_owned(),
        };
        self.url.split(',').map(|url| bare(url.trim())).collect::<Vec<_>>().join(",")
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
}
