//! `refused.<package>`: a report that the catalogue refuses, so that the next poller knows since when.

use std::{collections::BTreeMap, time::Duration};

use packline_broker::Entry;
use packline_domain::{PackageName, PackageStatus, SCHEMA, Timestamp};
use serde::{Deserialize, Serialize};

/// What stands before the package in the key.
const PREFIX: &str = "refused.";

/// All such keys.
pub(crate) const KEYS: &str = "refused.>";

/// The key of a package's last report that the catalogue refused.
pub(crate) fn key(name: &PackageName) -> String {
    format!("{PREFIX}{}", name.key())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(default)]
    schema: u32,
    /// When it was refused first.
    #[serde(default)]
    since: Timestamp,
    /// When it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    error: String,
    report: PackageStatus,
}

/// The packages of which the catalogue refused a report and has accepted none since.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    packages: BTreeMap<PackageName, Refusal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    /// Of the report that was refused.
    commit: u64,
    since: Timestamp,
}

impl Refusals {
    /// As earlier pollers left them.
    pub(crate) fn load(entries: &[Entry]) -> Self {
        let packages = entries.iter().filter_map(|entry| {
            let name = PackageName::from_key(entry.key.strip_prefix(PREFIX)?).ok()?;
            let value = entry.value.as_ref()?;
            // what cannot be read still says that a report was refused
            let known = serde_json::from_slice::<Record>(value).ok();
            let refusal = known.map(|record| Refusal { commit: record.report.commit, since: record.since });
            Some((name, refusal.unwrap_or(Refusal { commit: 0, since: Timestamp::default() })))
        });
        Self { packages: packages.collect() }
    }

    /// For how long this very report has been refused; zero where it has not, or where the clock went back.
    pub(crate) fn refused_for(&self, report: &PackageStatus, now: Timestamp) -> Option<Duration> {
        let refusal = self.packages.get(&report.package_name)?;
        (refusal.commit == report.commit).then(|| now.since(refusal.since))
    }

    /// A report was refused: the record to keep, where that is news.
    pub(crate) fn refused(&mut self, report: &PackageStatus, error: &str, now: Timestamp) -> Option<Vec<u8>> {
        let known = self.packages.get(&report.package_name);
        if known.is_some_and(|known| known.commit == report.commit) {
            return None;
        }
        self.packages.insert(report.package_name.clone(), Refusal { commit: report.commit, since: now });
        record(report, error, now, None)
    }

    /// A report is given up: the record to keep.
    pub(crate) fn given_up(&mut self, report: &PackageStatus, error: &str, now: Timestamp) -> Option<Vec<u8>> {
        let known = self.packages.get(&report.package_name).filter(|known| known.commit == report.commit);
        let since = known.map_or(now, |known| known.since);
        self.packages.insert(report.package_name.clone(), Refusal { commit: report.commit, since });
        record(report, error, since, Some(now))
    }

    /// The catalogue accepted a report; whether a record has to go.
    pub(crate) fn accepted(&mut self, name: &PackageName) -> bool {
        self.packages.remove(name).is_some()
    }

    /// The packages, all of them.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &PackageName> {
        self.packages.keys()
    }
}

fn record(report: &PackageStatus, error: &str, since: Timestamp, at: Option<Timestamp>) -> Option<Vec<u8>> {
    serde_json::to_vec(&Record { schema: SCHEMA, since, at, error: error.to_owned(), report: report.clone() }).ok()
}

#[cfg(test)]
mod tests {
    use packline_domain::StatusKind;

    use super::*;

    fn report(commit: u64) -> PackageStatus {
        PackageStatus {
            schema: 1,
            package_name: "@acme/core".parse().unwrap(),
            id: None,
            status: StatusKind::Failed,
            error: None,
            failed_phase: None,
            attempts: 1,
            build_id: None,
            version: None,
            private: false,
            tests: None,
            commit,
        }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    fn entry(value: Vec<u8>) -> Entry {
        Entry { key: key(&report(1).package_name), value: Some(value.into()), revision: 1 }
    }

    #[test]
    fn the_next_poller_knows_since_when_a_report_is_refused() {
        let mut first = Refusals::default();
        let kept = first.refused(&report(5), "unknown package", at(10)).unwrap();
        assert_eq!(first.refused(&report(5), "unknown package", at(20)), None, "written once");
        let next = Refusals::load(&[entry(kept)]);
        assert_eq!(next.refused_for(&report(5), at(40)), Some(Duration::from_secs(1800)));
        assert_eq!(next.refused_for(&report(6), at(40)), None, "another report has an hour of its own");
        assert_eq!(next.refused_for(&report(5), at(0)), Some(Duration::ZERO), "a clock that went back");
    }

    #[test]
    fn a_package_counts_as_refused_until_a_report_is_accepted() {
        let mut refusals = Refusals::default();
        refusals.refused(&report(5), "no", at(10));
        let kept: serde_json::Value =
            serde_json::from_slice(&refusals.given_up(&report(5), "no", at(70)).unwrap()).unwrap();
        assert_eq!(
            (&kept["since"], &kept["at"]),
            (&"1970-01-01T00:10:00.000Z".into(), &"1970-01-01T01:10:00.000Z".into())
        );
        assert_eq!(refusals.packages().count(), 1);
        assert!(refusals.accepted(&report(5).package_name));
        assert!(!refusals.accepted(&report(5).package_name));
        assert_eq!(refusals.packages().count(), 0);
    }

    #[test]
    fn a_record_that_cannot_be_read_still_leaves_its_package_out() {
        assert_eq!(Refusals::load(&[entry(b"rubbish".to_vec())]).packages().count(), 1);
    }
}
