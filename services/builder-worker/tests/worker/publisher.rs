use std::{fs, time::Duration};

use packline_domain::{BuildOrder, BuildResult};
use packline_testkit::{
    process::Process,
    stand_in::{Request, StandIn},
};
use serde_json::{Value, json};

use crate::foreman::Foreman;

/// `NPM_TOKEN` of the worker.
pub(crate) const TOKEN: &str = "s3cret-token-of-the-worker";

/// Phases that only publish; those of category `hasty` have little time.
pub(crate) const RECIPE: &str = "[[phase]]\nname = \"publish\"\nbuiltin = \"npm-publish\"\n\
    [[category.hasty.phase]]\nname = \"publish\"\nbuiltin = \"npm-publish\"\ntimeout = \"30s\"\n";

/// A worker that only publishes, and the registry that npm is set to for its user.
pub(crate) struct Publisher {
    pub(crate) foreman: Foreman,
    pub(crate) registry: StandIn,
    pub(crate) worker: Process,
}

impl Publisher {
    /// With more in npm's settings of its user, and more settings of its own.
    pub(crate) async fn start(npmrc: &str, settings: &[(&str, &str)]) -> Self {
        let (foreman, registry) = (Foreman::new(Duration::from_secs(60)).await, StandIn::start().await);
        let worker = worker(&foreman, "one", &registry, npmrc, settings);
        Self { foreman, registry, worker }
    }

    /// Writes a package of one file with this version, and what else stands in its `package.json`.
    pub(crate) fn package(&self, name: &str, version: &str, rest: Value, contents: &str) {
        let mut manifest = json!({"name": name, "version": version});
        manifest.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        self.foreman.package(name, manifest, &[("index.js", contents)]);
    }

    /// Builds a small package at the registry of the worker, or at the one that the order names.
    pub(crate) async fn publish(&mut self, name: &str, registry: Option<&str>) -> BuildResult {
        self.package(name, "1.0.0", json!({}), "1");
        self.build(name, |order| order.config.registry = registry.map(str::to_owned)).await
    }

    /// Builds what stands in the workspace.
    pub(crate) async fn build(&mut self, name: &str, change: impl FnOnce(&mut BuildOrder)) -> BuildResult {
        let mut order = self.foreman.grant(0, name).await;
        change(&mut order);
        self.foreman.send(&order).await;
        self.foreman.outcome(&order).await
    }

    /// Fails where one of these stands in the error, the log of the build, or that of the worker.
    pub(crate) async fn assert_secret(&self, result: &BuildResult, secrets: &[&str]) {
        let error = result.error.as_deref().unwrap_or_default();
        let log = self.foreman.log_until(&result.build_id, error.lines().next().unwrap_or_default()).await;
        let printed = self.worker.printed();
        for secret in secrets {
            assert!(!error.contains(secret), "{error}");
            assert!(!log.contains(secret), "{log}");
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}

/// Starts a worker that only publishes, where npm is set to `registry`.
pub(crate) fn worker(
    foreman: &Foreman,
    name: &str,
    registry: &StandIn,
    npmrc: &str,
    settings: &[(&str, &str)],
) -> Process {
    let userconfig = foreman.folder().join(format!("npmrc-of-{name}"));
    fs::write(&userconfig, npmrc).unwrap();
    let (recipe, userconfig, url) = (foreman.recipe(RECIPE), userconfig.display().to_string(), registry.url());
    let mut all = vec![("RECIPE", recipe.as_str()), ("NPM_TOKEN", TOKEN), ("SLOTS", "2")];
    all.extend([("npm_config_userconfig", userconfig.as_str()), ("npm_config_registry", url.as_str())]);
    all.extend(settings);
    foreman.worker(name, &all)
}

/// What was asked of a registry, in order.
pub(crate) fn asked(requests: &[Request]) -> Vec<(&str, &str)> {
    requests.iter().map(|request| (request.method.as_str(), request.path.as_str())).collect()
}
