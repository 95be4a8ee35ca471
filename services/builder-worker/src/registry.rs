//! Which registry a build installs from and publishes to, and what a request to one needs.

use std::path::PathBuf;

use packline_domain::BuildOrder;
use packline_npm::{Access, Environment, Settings};
use semver::Version;

use crate::{Config, config, installed, phase::Failure, worker};

/// npm's settings for the user that runs this worker, as they are now. Blocks.
///
/// # Errors
/// When a file of theirs cannot be read.
pub(crate) fn settings() -> Result<Settings, Failure> {
    Settings::read(Environment::of_this_process()).map_err(|error| Failure::infrastructure(error.to_string()))
}

/// The worker's own, else the order's, else what npm is set to; `None` where there is no npm either.
///
/// # Errors
/// When the one that was named cannot be used.
pub(crate) fn of_order(config: &Config, order: &BuildOrder, settings: &Settings) -> Result<Option<String>, Failure> {
    if let Some(registry) = &config.npm_registry {
        return Ok(Some(registry.clone()));
    }
    let (whose, registry) = match &order.config.registry {
        Some(registry) => ("the order's registry", registry.clone()),
        None if !npm_is_there() => return Ok(None),
        None => ("the registry that npm is set to", settings.registry(order.package_name.scope())),
    };
    config::registry(&registry)
        .map(Some)
        .map_err(|error| Failure::infrastructure(format!("{whose} cannot be used: {error}")))
}

/// Whether npm is on PATH.
pub(crate) fn npm_is_there() -> bool {
    npm().is_some()
}

fn npm() -> Option<PathBuf> {
    installed::on_path("npm", &std::env::var_os("PATH")?)
}

/// The version of the npm on PATH, where that is older than what a publish needs: one in which a flag goes before
/// `publishConfig`. `None` where it is not known, as behind a shim.
pub(crate) fn outdated_npm() -> Option<String> {
    let version = installed::version_of(&npm()?, "npm")?.version;
    (version < OLDEST_NPM).then(|| version.to_string())
}

/// The oldest npm that publishes as a worker needs it.
pub(crate) const OLDEST_NPM: Version = Version::new(10, 5, 2);

/// What a request to `registry` needs. `NPM_TOKEN` goes to the registry that it belongs to, and to no other. Blocks.
///
/// # Errors
/// When a certificate of its cannot be read.
pub(crate) fn access(config: &Config, settings: &Settings, registry: &str) -> Result<Access, Failure> {
    let access = settings.access(registry).map_err(|error| Failure::infrastructure(error.to_string()))?;
    Ok(match token(config, settings, registry) {
        Some(token) => access.with_token(token),
        None => access,
    })
}

/// `NPM_TOKEN`, where `registry` is the one that it belongs to: `NPM_REGISTRY`, else what npm is set to.
pub(crate) fn token<'a>(config: &'a Config, settings: &Settings, registry: &str) -> Option<&'a str> {
    let of_npm = || settings.registry(None);
    let own = config.npm_registry.clone().unwrap_or_else(of_npm);
    worker::token(config).filter(|_| is_same(&own, registry))
}

/// Whether two addresses are those of one registry: only scheme and host are the same in capitals.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let parts = |url: &str| {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        (scheme.to_ascii_lowercase(), host.to_ascii_lowercase(), path.trim_end_matches('/').to_owned())
    };
    parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_registry_has_one_path() {
        assert!(is_same("https://Npm.Example.com/a/", "HTTPS://npm.example.com/a"));
        assert!(is_same("http://127.0.0.1:1", "http://127.0.0.1:1/"));
        for other in ["https://npm.example.com/A", "https://npm.example.com", "http://npm.example.com/a", "https://x/a"]
        {
            assert!(!is_same("https://npm.example.com/a", other), "{other}");
        }
    }
}
