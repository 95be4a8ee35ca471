//! An npm registry of one's own: Verdaccio on a free port, in a folder of its own, with no way to the outside.

mod configuration;
mod mend;

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

pub use configuration::{Credentials, Told, Uplinks, Upstream};

use crate::{
    port::free_port,
    process::{Process, command},
    tools,
};

/// How to start a registry.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Where it keeps all it has.
    pub folder: PathBuf,
    /// Whether the folder outlives it; else it is wiped.
    pub keep: bool,
    /// The port it would like; any free one where there is none, or somebody has it.
    pub port: Option<u16>,
    /// From where it takes what it does not have itself.
    pub uplinks: Option<Uplinks>,
}

/// Writes the configuration for a registry that keeps all it has in `folder`, mends what a killed one has left
/// there, and says what it found damaged and left as it is, a line each.
///
/// # Errors
/// When the folder cannot be written or read.
pub fn prepare(folder: &Path, uplinks: Option<&Uplinks>, told: Told) -> anyhow::Result<Vec<String>> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    configuration::write(&configuration_of(folder), uplinks, told).context("failed to configure the registry")?;
    let mut damaged = Vec::new();
    mend::mend(&folder.join("storage"), &mut damaged).context("failed to look through what the registry has kept")?;
    Ok(damaged)
}

/// The configuration that [`prepare`] writes, for Verdaccio's `--config`.
pub fn configuration_of(folder: &Path) -> PathBuf {
    folder.join("config.yaml")
}

/// How long Verdaccio may take to answer; it takes a second.
const READY: Duration = Duration::from_secs(60);

/// A running registry; killed on drop, and wiped where it is not to be kept.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    folder: PathBuf,
    keep: bool,
    process: Process,
    damaged: Vec<String>,
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
    /// Starts a registry that keeps all it has in `folder`, which it makes anew.
    ///
    /// # Errors
    /// When Node or npm is missing ([`tools::Missing`]), or Verdaccio does not answer.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        Self::open(&RegistryOptions { folder: folder.to_owned(), keep: false, port: None, uplinks: None }).await
    }

    /// Starts a registry over what it has kept, where it has.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn open(options: &RegistryOptions) -> anyhow::Result<Self> {
        const TRIES: usize = 5;
        let folder = &options.folder;
        let damaged = prepare(folder, options.uplinks.as_ref(), Told::All)?;
        let mut wanted = options.port.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        for _ in 0..TRIES {
            let port = wanted.take().map_or_else(free_port, Ok).context("failed to find a free port")?;
            let process = start(folder, port).await?;
            let registry = Self { port, folder: folder.clone(), keep: options.keep, process, damaged: damaged.clone() };
            if registry.ready().await? {
                return Ok(registry);
            }
        }
        bail!("the registry found its port taken {TRIES} times")
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
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
        self.process.kill().await;
        self.process = start(&self.folder, self.port).await?;
        if self.ready().await? { Ok(()) } else { bail!("the port {} was taken meanwhile", self.port) }
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

    /// True when it answers, false when another program has its port.
    async fn ready(&self) -> anyhow::Result<bool> {
        let give_up = Instant::now() + READY;
        while Instant::now() < give_up {
            if !self.process.is_running() {
                if self.process.printed().contains("EADDRINUSE") {
                    return Ok(false);
                }
                bail!("the registry ended at once: {}", self.process.last_lines(3));
            }
            match get(self.port, "/-/ping").await {
                Ok((200, _)) => return Ok(true),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        bail!("the registry does not answer within {} s: {}", READY.as_secs(), self.process.last_lines(3))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.end();
        if !self.keep {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

async fn start(folder: &Path, port: u16) -> anyhow::Result<Process> {
    let verdaccio = tools::verdaccio().await?;
    let mut program = command("node");
    program.arg(verdaccio.script).arg("--config").arg(configuration_of(folder));
    program.arg("--listen").arg(format!("http://127.0.0.1:{port}")).current_dir(folder).env("NODE_ENV", "production");
    Process::spawn("registry", program, &folder.join("registry.log")).context("failed to start the registry")
}

/// One GET by HTTP/1.0, so that the answer ends with the connection.
async fn get(port: u16, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let ask = async {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let mut answer = tokio::time::timeout(Duration::from_secs(10), ask).await??;
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let head = head.ok_or_else(|| io::Error::other("no HTTP answer"))?;
    let body = answer.split_off(head + 4);
    let status = std::str::from_utf8(&answer).ok().and_then(|head| head.split(' ').nth(1)?.parse().ok());
    Ok((status.ok_or_else(|| io::Error::other("no HTTP status"))?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let options = RegistryOptions { folder: home.clone(), keep: true, port: None, uplinks: None };
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
