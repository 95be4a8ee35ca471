//! A registry of a workspace, and another one behind it.

use std::{fs, path::PathBuf};

use packline_local::{
    process::command,
    registry::{Address, Beyond, HeldVersions, Registry, RegistryOptions, Told, Uplinks, Upstream},
};
use packline_testkit::{http::stranger, stand_in::StandIn};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What npm accepts where it wants no more than an install needs.
const ABBREVIATED: &str = "application/vnd.npm.install-v1+json";

/// Both, and a folder.
pub(crate) struct Stand {
    pub(crate) upstream: StandIn,
    pub(crate) registry: Registry,
    pub(crate) held: HeldVersions,
    folder: TempDir,
}

impl Stand {
    /// An upstream with these packages, each with its versions, and a registry that holds nothing yet.
    pub(crate) async fn new(packages: &[(&str, &[&str])]) -> Self {
        let (upstream, folder) = (StandIn::start().await, tempfile::tempdir().unwrap());
        for (name, versions) in packages {
            for version in *versions {
                publish(&folder, &upstream.url(), name, version, "theirs");
            }
        }
        Self::over(folder, upstream).await
    }

    /// The registry ends and starts again over what it has kept.
    pub(crate) async fn reopen(self) -> Self {
        let Self { upstream, registry, folder, .. } = self;
        drop(registry);
        Self::over(folder, upstream).await
    }

    /// Over what is in the folder.
    pub(crate) async fn over(folder: TempDir, upstream: StandIn) -> Self {
        let held = HeldVersions::default();
        let options = RegistryOptions {
            folder: home(&folder),
            keep: true,
            address: Address::Local(None),
            beyond: Some(Beyond { uplinks: uplinks(&upstream), held: held.clone() }),
            told: Told::All,
            script: None,
        };
        let registry = Registry::open(&options).await.unwrap();
        Self { upstream, registry, held, folder }
    }

    /// The folder of the registry.
    pub(crate) fn home(&self) -> PathBuf {
        home(&self.folder)
    }

    /// Publishes a version of ours as npm does.
    pub(crate) fn publish(&self, name: &str, version: &str) {
        self.publish_with(name, version, &[]);
    }

    pub(crate) fn publish_with(&self, name: &str, version: &str, arguments: &[&str]) {
        publish_with(&self.folder, &self.registry.url(), name, version, "ours", arguments);
    }

    /// What a GET is answered; no body where that is no JSON.
    pub(crate) async fn get(&self, path: &str, accept: &str) -> (u16, Value) {
        let url = format!("{}/{path}", self.registry.url());
        let answer = stranger().get(url).header("accept", accept).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// The versions that are shown, and the one that is `latest`; both kinds of document say the same.
    pub(crate) async fn versions(&self, name: &str) -> (Vec<String>, Option<String>) {
        let mut shown = Vec::new();
        for accept in ["application/json", ABBREVIATED] {
            let (status, document) = self.get(name, accept).await;
            let versions = document["versions"].as_object().map(|versions| versions.keys().cloned().collect());
            let latest = document["dist-tags"]["latest"].as_str().map(str::to_owned);
            assert!(status == if versions.is_some() { 200 } else { 404 }, "{status}: {document}");
            shown.push((versions.unwrap_or_default(), latest));
        }
        assert_eq!(shown[0], shown[1]);
        shown.remove(0)
    }

    /// Whose code npm installs, with its version; `None` where it finds none. npm checks the integrity.
    pub(crate) fn install(&self, wanted: &str) -> Option<(String, String)> {
        install(&self.folder, &self.registry.url(), wanted)
    }

    /// The paths that the upstream was asked for, and how.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.upstream.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

pub(crate) fn install(folder: &TempDir, registry: &str, wanted: &str) -> Option<(String, String)> {
    let place = tempfile::tempdir_in(folder).unwrap();
    fs::write(place.path().join("package.json"), "{}").unwrap();
    let mut npm = command("npm");
    npm.args(["install", wanted, "--fetch-retries=0", "--no-audit", "--no-fund", "--registry"]);
    npm.arg(registry).arg("--cache").arg(place.path().join("cache")).current_dir(place.path());
    let ended = npm.output().unwrap();
    if !ended.status.success() {
        return None;
    }
    let name = wanted.rsplit_once('@').map(|(name, _)| name).filter(|name| !name.is_empty()).unwrap_or(wanted);
    let installed = place.path().join("node_modules").join(name);
    let read = |file: &str| fs::read_to_string(installed.join(file)).unwrap();
    let manifest: Value = serde_json::from_str(&read("package.json")).unwrap();
    Some((read("whose"), manifest["version"].as_str().unwrap().to_owned()))
}

pub(crate) fn home(folder: &TempDir) -> PathBuf {
    folder.path().join("registry")
}

fn uplinks(upstream: &StandIn) -> Uplinks {
    Uplinks { scopes: [].into(), others: Upstream { url: upstream.url(), credentials: None } }
}

pub(crate) fn publish(folder: &TempDir, registry: &str, name: &str, version: &str, whose: &str) {
    publish_with(folder, registry, name, version, whose, &[]);
}

fn publish_with(folder: &TempDir, registry: &str, name: &str, version: &str, whose: &str, arguments: &[&str]) {
    let package = tempfile::tempdir_in(folder).unwrap();
    let manifest = json!({"name": name, "version": version, "description": whose});
    fs::write(package.path().join("package.json"), manifest.to_string()).unwrap();
    fs::write(package.path().join("whose"), whose).unwrap();
    let host = registry.trim_start_matches("http:");
    let npmrc = package.path().join("npmrc");
    fs::write(&npmrc, format!("{host}/:_authToken=nobody\n")).unwrap();
    let mut npm = command("npm");
    npm.args(["publish", "--fetch-retries=0", "--registry", registry, "--userconfig"]).arg(npmrc).args(arguments);
    let ended = npm.current_dir(package.path()).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
