//! What the tests of the poller share: a broker of one's own, and a poller at it.

use std::{future::Future, time::Duration};

use clap::Parser;
use packline_broker::{Broker, BucketName, InOrder, Message, Settings, StreamName, topology};
use packline_domain::{PackageName, PackageStatus, StatusKind, record::Leader};
use packline_poller::config::Config;
use packline_service::Shutdown;
use packline_testkit::{
    http::use_ring,
    nats::{NatsOptions, NatsServer},
    tools,
};
use serde_json::Value;
use tokio::task::JoinHandle;

/// Longer than any of these tests takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// The settings of a poller at this broker.
pub(crate) fn config(nats: &str, arguments: &[&str]) -> Config {
    Config::try_parse_from([&["poller", "--nats-url", nats], arguments].concat()).unwrap()
}

/// A broker of one's own, seen through the orchestrator's eyes.
pub(crate) struct Place {
    pub(crate) server: NatsServer,
    pub(crate) broker: Broker,
    announced: InOrder,
    seen: u64,
}

impl Place {
    pub(crate) async fn new() -> Self {
        use_ring();
        let server = NatsServer::start(NatsOptions::durable(tools::nats_server().await.unwrap())).await.unwrap();
        let broker = Broker::connect(&Settings::at(server.url()), "test").await.unwrap();
        broker.ensure_topology().await.unwrap();
        let announced = broker.consume_in_order(StreamName::Packages, 0).await.unwrap();
        Self { server, broker, announced, seen: 0 }
    }

    /// The next message on `packages.new`.
    pub(crate) async fn announcement(&mut self) -> Value {
        within("an announcement", async {
            loop {
                match self.announced.next().await {
                    Ok(delivery) => {
                        self.seen = delivery.sequence;
                        return serde_json::from_slice(&delivery.payload).unwrap();
                    }
                    // this process was starved of its processor: it goes on where it was
                    Err(_) => {
                        self.announced = self.broker.consume_in_order(StreamName::Packages, self.seen).await.unwrap();
                    }
                }
            }
        })
        .await
    }

    pub(crate) async fn announcements(&self) -> u64 {
        self.broker.stream_state(StreamName::Packages).await.unwrap().last_sequence
    }

    /// Says up to which commit all outcomes are on `packages.status`.
    pub(crate) async fn effects_through(&self, commit: u64) {
        let leader = Leader { effects_through: commit, ..Leader::default() };
        let bucket = self.broker.bucket(BucketName::Orchestrator);
        bucket.put("leader", serde_json::to_vec(&leader).unwrap().into()).await.unwrap();
    }

    pub(crate) async fn say(&self, name: &str, status: StatusKind, commit: u64) {
        self.say_of(name, None, status, commit).await;
    }

    /// The same of a package that its catalogue knows by this id.
    pub(crate) async fn say_of(&self, name: &str, id: Option<&str>, status: StatusKind, commit: u64) {
        let status = PackageStatus {
            schema: 1,
            package_name: name.parse().unwrap(),
            id: id.map(str::to_owned),
            status,
            error: (status == StatusKind::Failed).then(|| "tests failed".to_owned()),
            failed_phase: None,
            attempts: 1,
            build_id: None,
            version: None,
            private: false,
            tests: None,
            commit,
        };
        self.broker.publish_stored(vec![Message::json(topology::packages_status(), &status)]).await;
    }

    pub(crate) async fn poll_now(&self) {
        self.broker.publish_stored(vec![Message::new(topology::control("poll"), "")]).await;
    }

    /// The value of a key of the bucket `poller`; null where it is not there.
    pub(crate) async fn noted(&self, key: &str) -> Value {
        let entry = self.broker.bucket(BucketName::Poller).get(key).await.unwrap();
        entry.and_then(|entry| entry.value).map_or(Value::Null, |value| serde_json::from_slice(&value).unwrap())
    }

    /// Waits until a key of the bucket `poller` holds what is looked for.
    pub(crate) async fn note(&self, key: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut watch = self.broker.bucket(BucketName::Poller).watch(key);
        within(key, async {
            loop {
                let value = self.noted(key).await;
                if wanted(&value) {
                    return value;
                }
                let _ = watch.next().await;
            }
        })
        .await
    }

    /// Waits until nothing of `packages.status` waits any more.
    pub(crate) async fn reported(&self) {
        within("all reports", async {
            loop {
                let state = self.broker.pending(StreamName::Status, topology::CATALOGUE).await.unwrap();
                if state.pending == 0 && state.ack_pending == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// A poller in this process.
    pub(crate) fn poller(&self, arguments: &[&str]) -> Poller {
        self.poller_with(config(&self.server.url(), arguments))
    }

    pub(crate) fn poller_with(&self, config: Config) -> Poller {
        let shutdown = Shutdown::default();
        Poller { task: tokio::spawn(packline_poller::run(config, shutdown.clone())), shutdown }
    }
}

pub(crate) struct Poller {
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

impl Poller {
    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        within("the poller's end", self.task).await.unwrap().unwrap();
    }
}

pub(crate) fn name(text: &str) -> PackageName {
    text.parse().unwrap()
}

/// The names in an announcement.
pub(crate) fn names(announcement: &Value) -> Vec<&str> {
    announcement["packages"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect()
}
