//! The line in containers, as docker-compose.yml says it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use packline_testkit::{port::free_port, process::command, tools};
use serde_json::Value;
use tokio::process::Command;

/// How long an engine may take to build all images from nothing on two cores.
const BUILD: Duration = Duration::from_secs(2400);
/// How long it may take to pull one image.
const PULL: Duration = Duration::from_secs(300);
/// How long a whole project may take to come up or go down.
const UP: Duration = Duration::from_secs(400);
/// How long anything else may take that is asked of it.
const ASK: Duration = Duration::from_secs(180);
/// Dead ends of the classic builder are its cache; those of sources that have changed since are of no use.
const OLD: [&str; 6] = ["image", "prune", "--force", "--filter=label=packline.stage", "--filter", "until=24h"];

/// A Docker engine with compose.
#[derive(Clone, Debug)]
struct Engine {
    /// What compose is called by.
    compose: Vec<String>,
    /// What tells the clients to do without BuildKit, where they have none.
    builder: Option<(String, String)>,
}

impl Engine {
    /// The engine that this machine has running; else why there is none.
    ///
    /// # Errors
    /// In one line.
    async fn find() -> anyhow::Result<Self> {
        run(&["docker", "version"], &[], ASK).await.context("no Docker engine answers")?;
        let has_buildkit = run(&["docker", "buildx", "version"], &[], ASK).await.is_ok();
        let builder = (!has_buildkit).then(|| ("DOCKER_BUILDKIT".to_owned(), "0".to_owned()));
        let mut compose = vec!["docker".to_owned(), "compose".to_owned()];
        if run(&["docker", "compose", "version"], &[], ASK).await.is_err() {
            compose = vec![tools::compose().await.map_err(anyhow::Error::msg)?.display().to_string()];
        }
        Ok(Self { compose, builder })
    }

    /// Sees to it that the engine has the base images of the Dockerfile: by pulling them, else by stand-ins.
    /// Returns those that are stand-ins.
    ///
    /// # Errors
    /// When one can neither be pulled nor be made.
    async fn provide(&self) -> anyhow::Result<Vec<String>> {
        let text = fs::read_to_string(root().join("services/Dockerfile"))?;
        let bases = text.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('='));
        let mut missing = Vec::new();
        for (_, base) in bases.filter(|(_, value)| value.contains(':')) {
            let is_there = run(&["docker", "image", "inspect", base], &[], ASK).await.is_ok();
            if !is_there && run(&["docker", "pull", "--quiet", base], &[], PULL).await.is_err() {
                missing.push(base.to_owned());
            }
        }
        if !missing.is_empty() {
            let server = tools::nats_server().await.map_err(anyhow::Error::msg)?;
            let script = stand_ins();
            let line: Vec<&str> = [script.as_str()].into_iter().chain(missing.iter().map(String::as_str)).collect();
            run(&line, &[("NATS_SERVER".into(), server.display().to_string())], BUILD)
                .await
                .context("the base images can neither be pulled nor be made")?;
        }
        Ok(missing)
    }
}

/// What the engine says of a container, as `docker inspect` does.
#[derive(Clone, Debug)]
pub struct Container(Value);

impl Container {
    /// Its id.
    pub fn id(&self) -> &str {
        self.at("/Id").as_str().unwrap_or_default()
    }

    /// A value at a JSON pointer; null where there is none.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The service that it belongs to.
    pub fn service(&self) -> &str {
        self.at("/Config/Labels/com.docker.compose.service").as_str().unwrap_or_default()
    }

    /// Whether its health check passes.
    pub fn is_healthy(&self) -> bool {
        self.at("/State/Status") == "running" && self.at("/State/Health/Status") == "healthy"
    }

    /// Its exit status, once it has ended and for as long as it is not started again.
    pub fn ended(&self) -> Option<i64> {
        (self.at("/State/Status") == "exited").then(|| self.at("/State/ExitCode").as_i64()).flatten()
    }
}

/// One line of containers, with ports of its own. On drop all of it goes, and what its images were made of by
/// stand-ins.
#[derive(Debug)]
pub struct Project {
    engine: Engine,
    name: String,
    settings: Vec<(String, String)>,
    stand_ins: Vec<String>,
    /// Port of the broker on 127.0.0.1.
    pub nats: u16,
    /// Port of the npm registry on 127.0.0.1.
    pub registry: u16,
    /// Port of the catalogue on 127.0.0.1.
    pub catalogue: u16,
}

impl Project {
    /// A project under a new name, of which nothing is up yet; `settings` are those of docker-compose.yml.
    ///
    /// # Errors
    /// When this machine has no engine, or the engine no way to the base images; in one line.
    pub async fn new(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let engine = Engine::find().await?;
        let stand_ins = engine.provide().await?;
        let name = format!("packline-test-{:08x}", fastrand::u32(..));
        let (nats, registry, catalogue) = (free_port()?, free_port()?, free_port()?);
        let ports = [("NATS_PORT", nats), ("REGISTRY_PORT", registry), ("CATALOGUE_PORT", catalogue)];
        let own = ports.map(|(setting, port)| (setting.to_owned(), port.to_string()));
        let given = settings.iter().map(|(setting, value)| ((*setting).to_owned(), (*value).to_owned()));
        let image = ("PACKLINE_IMAGE".to_owned(), name.clone());
        let settings = own.into_iter().chain([image]).chain(engine.builder.clone()).chain(given).collect();
        Ok(Self { engine, name, settings, stand_ins, nats, registry, catalogue })
    }

