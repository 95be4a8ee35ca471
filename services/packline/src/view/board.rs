//! What is known of the line, from the records that it keeps.

use std::collections::BTreeMap;

use packline_domain::{
    PackageName,
    record::{Control, Key, Permit, Queue, Record, Retries, State},
};

/// The newest word of every record that shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    pub(crate) control: Option<Control>,
    pub(crate) queue: BTreeMap<PackageName, Queue>,
    pub(crate) retries: BTreeMap<PackageName, Retries>,
    pub(crate) permits: BTreeMap<u32, Permit>,
    pub(crate) workers: BTreeMap<String, packline_domain::record::Worker>,
    /// Whether the bucket `orchestrator` has said all that it has.
    pub(crate) is_whole: bool,
}

impl Board {
    /// Takes in one entry of the bucket `orchestrator`; no value: the key is gone.
    pub(crate) fn note(&mut self, key: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
        let Ok(key) = key.parse::<Key>() else { return Ok(()) };
        let record = value.map(|value| Record::decode(&key, value)).transpose()?.flatten();
        match (key, record) {
            (Key::Control, Some(Record::Control(control))) => self.control = Some(*control),
            (Key::Queue(name), Some(Record::Queue(queue))) => drop(self.queue.insert(name, *queue)),
            (Key::Queue(name), None) => drop(self.queue.remove(&name)),
            (Key::Retries(name), Some(Record::Retries(retries))) => drop(self.retries.insert(name, *retries)),
            (Key::Retries(name), None) => drop(self.retries.remove(&name)),
            (Key::Permit(n), Some(Record::Permit(permit))) => drop(self.permits.insert(n, *permit)),
            (Key::Permit(n), None) => drop(self.permits.remove(&n)),
            _ => {}
        }
        Ok(())
    }

    /// Forgets what the bucket `orchestrator` said: it says all of it again.
    pub(crate) fn forget(&mut self) {
        *self = Self { workers: std::mem::take(&mut self.workers), ..Self::default() };
    }

    /// Takes in one entry of the bucket `workers`.
    pub(crate) fn note_worker(&mut self, name: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
        match value {
            Some(value) => drop(self.workers.insert(name.to_owned(), serde_json::from_slice(value)?)),
            None => drop(self.workers.remove(name)),
        }
        Ok(())
    }

    /// What a package needs, as announced.
    pub(crate) fn dependencies(&self, name: &PackageName) -> &[PackageName] {
        self.queue.get(name).map_or(&[], |record| &record.package.dependencies)
    }

    /// The permit of a package's build. Records of one commit arrive one by one: a permit counts only while
    /// its package is building.
    pub(crate) fn permit_of(&self, name: &str) -> Option<&Permit> {
        let State::Building { permit, .. } = self.queue.get(name)?.state else { return None };
        self.permits.get(&permit).filter(|permit| permit.package_name.as_str() == name)
    }

    /// The phase that a build is in, as its worker last said.
    pub(crate) fn phase_of(&self, permit: &Permit) -> Option<&str> {
        let worker = self.workers.get(permit.worker.as_ref()?)?;
        worker.builds.iter().find(|build| build.build_id == permit.build_id)?.phase.as_deref()
    }

    /// The number of the attempt that runs, else of the last one: since it was queued afresh the first is 1.
    pub(crate) fn attempts(&self, name: &str) -> u32 {
        let last = || self.retries.get(name)?.attempts.last().map(|last| last.attempt);
        self.permit_of(name).map(|permit| permit.attempt).or_else(last).unwrap_or_default()
    }
}
