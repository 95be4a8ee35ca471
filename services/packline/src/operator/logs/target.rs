//! Which builds somebody means who names a package or a build, and whether one is over.

use anyhow::{Context, bail};
use packline_broker::{Broker, BucketName};
use packline_domain::{
    Attempt, BuildId, FailureClass, Outcome, PackageName,
    record::{Key, Permit, Queue, Retries, State},
};
use serde::de::DeserializeOwned;

use crate::operator::{ask::ask, records::Records, shown::plain, wait::aside};

/// What was named: a text may be both.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    package: Option<PackageName>,
    build: Option<BuildId>,
}

/// Which builds of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that runs, else the last.
    Newest,
    /// The newest of this number.
    Attempt(u32),
    /// All that are known.
    All,
}

/// One build.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) id: BuildId,
    /// Its number, where it is known.
    pub(super) number: Option<u32>,
    /// How it ended, where the orchestrator has decided that.
    pub(super) attempt: Option<Attempt>,
    running: bool,
}

/// For clap's `value_parser`.
pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    let build = text.strip_prefix('@').unwrap_or(text).parse().ok();
    let package = PackageName::from_typed(text);
    if build.is_none() {
        package.as_ref().map_err(|error| format!("{error}; a build is like acme/core.1764216000000"))?;
    }
    Ok(Wanted { package: package.ok(), build })
}

impl Build {
    /// For a person.
    pub(super) fn title(&self) -> String {
        let number = self.number.map(|number| format!(", attempt {number}")).unwrap_or_default();
        let worker = self.attempt.as_ref().and_then(|attempt| attempt.worker.as_ref());
        let worker = worker.map(|worker| format!(" on {worker}")).unwrap_or_default();
        format!("{}{number}{worker}", self.id)
    }

    pub(super) fn runs(&self) -> bool {
        self.running
    }

    /// `: the worker was lost`, where it is known.
    pub(super) fn why(&self) -> String {
        let error = self.attempt.as_ref().and_then(|attempt| attempt.error.as_deref());
        error.and_then(|error| error.lines().next()).map(|error| format!(": {}", plain(error))).unwrap_or_default()
    }
}

/// The builds that are meant, oldest first; with `wait` that of a package which is still to start is waited for.
pub(super) async fn builds(broker: &Broker, wanted: &Wanted, which: Which, wait: bool) -> anyhow::Result<Vec<Build>> {
    if let Some(package) = &wanted.package {
        let known = Known::read(broker, package).await?;
        if known.queue.is_some() || !known.builds.is_empty() || wanted.build.is_none() {
            return known.chosen(broker, package, which, wait).await;
        }
    }
    let Some(id) = &wanted.build else { bail!("neither a package nor a build") };
    if which != Which::Newest {
        bail!("--attempt and --all want a package; {id} is one build");
    }
    let known = Known::read(broker, &id.package).await?;
    let unknown = || Build { id: id.clone(), number: None, attempt: None, running: false };
    Ok(vec![known.builds.into_iter().find(|build| build.id == *id).unwrap_or_else(unknown)])
}

/// What the records say of a package.
struct Known {
    queue: Option<Queue>,
    builds: Vec<Build>,
}

impl Known {
    async fn read(broker: &Broker, package: &PackageName) -> anyhow::Result<Self> {
        let queue: Option<Queue> = record(broker, &Key::Queue(package.clone())).await?;
        let retries: Retries = record(broker, &Key::Retries(package.clone())).await?.unwrap_or_default();
        let over = |attempt: Attempt| Build {
            id: attempt.build_id.clone(),
            number: Some(attempt.attempt),
            attempt: Some(attempt),
            running: false,
        };
        let mut builds: Vec<Build> = retries.attempts.into_iter().map(over).collect();
        if let Some(State::Building { build_id, permit, .. }) = queue.as_ref().map(|queue| &queue.state) {
            let permit: Option<Permit> = record(broker, &Key::Permit(*permit)).await?;
            let number = permit.filter(|permit| permit.build_id == *build_id).map(|permit| permit.attempt);
            builds.retain(|build| build.id != *build_id);
            builds.push(Build { id: build_id.clone(), number, attempt: None, running: true });
        }
        Ok(Self { queue, builds })
    }

