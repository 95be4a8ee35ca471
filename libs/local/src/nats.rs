//! A nats-server of one's own: its port, its folder, its life and death.

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::Instant,
};

use crate::{
    port::free_port,
    process::{Process, command},
};

/// How long JetStream may take to answer; it takes about 20 ms, with a million keys a second.
const READY: Duration = Duration::from_secs(60);
/// Between two looks at a server that does not listen yet.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long it may take to stop by itself.
const STOP: Duration = Duration::from_secs(20);
const TRIES: usize = 20;

/// How to start a nats-server.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// The program, see [`crate::tools::nats_server`].
    pub binary: PathBuf,
    /// Where it keeps what it stores, and its log; a temporary folder where there is none.
    pub dir: Option<PathBuf>,
    /// Whether each write is synced before it is acknowledged, so that no power cut loses it.
    pub sync_always: bool,
    /// The port; a free one where there is none.
    pub port: Option<u16>,
    /// Further lines of its configuration: `http`, `authorization`, …
    pub further: String,
}

impl NatsOptions {
    /// A durable server on a free port in a temporary folder.
    pub fn durable(binary: PathBuf) -> Self {
        Self { binary, dir: None, sync_always: true, port: None, further: String::new() }
    }
}

/// A nats-server with JetStream, on 127.0.0.1 only. Killed on drop; a temporary folder goes with it.
#[derive(Debug)]
pub struct NatsServer {
    binary: PathBuf,
    port: u16,
    process: Process,
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl NatsServer {
    /// Starts one, and returns when JetStream answers.
    ///
    /// # Errors
    /// When it does not start; with the last lines of its log.
    pub async fn start(options: NatsOptions) -> anyhow::Result<Self> {
        let temporary = match &options.dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("nats-").tempdir().context("failed to make a folder")?),
        };
        let dir = match (&options.dir, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => bail!("a nats-server needs a folder"),
        };
        fs::create_dir_all(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
        for _ in 0..TRIES {
            let port = options.port.map_or_else(free_port, Ok).context("failed to find a free port")?;
            configure(&dir, port, &options).context("failed to configure nats-server")?;
            let process = spawn(&options.binary, &dir)?;
            if ready(&process, port).await? {
                return Ok(Self { binary: options.binary, port, process, dir, _temporary: temporary });
            }
            if options.port.is_some() || !process.printed().contains("address already in use") {
                bail!("nats-server ended at once; it says:\n{}", process.last_lines(5));
            }
        }
        bail!("nats-server found its port taken {TRIES} times")
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// kill -9, and waits until it is gone.
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// Asks it to stop, and waits until it is gone.
    pub async fn stop(&self) {
        self.process.stop(STOP).await;
    }

    /// Adds lines to its configuration, in force from the next start on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, lines: &str) -> io::Result<()> {
        let file = self.dir.join("nats.conf");
        let config = fs::read_to_string(&file)?;
        fs::write(file, format!("{config}{lines}\n"))
    }

    /// Starts it again on the same port and folder, killing it first where it still runs; returns when
    /// JetStream answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill().await;
        self.process = spawn(&self.binary, &self.dir)?;
        if ready(&self.process, self.port).await? {
            Ok(())
        } else {
            bail!("nats-server did not start again; it says:\n{}", self.process.last_lines(5))
        }
    }

    /// Stops its clock: connections stay, nothing is answered.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.thaw();
    }
}

fn configure(dir: &Path, port: u16, options: &NatsOptions) -> io::Result<()> {
    let further = &options.further;
    let sync = if options.sync_always { "sync_interval: always" } else { "" };
    let store = serde_json::Value::from(dir.join("store").to_string_lossy());
    let config =
        format!("host: 127.0.0.1\nport: {port}\njetstream {{\n  store_dir: {store}\n  {sync}\n}}\n{further}\n");
    fs::write(dir.join("nats.conf"), config)
}

fn spawn(binary: &Path, dir: &Path) -> anyhow::Result<Process> {
    let mut server = command(binary);
    server.arg("--config").arg(dir.join("nats.conf"));
    Process::spawn("nats-server", server, &dir.join("nats.log")).context("failed to start nats-server")
}

/// Returns true when JetStream answers, false when the server ended before.
async fn ready(process: &Process, port: u16) -> anyhow::Result<bool> {
    let deadline = Instant::now() + READY;
    loop {
        let asked = tokio::select! {
            biased;
            _ = process.exited() => return Ok(false),
            asked = tokio::time::timeout_at(deadline, ask(port)) => asked,
        };
        match asked {
            Ok(Ok(())) => return Ok(process.is_running()),
            Ok(Err(_)) if Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
            _ => bail!("nats-server does not answer on port {port}; it says:\n{}", process.last_lines(5)),
        }
    }
}

/// Asks JetStream for its own state, in the few words of the protocol that this takes.
async fn ask(port: u16) -> io::Result<()> {
    const QUESTION: &[u8] =
        b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB ready 1\r\nPUB $JS.API.INFO ready 0\r\n\r\n";
    let mut server = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?);
    server.get_mut().write_all(QUESTION).await?;
    let mut line = String::new();
    loop {
        line.clear();
        if server.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(size) = line.strip_prefix("MSG ready 1 ") else { continue };
        let size: usize = size.trim().parse().map_err(io::Error::other)?;
        let mut answer = vec![0; size];
        server.read_exact(&mut answer).await?;
        let refused = answer.windows(8).any(|window| window == b"\"error\":");
        return if refused { Err(io::Error::other("JetStream is not ready")) } else { Ok(()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_starts_again_on_its_port_and_leaves_nothing_behind() {
        let binary = crate::tools::nats_server().await.unwrap();
        let mut server = NatsServer::start(NatsOptions::durable(binary)).await.unwrap();
        let (url, pid, dir) = (server.url(), server.pid(), server.dir.clone());
        assert!(fs::read_to_string(dir.join("nats.conf")).unwrap().contains("sync_interval: always"));
        server.kill().await;
        assert!(ask(server.port()).await.is_err());
        server.restart().await.unwrap();
        assert_eq!(server.url(), url);
        assert_ne!(server.pid(), pid);
        server.stop().await;
        server.restart().await.unwrap();
        drop(server);
        assert!(!dir.exists());
    }
}
