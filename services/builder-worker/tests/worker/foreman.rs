//! Plays the leader for a worker under test: grants permits, sends orders, reads results.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use packline_broker::{Broker, Bucket, BucketName, InOrder, Message, Settings, StreamName, topology};
use packline_domain::{
    BuildId, BuildOrder, BuildResult, PackageName, PackagePath, SCHEMA, Timestamp,
    message::OrderConfig,
    record::{Ending, Key, LEADER, Leader, Permit, Worker},
};
use packline_testkit::{
    nats::{NatsOptions, NatsServer},
    process::{Process, command},
    tools,
    witness::processes_of,
};
use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;

const GENEROUS: Duration = Duration::from_secs(180);

/// A broker of its own, and the part of the leader.
pub(crate) struct Foreman {
    pub(crate) server: NatsServer,
    pub(crate) broker: Broker,
    pub(crate) orchestrator: Bucket,
    pub(crate) workers: Bucket,
    results: InOrder,
    applied: u64,
    folder: TempDir,
    serial: u64,
}

impl Foreman {
    /// A broker on which this CLAIM is in force.
    pub(crate) async fn new(claim: Duration) -> Self {
        let server = NatsServer::start(NatsOptions::durable(tools::nats_server().await.unwrap())).await.unwrap();
        let broker = Broker::connect(&Settings::at(server.url()), "foreman").await.unwrap();
        broker.ensure_topology().await.unwrap();
        let orchestrator = broker.bucket(BucketName::Orchestrator);
        let leader = Leader { claim_millis: claim.as_millis().try_into().unwrap(), ..Leader::default() };
        orchestrator.put(LEADER, json(&leader)).await.unwrap();
        Self {
            results: broker.consume_in_order(StreamName::Results, 0).await.unwrap(),
            workers: broker.bucket(BucketName::Workers),
            folder: tempfile::tempdir().unwrap(),
            // Tests run beside one another, and look for processes by their build.
            serial: u64::from(server.port()) * 1000,
            applied: 0,
            orchestrator,
            broker,
            server,
        }
    }

