//! One call of the catalogue's update tool.

use packline_broker::{Broker, BucketName};
use packline_domain::{
    PackageStatus,
    record::{Key, Queue},
};

use crate::{
    catalogue::Catalogue,
    lease::Lease,
    report::Ended,
    session::{CallError, Caller},
};

/// Whether the session goes on after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    GoesOn,
    Ends,
}

/// What a call needs, away from the reporter.
pub(crate) struct Call {
    pub(crate) broker: Broker,
    pub(crate) catalogue: Catalogue,
    pub(crate) caller: Caller,
    pub(crate) lease: Lease,
}

impl Call {
    /// Says where a package stands, unless a later commit has said something else, or it is not certain
    /// that this poller is active.
    pub(crate) async fn report(&self, status: &PackageStatus) -> (Ended, End) {
        match self.is_outdated(status).await {
            Ok(true) => return (Ended::Outdated, End::GoesOn),
            Ok(false) => {}
            Err(why) => return (Ended::Failed(why), End::GoesOn),
        }
        // a poller that stood still must not speak: another may be active
        if !self.lease.is_valid() {
            return (Ended::Failed("it is not certain that this poller is active".into()), End::GoesOn);
        }
        match self.catalogue.update(&self.caller, status).await {
            Ok(()) => (Ended::Accepted, End::GoesOn),
            Err(CallError::Refused(why)) => (Ended::Refused(why), End::GoesOn),
            Err(error @ CallError::Failed(_)) => (Ended::Failed(error.to_string()), End::GoesOn),
            Err(error @ (CallError::TimedOut(_) | CallError::Broken(_))) => {
                (Ended::Failed(error.to_string()), End::Ends)
            }
        }
    }

    /// Whether a later commit has said something else about the package.
    async fn is_outdated(&self, status: &PackageStatus) -> Result<bool, String> {
        let key = Key::Queue(status.package_name.clone()).to_string();
        let entry = self.broker.bucket(BucketName::Orchestrator).get(&key).await.map_err(|error| error.to_string())?;
        let Some(value) = entry.and_then(|entry| entry.value) else { return Ok(false) };
        match serde_json::from_slice::<Queue>(&value) {
            Ok(record) => Ok(status.commit < record.status_commit),
            Err(error) => Err(format!("the record {key} cannot be read: {error}")),
        }
    }
}