    /// Runs `docker compose` with these arguments; what it printed.
    ///
    /// # Errors
    /// With what it complained.
    pub async fn compose(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let patience = if arguments.first() == Some(&"build") { BUILD } else { UP };
        run(&self.line(arguments), &self.settings, patience).await
    }

    fn line<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let compose = self.engine.compose.iter().map(String::as_str);
        compose.chain(["--project-name", &self.name]).chain(arguments.iter().copied()).collect()
    }

    /// All its containers, those that have ended too, or those of one service.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn containers(&self, service: Option<&str>) -> anyhow::Result<Vec<Container>> {
        let of_project = self.label();
        let of_service = service.map(|service| format!("--filter=label=com.docker.compose.service={service}"));
        let mut list = vec!["docker", "ps", "--all", "--quiet", "--no-trunc", &of_project];
        list.extend(of_service.as_deref());
        let ids = run(&list, &[], ASK).await?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let all: Vec<Value> = serde_json::from_str(&run(&[&["docker", "inspect"], &*ids].concat(), &[], ASK).await?)?;
        Ok(all.into_iter().map(Container).collect())
    }

    /// Waits until its containers, or those of one service, are as wanted; looks five times a second.
    ///
    /// # Errors
    /// When they are not within `patience`; with what they are.
    pub async fn until(
        &self,
        what: &str,
        service: Option<&str>,
        patience: Duration,
        wanted: impl Fn(&[Container]) -> bool,
    ) -> anyhow::Result<Vec<Container>> {
        let since = Instant::now();
        loop {
            let containers = self.containers(service).await?;
            if wanted(&containers) {
                return Ok(containers);
            }
            if since.elapsed() > patience {
                let states = containers.iter().map(|one| format!("{}: {}\n", one.service(), one.at("/State")));
                bail!("not within {patience:?}: {what}\n{}", states.collect::<String>());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Runs a program in a container; what it printed.
    ///
    /// # Errors
    /// With what it complained.
    pub async fn exec(&self, container: &Container, program: &[&str]) -> anyhow::Result<String> {
        run(&[&["docker", "exec", container.id()], program].concat(), &[], ASK).await
    }

    /// What of it the engine still has: containers, networks, volumes.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn remains(&self) -> anyhow::Result<String> {
        let label = self.label();
        let mut found = String::new();
        for list in [&["docker", "ps", "--all"][..], &["docker", "network", "ls"], &["docker", "volume", "ls"]] {
            found += &run(&[list, &["--quiet", &label]].concat(), &[], ASK).await?;
        }
        Ok(found)
    }

    fn label(&self) -> String {
        format!("--filter=label=com.docker.compose.project={}", self.name)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let blocking = |line: &[&str], shown: bool| {
            let Some((program, arguments)) = line.split_first() else { return };
            let mut ended = command(program);
            ended.args(arguments).current_dir(root()).envs(self.settings.iter().map(|(name, value)| (name, value)));
            let to = || if shown { Stdio::inherit() } else { Stdio::null() };
            let _ = ended.stdin(Stdio::null()).stdout(to()).stderr(to()).status();
        };
        if std::thread::panicking() {
            blocking(&self.line(&["ps", "-a"]), true);
            blocking(&self.line(&["logs", "--tail=40"]), true);
        }
        blocking(&self.line(&["down", "--volumes", "--timeout=1"]), false);
        blocking(&["docker", "rmi", &self.name, &format!("{}-nats", self.name)], false);
        blocking(&[&["docker"][..], &OLD].concat(), false);
        let bases = self.stand_ins.iter().map(String::as_str);
        let script = stand_ins();
        blocking(&[script.as_str(), "--remove"].into_iter().chain(bases).collect::<Vec<_>>(), false);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn stand_ins() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stand-ins.sh").display().to_string()
}

/// Runs a program at the root of the repository; what it printed.
async fn run(line: &[&str], settings: &[(String, String)], patience: Duration) -> anyhow::Result<String> {
    let said = || line.join(" ");
    let (program, arguments) = line.split_first().context("no program")?;
    let mut program = Command::from(command(program));
    program.args(arguments).current_dir(root()).envs(settings.iter().map(|(name, value)| (name, value)));
    program.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(patience, program.output()).await;
    let ended = ended.with_context(|| format!("{} takes too long", said()))?;
    let ended = ended.with_context(|| format!("{} does not run", said()))?;
    let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
    if ended.status.success() {
        return Ok(printed);
    }
    let complaint = String::from_utf8_lossy(&ended.stderr);
    let last: Vec<&str> = complaint.lines().rev().filter(|line| !line.trim().is_empty()).take(10).collect();
    bail!("{} says {}", said(), last.into_iter().rev().collect::<Vec<_>>().join("\n"))
}
