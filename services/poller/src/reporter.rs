//! Brings what `packages.status` says to the catalogue.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use packline_broker::{Acker, Broker, BucketName, DeadLetter, Delivery, Source, StreamName, topology};
use packline_domain::{PackageName, PackageStatus, StatusKind, message, text::published};
use packline_service::Shutdown;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    call::{Call, End},
    catalogue::Catalogue,
    clock, intake,
    lease::{Deposed, Lease},
    refusal::{self, Refusals},
    report::{Ended, Patience, Report, Reports, Verdict},
    schedule::backoff,
    session::{CallError, Session},
    trouble::Trouble,
};

/// The most calls at a time: one that hangs holds up fifteen others at most until it times out.
const CALLS: usize = 16;
/// Well below the ack wait of the durable.
const PROGRESS: Duration = Duration::from_secs(3);
/// Between two looks at a lease that is not certain.
const UNCERTAIN: Duration = Duration::from_millis(200);
/// How long calls under way may take when the poller is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Asks which packages the catalogue knows too little about: `None` while that is not known.
pub(crate) type Question = oneshot::Sender<Option<BTreeSet<PackageName>>>;

/// The reports of one term of the active poller.
pub(crate) struct Reporter {
    broker: Broker,
    catalogue: Catalogue,
    lease: Lease,
    reports: Reports,
    patience: Patience,
    refusals: Refusals,
    unacknowledged: BTreeMap<u64, Acker>,
    session: Option<Session>,
    opening: JoinSet<Result<Session, CallError>>,
    /// Sessions that are being ended: nothing is said before they are gone.
    closing: JoinSet<()>,
    calls: JoinSet<(PackageName, Ended, End)>,
    /// Sessions that were not begun or broke, since a call was answered, and when the next may be begun.
    broken: u32,
    closed_until: Instant,
    trouble: Trouble,
}

/// What wakes the reporter.
enum Woken {
    Messages(Vec<Delivery>),
    Opened(Box<Result<Session, CallError>>),
    Closed,
    Called(PackageName, Ended, End),
    Asked(Question),
    Progress,
    Due,
    Stop,
}

impl Reporter {
    /// Loads what earlier terms left: the reports that the catalogue refused. `through` is the revision of
    /// this term's own lease.
    pub(crate) async fn load(
        broker: Broker,
        catalogue: Catalogue,
        lease: Lease,
        through: u64,
        (patience, with_progress): (Patience, bool),
    ) -> anyhow::Result<Self> {
        let kept = broker.bucket(BucketName::Poller).load(refusal::KEYS, through).await?;
        Ok(Self {
            broker,
            catalogue,
            lease,
            reports: Reports::new(patience, with_progress),
            patience,
            refusals: Refusals::load(&kept),
            unacknowledged: BTreeMap::new(),
            session: None,
            opening: JoinSet::new(),
            closing: JoinSet::new(),
            calls: JoinSet::new(),
            broken: 0,
            closed_until: Instant::now(),
            trouble: Trouble::default(),
        })
    }

