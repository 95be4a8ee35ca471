//! An npm registry of one's own: Verdaccio on a free port, in a folder of its own, with no way to the outside, or with a
//! second one before the registries that npm is set to.

mod configuration;
mod front;
mod held;
mod mend;
mod merge;
mod separate;
mod target;
mod verdaccio;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::task::JoinHandle;

pub use configuration::{Credentials, Told, Uplinks, Upstream};
pub use held::{HeldVersions, Source};

use crate::{port::free_port, process::Process, tools};
use configuration::Role;
use front::Front;
use verdaccio::{Verdaccio, get};

/// How to start a registry.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Where it keeps all it has.
    pub folder: PathBuf,
    /// Whether the folder outlives it; else it is wiped.
    pub keep: bool,
    /// Where it serves.
    pub address: Address,
    /// From where it takes what it does not have itself.
    pub beyond: Option<Beyond>,
    /// What its log has, and where that is.
    pub told: Told,
    /// The script of Verdaccio that node runs; the one of [`tools::verdaccio`] where none is named.
    pub script: Option<PathBuf>,
}

/// Where a registry serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// On a port of 127.0.0.1: this one, or any free one where there is none, or somebody has it.
    Local(Option<u16>),
    /// Here and nowhere else.
    At(SocketAddr),
}

/// Other registries, and what never comes from them.
#[derive(Clone, Debug)]
pub struct Beyond {
    /// Those registries.
    pub uplinks: Uplinks,
    /// The versions that never come from there; it may change at any time.
    pub held: HeldVersions,
}

/// The port of the last start where it is free.
fn if_free(port: Option<u16>) -> Option<u16> {
    port.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

/// A running registry; killed on drop, and wiped where it is not to be kept.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    folder: PathBuf,
    keep: bool,
    own: Verdaccio,
    mirror: Option<Mirror>,
    damaged: Vec<String>,
}

/// What stands between a registry and others.
#[derive(Debug)]
struct Mirror {
    verdaccio: Verdaccio,
    front: JoinHandle<()>,
}

/// What the registry knows of one package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// Its versions, each with the tarball's integrity.
    pub versions: BTreeMap<String, Version>,
    /// Its tags, `latest` among them.
    #[serde(default, rename = "dist-tags")]
    pub tags: BTreeMap<String, String>,
}

/// One published version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// Its tarball.
    pub dist: Tarball,
}

/// The tarball of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Tarball {
    /// Its hash, as npm writes it.
    pub integrity: String,
}

