//! Which report goes to the catalogue, and when. Pure: it is told the time and the luck.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use packline_broker::Source;
use packline_domain::{PackageName, PackageStatus, StatusKind};
use serde_json::{Map, Value, json};

use crate::{config::UpdateId, schedule::backoff};

/// One message of `packages.status` that the catalogue is to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Where it stands in the stream.
    pub source: Source,
    /// What it says.
    pub status: PackageStatus,
    /// As it came.
    pub payload: Bytes,
}

/// How long things take before something else is done.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The first wait after a failed call.
    pub first: Duration,
    /// The longest wait between two calls.
    pub longest: Duration,
    /// A report that the tool itself refuses for so long is given up.
    pub refused: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(300),
            refused: Duration::from_secs(3600),
        }
    }
}

/// How one try to report ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The catalogue has it.
    Accepted,
    /// A later commit has decided something else about the package: nothing was said.
    Outdated,
    /// The tool itself said no, and why.
    Refused(String),
    /// No answer, or none of the tool's own, and why.
    Failed(String),
    /// Broken off by us, through no fault of this report.
    BrokenOff,
}

/// What is to be done after a try.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing more: acknowledge it.
    Done(Report),
    /// Dead-letter it, note that it was refused, acknowledge it.
    GiveUp(Report, String),
    /// It is tried again after this long.
    Retry(Duration),
}

/// The reports that wait: of each package the newest, and one call at a time.
#[derive(Debug)]
pub struct Reports {
    patience: Patience,
    with_progress: bool,
    packages: BTreeMap<PackageName, Desk>,
}

/// What is known about one package.
#[derive(Debug, Default)]
struct Desk {
    calling: Option<Waiting>,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    report: Report,
    due: Instant,
    tries: u32,
    /// Since when the tool itself refuses it, and for how long it did before that.
    refused: Option<(Instant, Duration)>,
}

impl Reports {
    /// None yet. Without `with_progress` only outcomes are reported.
    pub fn new(patience: Patience, with_progress: bool) -> Self {
        Self { patience, with_progress, packages: BTreeMap::new() }
    }

    /// Takes in one message; answers the sequences of those that need not be reported any more. `refused_for` is how
    /// long an earlier poller saw it refused.
    pub fn arrive(&mut self, now: Instant, report: Report, refused_for: Option<Duration>) -> Vec<u64> {
        if !self.is_reported(report.status.status) {
            return vec![report.source.sequence];
        }
        let desk = self.packages.entry(report.status.package_name.clone()).or_default();
        let known: Vec<&Report> = [&desk.calling, &desk.waiting].into_iter().flatten().map(|w| &w.report).collect();
        if known.iter().any(|known| known.source.sequence == report.source.sequence) {
            return Vec::new();
        }
        if known.iter().any(|known| known.status.commit >= report.status.commit) {
            return vec![report.source.sequence];
        }
        let refused = refused_for.map(|before| (now, before));
        let newest = Waiting { report, due: now, tries: 0, refused };
        desk.waiting.replace(newest).map(|older| older.report.source.sequence).into_iter().collect()
    }

    fn is_reported(&self, status: StatusKind) -> bool {
        match status {
            StatusKind::Published | StatusKind::Failed | StatusKind::Cancelled => true,
            StatusKind::Building | StatusKind::Queued => self.with_progress,
        }
    }

    /// The next report that is to be tried now, the one that has waited longest; it counts as being tried
    /// until [`Self::ended`].
    pub fn begin(&mut self, now: Instant) -> Option<Report> {
        let (due, name) = self.first_due()?;
        if due > now {
            return None;
        }
        let name = name.clone();
        let desk = self.packages.get_mut(&name)?;
        desk.calling = desk.waiting.take();
        desk.calling.as_ref().map(|waiting| waiting.report.clone())
    }

    /// When the next report is to be tried; `None` where none waits.
    pub fn next_due(&self) -> Option<Instant> {
        self.first_due().map(|(due, _)| due)
    }

