//! Taking over: the lease first, then everything that a leader needs.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use packline_broker::{Broker, BucketName, CommitError, StreamName};
use packline_domain::record::{Intention, Leader, Position};
use packline_scheduler::{Input, Slice};
use packline_service::Shutdown;

use crate::{
    batch::{Batch, Standing},
    clock::Clock,
    config::Config,
    driver::{Driver, Ended},
    effects::{Outbox, Released},
    housekeeping::Housekeeping,
    intake::Intake,
    leader::Leadership,
    liveness::Liveness,
    metrics::Metrics,
    pace::Pace,
    questions::Glance,
    recover::Loaded,
    stall,
};

/// How long results are gathered at most. Orders, claims and results take about five times as long as the
/// commit that they follow from.
const GATHERED: Duration = Duration::from_millis(100);

/// The streams whose messages are applied in order.
const APPLIED: [StreamName; 3] = [StreamName::Packages, StreamName::Results, StreamName::Control];

/// Takes the lease and loads; `None` when another was faster.
///
/// # Errors
/// When the broker cannot be used, or a record cannot be read.
pub(crate) async fn take(
    broker: &Broker,
    config: &Config,
    me: &str,
    shutdown: &Shutdown,
    observed: u64,
    previous: Option<Leader>,
    poison: Option<(StreamName, u64)>,
) -> anyhow::Result<Option<Driver>> {
    let clock = Clock::start();
    let bucket = broker.bucket(BucketName::Orchestrator);
    // A leader's first commit writes its positions: without them nobody has led yet, or all was lost.
    let new = previous.as_ref().is_none_or(|leader| leader.positions.is_empty());
    let lost = new && broker.stream_state(StreamName::Results).await?.messages > 0;
    let taken = Leadership::take(&bucket, observed, previous, me, config.lease, config.claim).await;
    let mut leadership = match taken {
        Ok(leadership) => leadership,
        Err(CommitError::Deposed | CommitError::Conflict) => return Ok(None),
        Err(error) => return Err(error).context("failed to take the lease"),
    };
    let mut record = leadership.record.clone();
    let anew = set_positions(broker, &mut record, lost).await?;
    // A restored backup repeats no serial (law 16).
    let millis = u64::try_from(clock.now().as_millis()).unwrap_or(0);
    record.serial = record.serial.saturating_add(1).max(millis);
    let revision = leadership.revision();
    let loaded = match leadership.keeping(bucket.load_into::<Loaded>(">", revision)).await {
        Ok(loaded) => loaded.context("failed to load the bucket orchestrator")?,
        Err(CommitError::Deposed | CommitError::Conflict) => return Ok(None),
        Err(error) => return Err(error).context("failed to keep the lease"),
    };
    let (rules, limit) = (config.rules(), config.max_concurrent);
    let recovered = loaded.rebuild(&record, revision, rules, limit, clock.now(), lost)?;
    leadership.record.positions.clone_from(&record.positions);
    leadership.record.serial = record.serial;
    tracing::info!(
        "{me} leads (term {}): {} packages known, {} permits in use, {} commits with messages still to send",
        record.term,
        recovered.scheduler.packages().count(),
        recovered.scheduler.permits().count(),
        recovered.effects.len(),
    );
    let outbox = Outbox::start(broker, &leadership.lease, record.effects_through);
    let through = record.commit;
    for (commit, effects) in recovered.effects.into_iter().chain([(through, Vec::new())]) {
        outbox.send(Released { commit, effects, standing: 0 });
    }
    let positions = record.positions.clone();
    let after = |stream: StreamName| positions.get(stream.as_str()).map_or(0, |position| position.sequence);
    let intake = Intake::open(broker, me, after).await?;
    let permits = recovered
        .permit_revisions
        .into_iter()
        .map(|(n, revision)| (n, Standing { revision, stands: recovered.scheduler.permit(n).is_some() }))
        .collect();
    let mut liveness = Liveness::default();
    for worker in recovered.scheduler.permits().filter_map(|(_, permit)| permit.worker.as_deref()) {
        liveness.named(clock.monotonic(), worker);
    }
    let mut driver = Driver {
        broker: broker.clone(),
        bucket,
        config: config.clone(),
        clock,
        shutdown: shutdown.clone(),
        metrics: Metrics::new(config.health.http_addr.is_some(), record.term),
        leadership,
        scheduler: recovered.scheduler,
        intake,
        outbox,
        liveness,
        knows_workers: false,
        permits,
        effect_keys: recovered.effect_keys,
        live: BTreeMap::new(),
        behind: BTreeMap::new(),
        long: None,
        poison,
        skipped: Vec::new(),
        housekeeping: Housekeeping::default(),
        pace: Pace::new(5, GATHERED),
        stall: stall::Alarm::default(),
        glance: Glance::default(),
        looked: Duration::ZERO,
    };
    match driver.start(anew.contains(&StreamName::Packages)).await {
        Ok(()) => Ok(Some(driver)),
        Err(Ended::Deposed | Ended::Reload(_)) => Ok(None),
        Err(Ended::Failed(error)) => Err(error),
        Err(Ended::Stopped | Ended::Drained) => Ok(None),
    }
}

impl Driver {
    /// The first commit: the positions, `control` where it is new, and the end of `drained`. Where PACKAGES was made
    /// anew, none of its messages is what it was.
    async fn start(&mut self, packages_anew: bool) -> Result<(), Ended> {
        let mut batch = Batch::default();
        let now = self.now();
        self.feed(&mut batch, &now, Input::Started)?;
        if let Some(slice) = self.announcement_gone(packages_anew).await? {
            tracing::warn!("the rest of announcement {} was deleted before it was queued", slice.sequence);
            let rest = Input::Announced { packages: Vec::new(), reported_through: None, slice: Some(slice) };
            self.feed(&mut batch, &now, rest)?;
        }
        self.commit(&mut batch).await
    }

    /// The last slice, an empty one, of a long announcement under way that is no longer in its stream: it
    /// would be waited for for ever.
    async fn announcement_gone(&self, anew: bool) -> Result<Option<Slice>, Ended> {
        let standing = self.scheduler.intention().and_then(Intention::announcement);
        let Some((Intention { sequence, stream, .. }, done)) = standing else { return Ok(None) };
        let position = self.leadership.record.positions.get(stream).map_or(0, |position| position.sequence);
        let found = self.broker.stored(StreamName::Packages, *sequence).await.map_err(anyhow::Error::from)?;
        let there = !anew && position < *sequence && found.is_some_and(|found| found.sequence == *sequence);
        let slice = Slice { stream: stream.clone(), sequence: *sequence, done, last: true };
        Ok((!there).then_some(slice))
    }
}

/// A stream that was made anew is read from its start. Where the bucket was lost, what workers and
/// operators said before is not repeated; what was announced is. Answers which streams were made anew.
async fn set_positions(broker: &Broker, record: &mut Leader, lost: bool) -> anyhow::Result<Vec<StreamName>> {
    let mut anew = Vec::new();
    for stream in APPLIED {
        let state = broker.stream_state(stream).await?;
        let position = record.positions.entry(stream.as_str().to_owned()).or_default();
        if position.created != state.created {
            let skip = lost && stream != StreamName::Packages;
            let sequence = if skip { state.last_sequence } else { 0 };
            *position = Position { created: state.created, sequence };
            anew.push(stream);
        }
    }
    Ok(anew)
}