impl Registry {
    /// Starts a registry that keeps all it has in `folder`, which it wipes at its end.
    ///
    /// # Errors
    /// When Node or npm is missing ([`tools::Missing`]), or Verdaccio does not answer.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        Self::open(&RegistryOptions {
            folder: folder.to_owned(),
            keep: false,
            address: Address::Local(None),
            beyond: None,
            told: Told::All,
            script: None,
        })
        .await
    }

    /// Starts a registry over what it has kept, where it has, and mends what a killed one has left there.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn open(options: &RegistryOptions) -> anyhow::Result<Self> {
        // Verdaccio runs in it.
        let folder = &std::path::absolute(&options.folder).context("failed to find the folder of the registry")?;
        let script = match &options.script {
            Some(script) => script.clone(),
            None => tools::verdaccio().await?.script,
        };
        let storage = folder.join(configuration::STORAGE);
        let mut damaged = Vec::new();
        mend::mend(&storage, &mut damaged).context("failed to look through what the registry has kept")?;
        let own = |port| Verdaccio::start("registry", &script, folder, Role::Own, options.told, port);
        let Some(Beyond { uplinks, held }) = &options.beyond else {
            let Address::Local(port) = options.address else { bail!("a registry without others serves on 127.0.0.1") };
            fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
            let own = own(if_free(port)).await?;
            let (port, folder, keep) = (own.port(), folder.clone(), options.keep);
            return Ok(Self { port, folder, keep, own, mirror: None, damaged });
        };
        let copies = folder.join("mirror");
        fs::create_dir_all(&copies).with_context(|| format!("failed to make {}", copies.display()))?;
        let of_others = copies.join(configuration::STORAGE);
        separate::separate(&storage, &of_others).context("failed to set apart what came from other registries")?;
        mend::mend_copies(&of_others).context("failed to look through what came from other registries")?;
        let listener = listen(options.address).await?;
        let port = listener.local_addr().context("failed to find the port of the registry")?.port();
        let mirror = Verdaccio::start("mirror", &script, &copies, Role::Mirror(uplinks), options.told, None);
        let (own, verdaccio) = tokio::join!(own(None), mirror);
        let (own, verdaccio) = (own?, verdaccio?);
        let front = Front::new(own.port(), verdaccio.port(), storage, held.clone()).serve(listener);
        let (folder, keep, mirror) = (folder.clone(), options.keep, Some(Mirror { verdaccio, front }));
        Ok(Self { port, folder, keep, own, mirror, damaged })
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its processes.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let mirror = self.mirror.iter().map(|mirror| mirror.verdaccio.process());
        std::iter::once(self.own.process()).chain(mirror)
    }

    /// What of its packages it found damaged and left as it is, a line each.
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// Kills it and starts it again on the same port and folder.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if let Some(mirror) = &mut self.mirror {
            mirror.verdaccio.restart().await?;
        }
        self.own.restart().await
    }

    /// What it knows of a package; `None` when it was never published.
    ///
    /// # Errors
    /// When it does not answer as a registry does.
    pub async fn view(&self, package: &str) -> anyhow::Result<Option<Published>> {
        let (status, body) = get(self.port, &format!("/{}", package.replace('/', "%2f")))
            .await
            .with_context(|| format!("failed to ask the registry for {package}"))?;
        match status {
            200 => Ok(Some(serde_json::from_slice(&body).context("the registry's answer is not understood")?)),
            404 => Ok(None),
            other => bail!("the registry answers {other} for {package}"),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(mirror) = &mut self.mirror {
            mirror.front.abort();
            mirror.verdaccio.end();
        }
        self.own.end();
        if !self.keep {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

async fn listen(address: Address) -> anyhow::Result<tokio::net::TcpListener> {
    let address = match address {
        Address::At(address) => address,
        Address::Local(port) => {
            let port = if_free(port).map_or_else(free_port, Ok).context("failed to find a free port")?;
            (Ipv4Addr::LOCALHOST, port).into()
        }
    };
    tokio::net::TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command;

    /// Publishes a package of one file, as any client of npm would.
    fn publish(folder: &Path, name: &str, registry: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("package.json"), format!(r#"{{"name":"{name}","version":"1.0.0"}}"#)).unwrap();
        let host = registry.trim_start_matches("http:");
        fs::write(folder.join("npmrc"), format!("{host}/:_authToken=nobody\n")).unwrap();
        let mut npm = command("npm");
        npm.args(["publish", "--fetch-retries=0", "--registry", registry, "--userconfig"]);
        let ended = npm.arg(folder.join("npmrc")).current_dir(folder).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    #[tokio::test]
    async fn a_publish_that_was_killed_in_the_middle_can_be_done_again_and_what_is_kept_stays() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("registry");
        let options = RegistryOptions {
            folder: home.clone(),
            keep: true,
            address: Address::Local(None),
            beyond: None,
            told: Told::All,
            script: None,
        };
        let registry = Registry::open(&options).await.unwrap();
        publish(&folder.path().join("core"), "@acme/core", &registry.url());
        drop(registry);
        let left = home.join("storage/@acme/half");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("half-1.0.0.tgz"), "half").unwrap();
        fs::write(left.join("package.json"), r#"{"name":"@acme/half","versions":{},"dist-tags":{}}"#).unwrap();
        for left_behind in [left.join("package.json.lock"), home.join("storage/@acme/core/package.json.lock")] {
            fs::write(left_behind, "").unwrap();
        }
        let database = home.join("storage/.verdaccio-db.json");
        let text = fs::read_to_string(&database).unwrap();
        for cut in [0, text.len() / 2] {
            fs::write(&database, text.get(..cut).unwrap()).unwrap();
            let registry = Registry::open(&options).await.unwrap();
            let new = format!("new-{cut}");
            publish(&folder.path().join(&new), &new, &registry.url());
        }
        let registry = Registry::open(&options).await.unwrap();
        assert!(registry.view("@acme/core").await.unwrap().unwrap().versions.contains_key("1.0.0"));
        assert!(home.join("storage/@acme/core/core-1.0.0.tgz").is_file());
        publish(&folder.path().join("half"), "@acme/half", &registry.url());
        assert!(registry.view("@acme/half").await.unwrap().unwrap().versions.contains_key("1.0.0"));
    }

    #[tokio::test]
    async fn what_is_published_is_seen_after_a_restart_and_gone_on_drop() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("registry");
        let mut registry = Registry::start(&home).await.unwrap();
        assert_eq!(registry.view("@acme/core").await.unwrap(), None);
        publish(&folder.path().join("core"), "@acme/core", &registry.url());
        registry.restart().await.unwrap();
        let published = registry.view("@acme/core").await.unwrap().unwrap();
        assert_eq!(published.tags.get("latest").map(String::as_str), Some("1.0.0"));
        assert!(published.versions.get("1.0.0").unwrap().dist.integrity.starts_with("sha512-"));
        drop(registry);
        assert!(!home.exists());
    }
}
