//! What the broker crate promises, shown on real nats-servers: one for each test, on its own port and folder.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod bucket;
mod chain;
mod consume;
mod follow;
mod kill;
mod lease;
mod log;
mod permit;
mod publish;
mod question;
mod takeover;
mod topology;
mod unknown;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use packline_broker::{Broker, Bucket, BucketName, Chain, Settings, Write};
use packline_domain::record::Leader;
use packline_testkit::{
    nats::{NatsOptions, NatsServer},
    proxy::Proxy,
    tools,
};

/// Longer than any of these tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// One server, as it is run in earnest, with everything set up.
struct Place {
    server: NatsServer,
}

impl Place {
    /// A server without streams.
    async fn bare() -> Self {
        let binary = tools::nats_server().await.unwrap();
        Self { server: NatsServer::start(NatsOptions::durable(binary)).await.unwrap() }
    }

    async fn new() -> Self {
        let place = Self::bare().await;
        place.broker("setup").await.ensure_topology().await.unwrap();
        place
    }

    async fn broker(&self, name: &str) -> Broker {
        Broker::connect(&Settings::at(self.server.url()), name).await.unwrap()
    }

    async fn proxy(&self) -> Proxy {
        Proxy::start(self.server.port()).await.unwrap()
    }

    async fn bucket(&self, name: &str) -> Bucket {
        self.broker(name).await.bucket(BucketName::Orchestrator)
    }
}

async fn through(proxy: &Proxy, name: &str) -> Broker {
    Broker::connect(&Settings::at(proxy.url()), name).await.unwrap()
}

/// Fails instead of hanging.
async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, test).await.expect("the test takes too long")
}

/// A leader record with a new random try.
fn leader(holder: &str, term: u64, commit: u64) -> Leader {
    let attempt = format!("{:016x}", fastrand::u64(..));
    Leader { holder: Some(holder.to_owned()), term, commit, attempt, lease_millis: 1000, ..Leader::default() }
}

fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Write {
    Write { key: key.into(), value: Some(value.into()), expect: None }
}

/// `count` records that all say `value`.
fn records(count: usize, value: &str) -> Vec<Write> {
    (0..count).map(|number| put(format!("queue.p{number}"), value.to_owned())).collect()
}

async fn take(bucket: &Bucket, holder: &str, term: u64) -> Chain {
    let observed = bucket.get("leader").await.unwrap().map_or(0, |entry| entry.revision);
    Chain::take(bucket, observed, &leader(holder, term, 1)).await.unwrap()
}
