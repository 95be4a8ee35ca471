//! Settings of the worker: flags and environment variables.

use std::{convert::Infallible, path::PathBuf, str::FromStr, time::Duration};

use bytesize::ByteSize;
use clap::Parser;
use packline_service::{HealthSettings, LogSettings, duration};
use secrecy::SecretString;

use crate::publish_config::PublishConfig;

/// Takes build orders from NATS and runs their phases, each build below a guard of its own.
#[derive(Parser, Clone, Debug)]
#[command(name = "builder-worker", version)]
pub struct Config {
    /// How long running builds may go on after SIGTERM before they are handed back
    #[arg(long, env = "GRACE", default_value = "30s", value_parser = duration)]
    pub grace: Duration,
    /// Folder of the workspace: packages are in the folders below it that orders name, and are only read
    #[arg(long, env = "WORKSPACE_ROOT", default_value = "/workspace")]
    pub workspace_root: PathBuf,
    /// Registry to install from and publish to [default: the order's, else what npm itself is set to]
    #[arg(long, env = "NPM_REGISTRY", value_parser = registry)]
    pub npm_registry: Option<String>,
    /// Token for that registry, or for the one that npm itself is set to; it is sent nowhere else
    #[arg(long, env = "NPM_TOKEN", hide_env_values = true)]
    pub npm_token: Option<SecretString>,
    /// What is done where a package's `publishConfig` names another registry, or asks for provenance
    #[arg(long, env = "PUBLISH_CONFIG", value_enum, default_value_t)]
    pub publish_config: PublishConfig,
    /// Builds at a time
    #[arg(long, env = "SLOTS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots: u32,
    /// Phases of a build: those for `npm`, those of a TOML file (`packline recipe check FILE` reads it), or
    /// `none`: every build succeeds at once (for measuring)
    #[arg(long, env = "RECIPE", default_value = "npm")]
    pub recipe: RecipeSetting,
    /// Folder for what builds write and for their private copies [default: a temporary folder]
    #[arg(long, env = "SCRATCH")]
    pub scratch: Option<PathBuf>,
    /// Folder for what the builds of this machine share: sources, installed packages, outputs [default: packline/layers
    /// in the user's cache folder]
    #[arg(long, env = "CACHE")]
    pub cache: Option<PathBuf>,
    /// The most that this folder holds; what was not used for the longest time goes first
    #[arg(long, env = "CACHE_SIZE", default_value = "20GiB", value_parser = size)]
    pub cache_size: u64,
    /// What was not used for so long goes
    #[arg(long, env = "CACHE_AGE", default_value = "7d", value_parser = duration)]
    pub cache_age: Duration,
    /// Where it says how it is.
    #[command(flatten)]
    pub health: HealthSettings,
    /// How to reach the broker.
    #[command(flatten)]
    pub nats: packline_broker::Settings,
    /// How to log.
    #[command(flatten)]
    pub log: LogSettings,
}

impl packline_service::Settings for Config {
    fn log(&self) -> &LogSettings {
        &self.log
    }
}

/// Which recipe builds follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipeSetting {
    /// The built-in phases for npm packages.
    Npm,
    /// No phases.
    None,
    /// A TOML file.
    File(PathBuf),
}

impl FromStr for RecipeSetting {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "npm" | "" => Self::Npm,
            "none" => Self::None,
            file => Self::File(file.into()),
        })
    }
}

/// A size as people type it.
fn size(text: &str) -> Result<u64, String> {
    let bytes = text.parse::<ByteSize>().map_err(|_| "a size is a number with a unit, like 20GiB".to_owned())?;
    Ok(bytes.as_u64())
}

/// An address that is handed to npm as part of an argument and of a key in its configuration.
///
/// # Errors
/// One line that says what would be right.
pub(crate) fn registry(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let plain = |rest: &str| {
        !rest.is_empty()
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/@%+[]".contains(&b))
            && !rest.starts_with('/')
    };
    match rest {
        Some(rest) if rest.contains('@') => Err("a registry's address has no user in it; use NPM_TOKEN".into()),
        Some(rest) if plain(rest) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("a registry is an address like https://registry.example.com/npm".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_registries() {
        assert_eq!(registry("http://127.0.0.1:4873/"), Ok("http://127.0.0.1:4873".into()));
        assert_eq!(registry("https://npm.example.com/a/b"), Ok("https://npm.example.com/a/b".into()));
        for wrong in
            ["", "npm.example.com", "ftp://x", "http://", "http:///x", "http://a b", "http://a\nb", "http://${X}"]
        {
            assert!(registry(wrong).is_err(), "{wrong}");
        }
        assert!(registry("http://user:secret@x").unwrap_err().contains("NPM_TOKEN"));
    }

    #[test]
    fn every_setting_has_its_default() {
        let config = Config::try_parse_from(["builder-worker"]).unwrap();
        assert_eq!((config.slots, config.grace, config.recipe), (1, Duration::from_secs(30), RecipeSetting::Npm));
    }
}