    async fn chosen(
        self,
        broker: &Broker,
        package: &PackageName,
        which: Which,
        wait: bool,
    ) -> anyhow::Result<Vec<Build>> {
        let Self { queue, mut builds } = self;
        let waits = queue.as_ref().is_none_or(|queue| matches!(queue.state, State::Queued | State::Retrying { .. }));
        match which {
            Which::Newest if wait && waits => return Ok(vec![first_build(broker, package).await?]),
            Which::Newest => builds = builds.pop().into_iter().collect(),
            Which::Attempt(number) => {
                let numbers: Vec<_> = builds.iter().filter_map(|build| build.number).map(|n| n.to_string()).collect();
                builds = builds.into_iter().rfind(|build| build.number == Some(number)).into_iter().collect();
                if builds.is_empty() && !numbers.is_empty() {
                    bail!("no attempt {number} of {package} is known; known are {}", numbers.join(", "));
                }
            }
            Which::All => {}
        }
        match (builds.is_empty(), queue) {
            (false, _) => Ok(builds),
            (true, Some(_)) => {
                bail!("{package} has not been built yet; -f waits for it, `packline why` says what it waits for")
            }
            (true, None) => bail!("the queue does not know {package}; `packline add` announces it"),
        }
    }
}

/// Waits until a package is built.
async fn first_build(broker: &Broker, package: &PackageName) -> anyhow::Result<Build> {
    let why = ask(broker, packline_broker::topology::WHY, package).await.ok();
    let reason = why.as_ref().and_then(|why| why.pointer("/reasons/0/text")).and_then(|text| text.as_str());
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    aside(&format!("waiting for a build of {package}{reason}"));
    let key = Key::Queue(package.clone()).to_string();
    let mut queue = Records::<Queue>::follow(broker, BucketName::Orchestrator, &key);
    loop {
        queue.changed().await?;
        if let Some(State::Building { build_id, .. }) = queue.values.get(&key).map(|queue| &queue.state) {
            return Ok(Build { id: build_id.clone(), number: None, attempt: None, running: true });
        }
    }
}

/// Whether a build is over, as the orchestrator decides it.
pub(super) struct Ending {
    build: BuildId,
    queue: Records<Queue>,
    retries: Records<Retries>,
    over: bool,
}

impl Ending {
    pub(super) fn follow(broker: &Broker, build: &Build) -> Self {
        let package = &build.id.package;
        let follow = |key: Key| key.to_string();
        Self {
            build: build.id.clone(),
            queue: Records::follow(broker, BucketName::Orchestrator, &follow(Key::Queue(package.clone()))),
            retries: Records::follow(broker, BucketName::Orchestrator, &follow(Key::Retries(package.clone()))),
            over: false,
        }
    }

    /// Returns when the build is over. Cancellation safe.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        while !self.over {
            self.queue.changed().await?;
            let state = self.queue.values.values().next().map(|queue| &queue.state);
            let builds = |state: &State| matches!(state, State::Building { build_id, .. } if *build_id == self.build);
            self.over = !state.is_some_and(builds);
        }
        if self.retries.values.is_empty() {
            self.retries.changed().await?;
        }
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// How it ended, by the records.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        let attempts = self.retries.values.values().flat_map(|retries| &retries.attempts);
        let attempt = attempts.into_iter().rfind(|attempt| attempt.build_id == self.build)?;
        match attempt.class {
            None => Some(Outcome::Published),
            Some(FailureClass::Own | FailureClass::Permanent) => Some(Outcome::Failed),
            Some(FailureClass::Infrastructure) => Some(Outcome::Infrastructure),
            Some(FailureClass::Cancelled) => Some(Outcome::Cancelled),
            Some(FailureClass::Returned) => Some(Outcome::Returned),
            Some(FailureClass::WorkerLost) => None,
        }
    }
}

async fn record<T: DeserializeOwned>(broker: &Broker, key: &Key) -> anyhow::Result<Option<T>> {
    let key = key.to_string();
    let entry = broker.bucket(BucketName::Orchestrator).get(&key).await.context("failed to read the records")?;
    let value = entry.and_then(|entry| entry.value);
    value.map(|value| serde_json::from_slice(&value)).transpose().with_context(|| format!("{key} is not understood"))
}