    /// Reports until asked to stop; then lets the calls under way end, and hands back what waits.
    pub(crate) async fn run(
        mut self,
        mut questions: mpsc::Receiver<Question>,
        shutdown: Shutdown,
    ) -> Result<(), Deposed> {
        let (sender, mut messages) = mpsc::channel(1);
        let mut taking = JoinSet::new();
        taking.spawn(intake::forever(self.broker.clone(), sender));
        let mut progress = interval(PROGRESS);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_calls();
            let due = self.next_due();
            let woken = tokio::select! {
                Some(batch) = messages.recv() => Woken::Messages(batch),
                Some(opened) = self.opening.join_next() => Woken::Opened(Box::new(unless_panicked(opened))),
                Some(closed) = self.closing.join_next() => {
                    unless_panicked(closed);
                    Woken::Closed
                }
                Some(called) = self.calls.join_next() => {
                    let (name, ended, end) = unless_panicked(called);
                    Woken::Called(name, ended, end)
                }
                Some(question) = questions.recv() => Woken::Asked(question),
                _ = progress.tick() => Woken::Progress,
                () = sleep_until(due.into()) => Woken::Due,
                () = shutdown.requested() => Woken::Stop,
            };
            match woken {
                Woken::Messages(batch) => self.arrived(batch).await,
                Woken::Opened(opened) => self.opened(*opened),
                Woken::Called(name, ended, end) => self.called(name, ended, end).await?,
                Woken::Asked(question) => {
                    let known = self.unreported().await;
                    let _ = question.send(known);
                }
                Woken::Progress => {
                    for acker in self.unacknowledged.values() {
                        acker.progress().await;
                    }
                }
                Woken::Due | Woken::Closed => {}
                Woken::Stop => return self.stop().await,
            }
        }
    }

    fn next_due(&self) -> Instant {
        let now = Instant::now();
        let far = now + PROGRESS;
        if !self.opening.is_empty() || !self.closing.is_empty() || self.calls.len() >= CALLS {
            return far;
        }
        // without the lease nothing is begun, however long it is due
        let earliest = if self.lease.is_valid() { now } else { now + UNCERTAIN };
        self.reports.next_due().map_or(far, |due| due.max(self.closed_until).max(earliest).min(far))
    }

    async fn arrived(&mut self, batch: Vec<Delivery>) {
        for delivery in batch {
            let status = match message::decode::<PackageStatus>(&delivery.payload) {
                Ok(status) => status,
                Err(refused) => {
                    tracing::warn!("message {} of packages.status is no status: {refused}", delivery.sequence);
                    self.broker
                        .dead_letter(letter(
                            "status",
                            refused.reason,
                            delivery.source(StreamName::Status, None),
                            delivery.payload.clone(),
                        ))
                        .await;
                    delivery.term().await;
                    continue;
                }
            };
            self.unacknowledged.insert(delivery.sequence, delivery.acker());
            let source = delivery.source(StreamName::Status, None);
            let report = Report { source, status, payload: delivery.payload };
            let refused_for = self.refusals.refused_for(&report.status, clock::now());
            for sequence in self.reports.arrive(Instant::now(), report, refused_for) {
                self.acknowledge(sequence).await;
            }
        }
    }

    async fn acknowledge(&mut self, sequence: u64) {
        if let Some(acker) = self.unacknowledged.remove(&sequence) {
            acker.ack().await;
        }
    }

    /// Begins as many calls as may run; ends the session when there is nothing to say.
    fn begin_calls(&mut self) {
        let now = Instant::now();
        let due = self.reports.next_due().is_some_and(|due| due <= now);
        if !due {
            if self.calls.is_empty() {
                self.close();
            }
            return;
        }
        if now < self.closed_until || !self.opening.is_empty() || !self.closing.is_empty() || !self.lease.is_valid() {
            return;
        }
        let Some(caller) = self.session.as_ref().map(Session::caller) else {
            let catalogue = self.catalogue.clone();
            self.opening.spawn(async move { catalogue.open().await });
            return;
        };
        while self.calls.len() < CALLS
            && let Some(report) = self.reports.begin(Instant::now())
        {
            let call = Call {
                broker: self.broker.clone(),
                catalogue: self.catalogue.clone(),
                caller: caller.clone(),
                lease: self.lease.clone(),
            };
            self.calls.spawn(async move {
                let (ended, end) = call.report(&report.status).await;
                (report.status.package_name, ended, end)
            });
        }
    }

    fn opened(&mut self, opened: Result<Session, CallError>) {
        match opened {
            Ok(session) => {
                self.trouble.opened();
                self.session = Some(session);
            }
            Err(error) => {
                let wait = self.broke();
                self.trouble.session(self.reports.packages().len(), wait, &error.to_string());
            }
        }
    }

    /// Waits before the next session, longer each time until a call is answered.
    fn broke(&mut self) -> Duration {
        self.broken = self.broken.saturating_add(1);
        let wait = backoff(self.patience.first, self.patience.longest, self.broken, fastrand::f64());
        self.closed_until = Instant::now() + wait;
        wait
    }

    /// Ends the session aside.
    fn close(&mut self) {
        if let Some(session) = self.session.take() {
            self.closing.spawn(session.close());
        }
    }

    async fn called(&mut self, name: PackageName, ended: Ended, end: End) -> Result<(), Deposed> {
        if end == End::GoesOn {
            self.broken = 0;
            return self.settle(name, ended).await;
        }
        self.broke();
        self.settle(name, ended).await?;
        // whoever did not answer may do so later: nothing more is said before that session is gone
        self.calls.abort_all();
        while let Some(called) = self.calls.join_next().await {
            if let Ok((name, ended, _)) = called {
                self.settle(name, ended).await?;
            }
        }
        self.close();
        for name in self.reports.packages() {
            self.settle(name, Ended::BrokenOff).await?;
        }
        Ok(())
    }

    /// Does what a try's end asks for.
    async fn settle(&mut self, name: PackageName, ended: Ended) -> Result<(), Deposed> {
        let accepted = ended == Ended::Accepted;
        let (why, refused) = match &ended {
            Ended::Refused(why) => (Some(why.clone()), true),
            Ended::Failed(why) => (Some(why.clone()), false),
            Ended::Accepted | Ended::Outdated | Ended::BrokenOff => (None, false),
        };
        match self.reports.ended(Instant::now(), &name, ended, fastrand::f64()) {
            None => {}
            Some(Verdict::Retry(wait)) => {
                let Some(why) = why else { return Ok(()) };
                self.trouble.package(&name, wait, &why);
                let status = self.reports.waiting(&name).filter(|_| refused);
                if let Some(kept) = status.and_then(|status| self.refusals.refused(status, &why, clock::now())) {
                    self.lease.note(refusal::key(&name), Some(kept)).await?;
                }
            }
            Some(Verdict::Done(report)) => {
                if accepted {
                    self.trouble.accepted(&name);
                    tracing::info!("told the catalogue that {name} is {}", word(&report.status));
                    if self.refusals.accepted(&name) {
                        self.lease.note(refusal::key(&name), None).await?;
                    }
                }
                self.acknowledge(report.source.sequence).await;
            }
            Some(Verdict::GiveUp(report, why)) => self.give_up(name, report, why).await?,
        }
        Ok(())
    }

    async fn give_up(&mut self, name: PackageName, report: Report, why: String) -> Result<(), Deposed> {
        tracing::error!("gave up telling the catalogue of {name}, which refused it for an hour: {why}");
        let reason = format!("the catalogue refused it for an hour: {why}");
        self.broker.dead_letter(letter("catalogue", reason, report.source, report.payload)).await;
        let kept = self.refusals.given_up(&report.status, &why, clock::now());
        self.lease.write(refusal::key(&name), kept).await?;
        self.acknowledge(report.source.sequence).await;
        Ok(())
    }

    /// The packages whose outcome the catalogue may not know. That is known when the broker holds no
    /// message that is not here: none undelivered, none with an earlier poller.
    async fn unreported(&self) -> Option<BTreeSet<PackageName>> {
        let state = self.broker.pending(StreamName::Status, topology::CATALOGUE).await;
        let state = state.inspect_err(|error| tracing::debug!("failed to ask for what waits: {error}")).ok()?;
        let here = u64::try_from(self.unacknowledged.len()).unwrap_or(u64::MAX);
        let known = state.pending == 0 && state.ack_pending == here;
        known.then(|| self.reports.packages().into_iter().chain(self.refusals.packages().cloned()).collect())
    }

    async fn stop(mut self) -> Result<(), Deposed> {
        let until = Instant::now() + GRACE;
        while let Ok(Some(called)) =
            timeout(until.saturating_duration_since(Instant::now()), self.calls.join_next()).await
        {
            if let Ok((name, ended, _)) = called {
                self.settle(name, ended).await?;
            }
        }
        self.calls.shutdown().await;
        self.opening.shutdown().await;
        self.close();
        while self.closing.join_next().await.is_some() {}
        for acker in self.unacknowledged.values() {
            acker.nak(Duration::ZERO).await;
        }
        Ok(())
    }
}

/// Tasks of a reporter end by themselves, unless it ends them.
fn unless_panicked<T>(joined: Result<T, JoinError>) -> T {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn letter(kind: &str, reason: String, source: Source, payload: Bytes) -> DeadLetter {
    DeadLetter {
        kind: kind.to_owned(),
        reason,
        source_subject: topology::packages_status(),
        source: Some(source),
        payload,
    }
}

fn word(status: &PackageStatus) -> &'static str {
    match status.status {
        StatusKind::Building => "building",
        StatusKind::Published => published(status.private),
        StatusKind::Failed => "failed",
        StatusKind::Cancelled => "cancelled",
        StatusKind::Queued => "queued",
    }
}
