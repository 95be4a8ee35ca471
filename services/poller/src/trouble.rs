//! What is said of reports that do not get through: a line for each package and reason, one for a session that breaks,
//! and none for each further try.

use std::{collections::BTreeMap, time::Duration};

use packline_domain::PackageName;

use crate::failures::{Failures, Told};

/// So many packages are named; what more there are, is said once.
const NAMED: usize = 100;

/// What was said, and of which packages.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    sessions: Failures,
    packages: BTreeMap<PackageName, Failures>,
}

impl Trouble {
    /// No session was begun, while this many packages waited.
    pub(crate) fn session(&mut self, count: usize, wait: Duration, why: &str) {
        let wait = shown(wait);
        match self.sessions.note(Some(why)) {
            Told::New => {
                tracing::warn!("failed to tell the catalogue of {count} packages, trying again in {wait}: {why}");
            }
            _ => tracing::debug!("failed again to tell the catalogue of {count} packages, next in {wait}: {why}"),
        }
    }

    /// The report of one package did not get through.
    pub(crate) fn package(&mut self, name: &PackageName, wait: Duration, why: &str) {
        let (wait, known) = (shown(wait), self.packages.len());
        let told = self.packages.entry(name.clone()).or_default().note(Some(why));
        match told {
            Told::New if self.packages.len() <= NAMED => {
                tracing::warn!("the catalogue was not told of {name}, trying again in {wait}: {why}");
            }
            Told::New if known == NAMED && self.packages.len() > NAMED => {
                tracing::warn!("the catalogue was not told of more than {NAMED} packages; no more are named");
            }
            _ => tracing::debug!("the catalogue was not told of {name}, trying again in {wait}: {why}"),
        }
    }

    /// A session was begun.
    pub(crate) fn opened(&mut self) {
        if let Told::Over(times) = self.sessions.note(None) {
            tracing::info!("the catalogue can be told again, after {times} failures");
        }
    }

    /// A report was accepted.
    pub(crate) fn accepted(&mut self, name: &PackageName) {
        self.packages.remove(name);
    }
}

fn shown(wait: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
}
