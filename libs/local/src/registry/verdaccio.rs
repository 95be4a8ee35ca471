//! One Verdaccio in a folder of its own, on a port of 127.0.0.1.

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::configuration::{self, Role, Told};
use crate::{
    port::free_port,
    process::{Process, command},
};

/// How long Verdaccio may take to answer; it takes a second.
const READY: Duration = Duration::from_secs(60);

/// A running Verdaccio; killed on drop.
#[derive(Debug)]
pub(super) struct Verdaccio {
    name: &'static str,
    script: PathBuf,
    folder: PathBuf,
    told: Told,
    port: u16,
    process: Process,
}

impl Verdaccio {
    /// Starts it over what it has kept in `folder`, on the port that is wanted where that is free.
    pub(super) async fn start(
        name: &'static str,
        script: &Path,
        folder: &Path,
        role: Role<'_>,
        told: Told,
        mut wanted: Option<u16>,
    ) -> anyhow::Result<Self> {
        const TRIES: usize = 5;
        configuration::write(&configuration_of(folder), role, told).context("failed to configure the registry")?;
        for _ in 0..TRIES {
            let port = wanted.take().map_or_else(free_port, Ok).context("failed to find a free port")?;
            let process = spawn(name, script, folder, told, port)?;
            let (script, folder) = (script.to_owned(), folder.to_owned());
            let verdaccio = Self { name, script, folder, told, port, process };
            if verdaccio.ready().await? {
                return Ok(verdaccio);
            }
        }
        bail!("the {name} found its port taken {TRIES} times")
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it and waits until it is gone, without a runtime.
    pub(super) fn end(&mut self) {
        self.process.end();
    }

    /// Kills it and starts it again on the same port and folder.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill().await;
        self.process = spawn(self.name, &self.script, &self.folder, self.told, self.port)?;
        if self.ready().await? { Ok(()) } else { bail!("the port {} was taken meanwhile", self.port) }
    }

    /// True when it answers, false when another program has its port.
    async fn ready(&self) -> anyhow::Result<bool> {
        let name = self.name;
        let give_up = Instant::now() + READY;
        while Instant::now() < give_up {
            if !self.process.is_running() {
                if self.process.printed().contains("EADDRINUSE") {
                    return Ok(false);
                }
                bail!("the {name} ended at once: {}", self.process.last_lines(3));
            }
            match get(self.port, "/-/ping").await {
                Ok((200, _)) => return Ok(true),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        bail!("the {name} does not answer within {} s: {}", READY.as_secs(), self.process.last_lines(3))
    }
}

/// The configuration, for Verdaccio's `--config`.
fn configuration_of(folder: &Path) -> PathBuf {
    folder.join("config.yaml")
}

fn spawn(name: &str, script: &Path, folder: &Path, told: Told, port: u16) -> anyhow::Result<Process> {
    let mut program = command("node");
    program.arg(script).arg("--config").arg(configuration_of(folder));
    program.arg("--listen").arg(format!("http://127.0.0.1:{port}")).current_dir(folder).env("NODE_ENV", "production");
    let started = match told {
        Told::All => Process::spawn(name, program, &folder.join("registry.log")),
        Told::Failures => Process::spawn_aloud(name, program),
    };
    started.with_context(|| format!("failed to start the {name}"))
}

/// One GET by HTTP/1.0, so that the answer ends with the connection.
pub(super) async fn get(port: u16, path: &str) -> io::Result<(u16, Vec<u8>)> {
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