    fn first_due(&self) -> Option<(Instant, &PackageName)> {
        let idle = self.packages.iter().filter(|(_, desk)| desk.calling.is_none());
        idle.filter_map(|(name, desk)| desk.waiting.as_ref().map(|waiting| (waiting.due, name))).min()
    }

    /// How a try ended, and so what comes next; `None` where nothing was being tried. `random` is from 0 to 1.
    pub fn ended(&mut self, now: Instant, name: &PackageName, ended: Ended, random: f64) -> Option<Verdict> {
        let desk = self.packages.get_mut(name)?;
        let mut tried = desk.calling.take()?;
        let newer = desk.waiting.is_some();
        let failure = match ended {
            Ended::Accepted | Ended::Outdated => None,
            Ended::BrokenOff if !newer => {
                tried.due = now;
                desk.waiting = Some(tried);
                return Some(Verdict::Retry(Duration::ZERO));
            }
            Ended::Refused(why) => {
                let (since, before) = *tried.refused.get_or_insert((now, Duration::ZERO));
                Some((why, before + now.saturating_duration_since(since) >= self.patience.refused))
            }
            Ended::Failed(why) => Some((why, false)),
            Ended::BrokenOff => None,
        };
        match failure {
            Some((why, true)) => {
                self.forget_if_empty(name);
                Some(Verdict::GiveUp(tried.report, why))
            }
            Some(_) if !newer => {
                tried.tries = tried.tries.saturating_add(1);
                let wait = backoff(self.patience.first, self.patience.longest, tried.tries, random);
                tried.due = now + wait;
                desk.waiting = Some(tried);
                Some(Verdict::Retry(wait))
            }
            // what a newer report overtakes need not be said any more
            Some(_) | None => {
                self.forget_if_empty(name);
                Some(Verdict::Done(tried.report))
            }
        }
    }

    fn forget_if_empty(&mut self, name: &PackageName) {
        if self.packages.get(name).is_some_and(|desk| desk.calling.is_none() && desk.waiting.is_none()) {
            self.packages.remove(name);
        }
    }

    /// The report of a package that waits.
    pub fn waiting(&self, name: &PackageName) -> Option<&PackageStatus> {
        self.packages.get(name)?.waiting.as_ref().map(|waiting| &waiting.report.status)
    }

    /// The packages of which a report waits or is being tried.
    pub fn packages(&self) -> BTreeSet<PackageName> {
        self.packages.keys().cloned().collect()
    }
}

/// The arguments of the update tool.
pub fn arguments(status: &PackageStatus, by: UpdateId) -> Map<String, Value> {
    let id = match by {
        UpdateId::Id => status.id.clone().unwrap_or_else(|| status.package_name.to_string()),
        UpdateId::Name => status.package_name.to_string(),
    };
    let (word, error) = match status.status {
        StatusKind::Building => ("building", status.error.clone()),
        StatusKind::Queued => ("queued", status.error.clone()),
        StatusKind::Published => ("published", status.error.clone()),
        StatusKind::Failed => ("failed", status.error.clone()),
        StatusKind::Cancelled => ("failed", Some(cancelled(status.error.as_deref()))),
    };
    let mut metadata = Map::new();
    let mut note = |field: &str, value: Option<Value>| value.map(|value| metadata.insert(field.into(), value));
    note("error", error.map(Value::from));
    note("failedPhase", status.failed_phase.clone().map(Value::from));
    note("attempts", Some(status.attempts.into()));
    note("buildId", status.build_id.as_ref().map(|id| id.to_string().into()));
    note("version", status.version.clone().map(Value::from));
    note("private", status.private.then_some(Value::Bool(true)));
    note("tests", status.tests.map(|tests| json!(tests)));
    let mut arguments = Map::new();
    arguments.insert("id".into(), id.into());
    arguments.insert("data".into(), json!({ "status": word, "metadata": metadata }));
    arguments
}

/// A catalogue knows no cancelled packages, so the error says it.
fn cancelled(error: Option<&str>) -> String {
    match error {
        Some(said) if said.starts_with("cancelled by ") => said.to_owned(),
        Some(said) if !said.is_empty() => format!("cancelled by an operator: {said}"),
        _ => "cancelled by an operator".to_owned(),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
