//! The broker: version, JetStream, durability, streams, rights, clock; and who leads.

use std::time::Duration;

use packline_broker::{Broker, BrokerError, BucketName, OLDEST_BROKER, StreamName, TopologyError, Watched};
use packline_domain::answer::State;
use packline_service::Unusable;
use serde::Deserialize;

use super::{Finding, Verdict};
use crate::{
    now,
    operator::{
        ask::{self, ask},
        connection::Connection,
    },
};

/// How long the monitoring port may take.
const MONITOR: Duration = Duration::from_secs(2);
/// What may not be read is never answered.
const READ_WITHIN: Duration = Duration::from_secs(3);
/// Retry times of another clock are early or late by so much.
const CLOCKS_DIFFER: Duration = Duration::from_secs(2);

/// What `/jsz` says of how often the server syncs.
#[derive(Deserialize)]
struct Monitored {
    server_id: Option<String>,
    config: Option<JetStream>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JetStream {
    sync_always: bool,
    /// Nanoseconds.
    sync_interval: u64,
}

/// Looks at it as this user.
pub(super) async fn look(connection: &Connection, monitor: Option<&str>) -> anyhow::Result<Vec<Finding>> {
    let broker = match connection.open().await {
        Ok(broker) => broker,
        // What cannot be understood is no finding.
        Err(error) if error.is::<Unusable>() => return Err(error),
        Err(error) => {
            let mend = format!("start nats-server {OLDEST_BROKER} or newer with JetStream there");
            return Ok(vec![Finding::bad("broker", error.to_string(), mend)]);
        }
    };
    let mut findings =
        vec![Finding::good("broker", format!("nats-server {} at {}", broker.server_version(), broker.url()))];
    if let Err(error) = broker.check_jetstream().await {
        let mend = "start nats-server with -js, and let this account and this user have it";
        findings.push(Finding::bad("JetStream", error.to_string(), mend));
        return Ok(findings);
    }
    findings.push(Finding::good("JetStream", "on"));
    findings.push(durability(&broker, monitor).await);
    let streams = streams(&broker).await;
    findings.push(match streams.verdict {
        Verdict::Unknown => Finding::unknown("rights", "not looked at", "they are tried on the streams"),
        Verdict::Good | Verdict::Bad => rights(&broker).await,
    });
    findings.push(streams);
    findings.push(clock(&broker).await);
    findings.push(line(&broker).await);
    Ok(findings)
}

/// What is acknowledged must be on the disk: a power cut takes what is not.
async fn durability(broker: &Broker, monitor: Option<&str>) -> Finding {
    const ABOUT: &str = "sync_interval";
    const MEND: &str = "set `jetstream { sync_interval: always }` in its configuration";
    let host = if broker.host().contains(':') { format!("[{}]", broker.host()) } else { broker.host().to_owned() };
    let base = monitor.map_or_else(|| format!("http://{host}:8222"), |url| url.trim_end_matches('/').to_owned());
    let asked = async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.get(format!("{base}/jsz?config=true")).send().await?.error_for_status()?;
        answer.bytes().await
    };
    let answer = match tokio::time::timeout(MONITOR, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => {
            return Finding::unknown(
                ABOUT,
                format!("not known: {base} does not answer"),
                format!("start nats-server with -m 8222 or say --monitor, and {MEND}"),
            );
        }
    };
    match serde_json::from_slice::<Monitored>(&answer) {
        Ok(Monitored { server_id: Some(id), .. }) if id != broker.server_id() => Finding::unknown(
            ABOUT,
            format!("not known: {base} is that of another server"),
            format!("say --monitor, and {MEND}"),
        ),
        Ok(Monitored { config: Some(config), .. }) if config.sync_always => Finding::good(ABOUT, "always"),
        Ok(Monitored { config: Some(config), .. }) => {
            let every = humantime::format_duration(Duration::from_nanos(config.sync_interval));
            Finding::bad(ABOUT, format!("{every}: a power cut loses what was acknowledged in that time"), MEND)
        }
        Ok(Monitored { config: None, .. }) | Err(_) => {
            Finding::unknown(ABOUT, format!("not known: {base} does not say"), format!("say --monitor, and {MEND}"))
        }
    }
}

