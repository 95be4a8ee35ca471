//! The connection: made once, kept for ever, to a broker that is new enough.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event,
    jetstream::{Context, ContextBuilder, response::Response},
};
use secrecy::ExposeSecret;
use semver::Version;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::watch;

use crate::{BrokerError, Bucket, BucketName, Settings};

/// The oldest nats-server whose atomic batches and fence headers hold.
pub const OLDEST_BROKER: Version = Version::new(2, 14, 4);

/// A frozen broker is noticed after two of these without an answer.
const PING: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Messages on their way to one subscription; flow control keeps their bytes far below.
const SUBSCRIPTION_CAPACITY: usize = 1 << 19;
/// Publishes that wait for their ack.
const MAX_IN_FLIGHT: usize = 1 << 16;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The settings cannot work: say so and stop.
    #[error("{0}")]
    Settings(String),
    /// The broker is too old.
    #[error("nats-server {found} at {url} is too old: Packline needs {OLDEST_BROKER} or newer")]
    TooOld {
        /// Its version.
        found: String,
        /// Where it is.
        url: String,
    },
    /// It does not let this user in.
    #[error("the broker at {url} refuses these credentials: {why}")]
    Denied {
        /// Where it is.
        url: String,
        /// Its own words.
        why: String,
    },
    /// There is none, as far as was waited for.
    #[error("no broker answers at {url}: {why}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What the last try said.
        why: String,
    },
}

/// A connection to the broker. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Broker {
    link: Arc<Link>,
}

struct Link {
    context: Context,
    connections: watch::Receiver<u64>,
    replicas: u16,
    /// Where it is, without what may be secret in it.
    url: String,
    host: String,
    /// The last permission that the broker has refused.
    denied: watch::Receiver<String>,
    /// Dead letters handed over by this process, by the last token of their subject.
    dead: Mutex<BTreeMap<String, u64>>,
}

impl Broker {
    /// Connects as `name`, waiting for as long as there is no broker (said once a minute).
    ///
    /// # Errors
    /// When the settings are unusable, or the broker is older than [`OLDEST_BROKER`].
    pub async fn connect(settings: &Settings, name: &str) -> Result<Self, ConnectError> {
        Self::open(settings, name, None).await
    }

    /// The same for those who do not wait for a broker longer than `patience`.
    ///
    /// # Errors
    /// As [`Self::connect`], and [`ConnectError::Unreachable`].
    pub async fn connect_within(settings: &Settings, name: &str, patience: Duration) -> Result<Self, ConnectError> {
        Self::open(settings, name, Some(patience)).await
    }