    /// A folder that goes with the foreman.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The root of the workspace.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder().join("workspace")
    }

    /// Where workers have their copies.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder().join("scratch")
    }

    /// Writes a package to the workspace.
    pub(crate) fn package(&self, name: &str, manifest: serde_json::Value, files: &[(&str, &str)]) {
        let name: PackageName = name.parse().unwrap();
        let folder = self.workspace().join("packages").join(name.unscoped());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
    }

    /// Writes a recipe, and answers where it is.
    pub(crate) fn recipe(&self, text: &str) -> String {
        let file = self.folder().join("recipe.toml");
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// Writes a package that is none of npm's.
    pub(crate) fn crate_of(&self, name: &str, files: &[(&str, &str)]) {
        let folder = self.workspace().join("packages").join(name);
        for (file, text) in files {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
    }

    /// The log of a build until this stands in it, each line behind its phase.
    pub(crate) async fn log_until(&self, build: &BuildId, text: &str) -> String {
        let subject = format!("builds.log.{build}");
        let mut lines = String::new();
        let mut log = self.broker.consume_in_order(StreamName::Logs, 0).await.unwrap();
        while !lines.contains(text) {
            let line = tokio::time::timeout(GENEROUS, log.next()).await.expect(&lines).unwrap();
            line.ack().await;
            if line.subject == subject {
                let phase = line.header("Phase").unwrap_or_default();
                for text in String::from_utf8_lossy(&line.payload).lines() {
                    lines.push_str(&format!("{phase}| {text}\n"));
                }
            }
        }
        lines
    }

    /// A PATH on which this shell script is npm.
    pub(crate) fn path_with_npm(&self, script: &str) -> String {
        let programs = self.folder().join("programs");
        fs::create_dir(&programs).unwrap();
        fs::write(programs.join("npm"), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(programs.join("npm"), fs::Permissions::from_mode(0o755)).unwrap();
        format!("{}:{}", programs.display(), std::env::var("PATH").unwrap())
    }

    /// Starts a worker.
    pub(crate) fn worker(&self, name: &str, settings: &[(&str, &str)]) -> Process {
        self.worker_by(command(env!("CARGO_BIN_EXE_builder-worker")), name, settings)
    }

    /// Starts a worker by this command.
    pub(crate) fn worker_by(&self, mut worker: Command, name: &str, settings: &[(&str, &str)]) -> Process {
        fs::create_dir_all(self.workspace()).unwrap();
        worker.env("NATS_URL", self.server.url()).env("WORKSPACE_ROOT", self.workspace());
        worker.env("SCRATCH", self.scratch()).env("CACHE", self.folder().join("cache")).env("GRACE", "1s");
        worker.envs(settings.iter().copied());
        Process::spawn(name, worker, &self.folder().join(format!("{name}.log"))).unwrap()
    }

    /// Grants permit `n` for the next build of a package, and answers the order, not sent yet.
    pub(crate) async fn grant(&mut self, n: u32, name: &str) -> BuildOrder {
        self.serial += 1;
        let package_name: PackageName = name.parse().unwrap();
        let build_id = format!("{}.{}", package_name.key(), self.serial).parse().unwrap();
        let permit = Permit {
            schema: SCHEMA,
            package_name: package_name.clone(),
            build_id,
            attempt: 1,
            granted_at: Timestamp::from_millis(1_700_000_000_000),
            worker: None,
            integrity: None,
            ending: None,
        };
        let key = Key::Permit(n).to_string();
        let before = self.orchestrator.get(&key).await.unwrap().map_or(0, |entry| entry.revision);
        let permit_revision = self.orchestrator.update(&key, json(&permit), before).await.unwrap();
        BuildOrder {
            schema: SCHEMA,
            build_id: permit.build_id,
            attempt: 1,
            permit: n,
            permit_revision,
            granted_at: permit.granted_at,
            package_path: PackagePath::of_name(&package_name),
            plan_path: format!("plans/{}.md", package_name.unscoped()),
            package_name,
            category: "unknown".into(),
            dependencies: Vec::new(),
            priority: 0,
            config: OrderConfig::default(),
            integrities: Vec::new(),
            deadline_seconds: 600,
            extra: serde_json::Map::new(),
        }
    }

    /// Sends an order.
    pub(crate) async fn send(&self, order: &BuildOrder) {
        self.broker.publish(Message::json(topology::builds_start(), order)).await.unwrap();
    }

    /// Orders a build under permit `n`.
    pub(crate) async fn order(&mut self, n: u32, name: &str) -> BuildOrder {
        let order = self.grant(n, name).await;
        self.send(&order).await;
        order
    }

    /// The next result.
    pub(crate) async fn result(&mut self) -> BuildResult {
        let began = Instant::now();
        loop {
            match tokio::time::timeout(GENEROUS, self.results.next()).await.expect("no result came") {
                Ok(delivery) => {
                    delivery.ack().await;
                    self.applied = delivery.sequence;
                    return read(&delivery.payload);
                }
                // Nobody read it for a while, or the broker was frozen.
                Err(_) => {
                    assert!(began.elapsed() < GENEROUS, "no result came");
                    if let Ok(results) = self.broker.consume_in_order(StreamName::Results, self.applied).await {
                        self.results = results;
                    }
                }
            }
        }
    }

    /// Orders a build and answers its result; its permit is free again.
    pub(crate) async fn build(&mut self, name: &str) -> BuildResult {
        let order = self.order(0, name).await;
        self.outcome(&order).await
    }

    /// The result of an order; its permit is free again.
    pub(crate) async fn outcome(&mut self, order: &BuildOrder) -> BuildResult {
        let result = loop {
            let result = self.result().await;
            if result.build_id == order.build_id {
                break result;
            }
        };
        self.orchestrator.delete(&Key::Permit(order.permit).to_string()).await.unwrap();
        result
    }

    /// The permit `n` as it stands.
    pub(crate) async fn permit(&self, n: u32) -> Option<Permit> {
        let entry = self.orchestrator.get(&Key::Permit(n).to_string()).await.unwrap()?;
        entry.value.map(|value| read(&value))
    }

    /// Withdraws a permit, and wakes its worker.
    pub(crate) async fn withdraw(&self, n: u32) {
        let key = Key::Permit(n).to_string();
        let entry = self.orchestrator.get(&key).await.unwrap().unwrap();
        let permit = Permit { ending: Some(Ending::Stop), ..read(&entry.value.unwrap()) };
        let worker = permit.worker.clone().unwrap();
        self.orchestrator.update(&key, json(&permit), entry.revision).await.unwrap();
        self.broker.wake(&worker).await;
    }

    /// The keys of all workers, with their records.
    pub(crate) async fn workers(&self) -> BTreeMap<String, Worker> {
        let entries = self.workers.load(">", 0).await.unwrap();
        entries.into_iter().filter_map(|entry| Some((entry.key, read(&entry.value?)))).collect()
    }
}

pub(crate) fn json(value: &impl Serialize) -> bytes::Bytes {
    serde_json::to_vec(value).unwrap().into()
}

pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> T {
    serde_json::from_slice(bytes).unwrap()
}

/// Waits until `condition` answers something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, condition: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(began.elapsed() < GENEROUS, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many processes of a build are alive.
pub(crate) fn alive(order: &BuildOrder) -> usize {
    processes_of(&order.build_id.to_string()).len()
}

/// Waits until a build has (or has no) processes.
pub(crate) async fn until_alive(order: &BuildOrder, expected: bool) {
    until(if expected { "a process of the build" } else { "the end of all its processes" }, || async {
        ((alive(order) > 0) == expected).then_some(())
    })
    .await;
}