async fn streams(broker: &Broker) -> Finding {
    const ABOUT: &str = "streams";
    match broker.check_topology().await {
        Ok(None) => {
            let (streams, buckets) = (StreamName::ALL.len(), BucketName::ALL.len());
            Finding::good(ABOUT, format!("{streams} streams and {buckets} buckets are as they must be"))
        }
        Ok(Some(missing)) => Finding::unknown(ABOUT, missing, "an orchestrator makes what is missing when it starts"),
        Err(error @ TopologyError::Drift { .. }) => Finding::bad(ABOUT, error.to_string(), "nothing of it was touched"),
        Err(TopologyError::Refused { source, .. }) => Finding::bad(
            ABOUT,
            source.to_string(),
            "let this user ask $JS.API.STREAM.INFO.* and $JS.API.CONSUMER.INFO.>",
        ),
    }
}

/// Whether this user may do what an operator does.
async fn rights(broker: &Broker) -> Finding {
    const ABOUT: &str = "rights";
    const MEND: &str = "where it should: allow publish on control.*, packages.new, orchestrator.*, \
                        $JS.API.STREAM.INFO.*, $JS.API.STREAM.MSG.GET.* and $JS.API.CONSUMER.CREATE.>";
    let (mut denied, mut unknown) = (Vec::new(), Vec::new());
    // A command of this name commands nothing, also to whoever listens beside the stream.
    for subject in ["control.doctor", "packages.new"] {
        match broker.check_publish(subject).await {
            Ok(()) => {}
            Err(BrokerError::Refused(_)) => denied.push(format!("may not publish on {subject}")),
            Err(error) => unknown.push(format!("{subject}: {error}")),
        }
    }
    let bucket = broker.bucket(BucketName::Orchestrator);
    let read = tokio::time::timeout(READ_WITHIN, bucket.watch("leader").next()).await;
    if !matches!(read, Ok(Watched::Entry(_) | Watched::Complete)) {
        unknown.push("the bucket orchestrator cannot be read, or not in time".into());
    }
    if !denied.is_empty() {
        return Finding::bad(ABOUT, format!("this user {}", denied.join(", ")), MEND);
    }
    if !unknown.is_empty() {
        return Finding::unknown(ABOUT, unknown.join(", "), MEND);
    }
    Finding::good(ABOUT, "this user may command, announce and read")
}

async fn clock(broker: &Broker) -> Finding {
    const ABOUT: &str = "clock";
    let asked = now();
    match broker.clock().await {
        Err(error) => Finding::unknown(ABOUT, format!("not compared: {error}"), "start an orchestrator first"),
        Ok(theirs) => {
            let answered = now();
            let apart = asked.since(theirs).max(theirs.since(answered));
            if apart < CLOCKS_DIFFER {
                return Finding::good(ABOUT, "that of the broker and that of this machine agree");
            }
            let text = format!("the broker's differs from this machine's by {}", humantime::format_duration(apart));
            Finding::bad(ABOUT, text, "run an NTP client on both")
        }
    }
}

async fn line(broker: &Broker) -> Finding {
    const ABOUT: &str = "line";
    use packline_broker::topology::STATE;
    match ask(broker, STATE, &()).await.and_then(|answer| ask::read::<State>(answer, STATE)) {
        Err(error) => Finding::unknown(ABOUT, error.to_string(), "start an orchestrator"),
        Ok(State { stalled: Some(stalled), .. }) => {
            Finding::bad(ABOUT, format!("stalled: {}", stalled.text), "see `packline status` and `packline workers`")
        }
        Ok(state) if state.slots == 0 => {
            Finding::unknown(ABOUT, format!("{} leads, no worker is live", state.leader), "start a builder-worker")
        }
        Ok(state) => Finding::good(ABOUT, format!("{} leads, live workers have {} slots", state.leader, state.slots)),
    }
}