    async fn open(settings: &Settings, name: &str, patience: Option<Duration>) -> Result<Self, ConnectError> {
        let settings = &settings.resolved()?;
        let (counter, connections) = watch::channel(0_u64);
        let (complain, complaint) = watch::channel("nothing answers".to_owned());
        let (deny, denied) = watch::channel(String::new());
        let url = settings.shown_url();
        let addresses = addresses(settings.url())?;
        let host = addresses.first().map(|address| address.host().to_owned()).unwrap_or_default();
        let told = url.clone();
        let options = credentials(settings).await?;
        let client = options
            .name(name)
            .ping_interval(PING)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .retry_on_initial_connect()
            .event_callback(move |event| {
                note(&told, &event, &counter, &complain, &deny);
                std::future::ready(())
            })
            .connect(addresses)
            .await
            .map_err(|error| ConnectError::Settings(format!("failed to connect to {url}: {error}")))?;
        let connected = first_connection(connections.clone(), &complaint, &url);
        match patience {
            None => connected.await,
            Some(patience) => {
                let mut refused = complaint.clone();
                tokio::select! {
                    () = connected => {}
                    why = refused.wait_for(|why| why.contains("authorization violation")) => {
                        let why = why.map(|why| why.clone()).unwrap_or_default();
                        return Err(ConnectError::Denied { url, why });
                    }
                    () = tokio::time::sleep(patience) => {
                        let why = complaint.borrow().clone();
                        return Err(ConnectError::Unreachable { url, why });
                    }
                }
            }
        }
        check_version(&client.server_info().version, &url)?;
        let context = ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .max_ack_inflight(MAX_IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(client);
        Ok(Self {
            link: Arc::new(Link {
                context,
                connections,
                replicas: settings.replicas,
                url,
                host,
                denied,
                dead: Mutex::default(),
            }),
        })
    }

    /// Counts connections, from 1. After each change a liveness count starts anew: nothing was heard meanwhile.
    pub fn reconnects(&self) -> watch::Receiver<u64> {
        self.link.connections.clone()
    }

    /// Whether there is a connection now, as far as is known: a frozen broker is noticed after two pings.
    pub fn is_connected(&self) -> bool {
        self.client().connection_state() == async_nats::connection::State::Connected
    }

    /// Where the broker is, without what may be secret in it.
    pub fn url(&self) -> &str {
        &self.link.url
    }

    /// The machine that it is on, as the first URL names it.
    pub fn host(&self) -> &str {
        &self.link.host
    }

    /// How many dead letters this process has handed over for publishing, by the last token of their subject.
    pub fn dead_letters(&self) -> BTreeMap<String, u64> {
        self.link.dead.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the broker said of the last permission that it has refused.
    pub(crate) fn last_denied(&self) -> Option<String> {
        Some(self.link.denied.borrow().clone()).filter(|said| !said.is_empty())
    }

    pub(crate) fn count_dead_letter(&self, subject: &str) {
        let kind = subject.rsplit('.').next().unwrap_or(subject);
        let mut dead = self.link.dead.lock().unwrap_or_else(PoisonError::into_inner);
        *dead.entry(kind.to_owned()).or_default() += 1;
    }

    /// A bucket; it need not exist yet.
    pub fn bucket(&self, which: BucketName) -> Bucket {
        Bucket::new(self.clone(), which)
    }

    pub(crate) fn client(&self) -> Client {
        self.link.context.client()
    }

    pub(crate) fn context(&self) -> &Context {
        &self.link.context
    }

    pub(crate) fn replicas(&self) -> u16 {
        self.link.replicas
    }

    /// An answer, unless the connection is made anew before it comes: then nobody waits for the time-out.
    pub(crate) async fn heard<T, E: Into<BrokerError>>(
        &self,
        answer: impl IntoFuture<Output = Result<T, E>>,
    ) -> Result<T, BrokerError> {
        let mut connections = self.reconnects();
        connections.mark_unchanged();
        tokio::select! {
            biased;
            answer = answer.into_future() => answer.map_err(Into::into),
            _ = connections.changed() => Err(BrokerError::unavailable("the connection was lost before the answer came")),
        }
    }

    /// One request to JetStream's own API, with one try.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        subject: String,
        body: &impl Serialize,
    ) -> Result<T, BrokerError> {
        let response: Response<Value> = self.heard(self.context().request(subject, body)).await?;
        match response {
            Response::Err { error } => Err(error.into()),
            // An answer of another shape is no reason to ask again.
            Response::Ok(answer) => {
                serde_json::from_value(answer).map_err(|error| BrokerError::refused(format!("unknown answer: {error}")))
            }
        }
    }
}

fn addresses(urls: &str) -> Result<Vec<async_nats::ServerAddr>, ConnectError> {
    urls.split(',')
        .map(|url| {
            url.trim().parse().map_err(|error| {
                ConnectError::Settings(format!(
                    "NATS_URL is like nats://127.0.0.1:4222, or several with commas: {error}"
                ))
            })
        })
        .collect()
}

async fn credentials(settings: &Settings) -> Result<ConnectOptions, ConnectError> {
    let mut options = ConnectOptions::new();
    if let Some(creds) = &settings.creds {
        options = options.credentials_file(creds).await.map_err(|error| {
            ConnectError::Settings(format!("NATS_CREDS `{}` cannot be used: {error}", creds.display()))
        })?;
    }
    if let Some(nkey) = &settings.nkey {
        let seed = tokio::fs::read_to_string(nkey).await.map_err(|error| {
            ConnectError::Settings(format!("NATS_NKEY `{}` cannot be read: {error}", nkey.display()))
        })?;
        // The file may be decorated with comments.
        let seed = seed.lines().map(str::trim).find(|line| line.starts_with("SU")).unwrap_or(seed.trim());
        options = options.nkey(seed.to_owned());
    }
    if let Some(user) = &settings.user {
        options = match &settings.password {
            Some(password) => options.user_and_password(user.clone(), password.expose_secret().to_owned()),
            None => options.token(user.clone()),
        };
    }
    if let Some(token) = &settings.token {
        options = options.token(token.expose_secret().to_owned());
    }
    if let Some(prefix) = &settings.inbox_prefix {
        options = options.custom_inbox_prefix(prefix.clone());
    }
    if settings.tls_first {
        options = options.tls_first();
    }
    if settings.cert.is_some() != settings.key.is_some() {
        return Err(ConnectError::Settings("NATS_CERT and NATS_KEY go together; set both or neither".into()));
    }
    for (name, file) in [("NATS_CA", &settings.ca), ("NATS_CERT", &settings.cert), ("NATS_KEY", &settings.key)] {
        if let Some(file) = file
            && let Err(error) = tokio::fs::File::open(file).await
        {
            return Err(ConnectError::Settings(format!("{name} `{}` cannot be read: {error}", file.display())));
        }
    }
    if let Some(ca) = &settings.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    if let (Some(cert), Some(key)) = (&settings.cert, &settings.key) {
        options = options.add_client_certificate(cert.clone(), key.clone()).require_tls(true);
    }
    Ok(options)
}

/// Logs what the connection says by itself: only here does a denied publish have a voice.
fn note(
    url: &str,
    event: &Event,
    counter: &watch::Sender<u64>,
    complain: &watch::Sender<String>,
    deny: &watch::Sender<String>,
) {
    match event {
        Event::Connected => {
            counter.send_modify(|count| *count += 1);
            tracing::debug!("connected to the broker at {url}");
        }
        Event::Disconnected => tracing::warn!("lost the broker at {url}, connecting again"),
        Event::ServerError(error) => {
            tracing::error!("the broker says: {error}");
            deny.send_replace(error.to_string());
        }
        Event::ClientError(error) => {
            tracing::debug!("no connection to {url}: {error}");
            complain.send_replace(error.to_string());
        }
        Event::SlowConsumer(subscription) => {
            tracing::warn!("messages of subscription {subscription} came faster than they were taken");
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => tracing::debug!("{event}"),
    }
}

async fn first_connection(mut connections: watch::Receiver<u64>, complaint: &watch::Receiver<String>, url: &str) {
    let connected = async {
        let _ = connections.wait_for(|count| *count > 0).await;
    };
    tokio::pin!(connected);
    let mut soon = Duration::from_secs(2);
    while tokio::time::timeout(soon, &mut connected).await.is_err() {
        tracing::warn!("waiting for the broker at {url}: {}", *complaint.borrow());
        soon = SAID_EVERY;
    }
}

fn check_version(found: &str, url: &str) -> Result<(), ConnectError> {
    let too_old = || ConnectError::TooOld { found: found.to_owned(), url: url.to_owned() };
    let version = Version::parse(found.trim_start_matches('v')).map_err(|_| too_old())?;
    if version >= OLDEST_BROKER { Ok(()) } else { Err(too_old()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_refused_by_name() {
        for good in ["2.14.4", "2.15.1", "2.15.0-RC.1", "3.0.0", "v2.14.5"] {
            assert!(check_version(good, "nats://x").is_ok(), "{good}");
        }
        for bad in ["2.14.3", "2.14.4-RC.1", "2.9.10", "2.12.9", "rubbish", ""] {
            let line = check_version(bad, "nats://x").unwrap_err().to_string();
            assert!(line.contains(&format!("nats-server {bad} at nats://x is too old")), "{line}");
        }
    }
}
