//! What is seen from outside while it happens.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use packline_broker::{Broker, BucketName, Watched};
use packline_domain::record::Permit;
use packline_tests::Workshop;

/// One look at all processes.
pub(crate) struct Sight {
    pub(crate) began: Instant,
    pub(crate) builds: Vec<String>,
}

/// Looks at all processes again and again.
pub(crate) fn builds(workshop: &Workshop, over: &AtomicBool) -> Vec<Sight> {
    let (mut sights, mut before) = (Vec::new(), Vec::<String>::new());
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let now: Vec<String> = workshop.alive().into_keys().collect();
        // In this look and the one before: alive when this one began, all at once, however long a look takes.
        let builds: Vec<String> = now.iter().filter(|build| before.contains(build)).cloned().collect();
        if !builds.is_empty() {
            sights.push(Sight { began, builds });
        }
        before = now;
        std::thread::sleep(Duration::from_millis(20));
    }
    sights
}

/// When the permit of each build was seen to be gone; it was gone no later than that.
pub(crate) async fn permits(broker: Broker, over: Arc<AtomicBool>) -> BTreeMap<String, Instant> {
    let mut watch = broker.bucket(BucketName::Orchestrator).watch("permits.*");
    let (mut stands, mut gone) = (BTreeMap::new(), BTreeMap::new());
    while !over.load(Ordering::Relaxed) {
        let Ok(Watched::Entry(entry)) = tokio::time::timeout(Duration::from_millis(200), watch.next()).await else {
            continue;
        };
        let permit = entry.value.and_then(|value| serde_json::from_slice::<Permit>(&value).ok());
        let build = permit.map(|permit| permit.build_id.to_string());
        let before = match &build {
            Some(build) => stands.insert(entry.key, build.clone()),
            None => stands.remove(&entry.key),
        };
        if let Some(before) = before.filter(|before| build.as_ref() != Some(before)) {
            gone.entry(before).or_insert_with(Instant::now);
        }
    }
    gone
}
