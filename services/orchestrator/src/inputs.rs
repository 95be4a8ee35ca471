//! How each message of the three streams becomes an input of the scheduler.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use packline_broker::{Acker, DeadLetter, Delivery, StreamName};
use packline_domain::{
    Announcement, BuildResult, Command, Effect, Event, Package,
    message::{Refused, decode},
    record::{Intention, Permit},
};
use packline_scheduler::{Action, Input, Now, Refusal, Slice};

use crate::{
    batch::{Batch, Standing},
    driver::{Driver, Ended},
};

/// Packages of an announcement that go into one commit: each may write three records.
const SLICE: usize = 150;

/// Refused items of one message beyond which the message is one dead letter, whole.
const MANY: usize = 100;

/// An announcement that is too long for one commit.
pub(crate) struct Long {
    sequence: u64,
    packages: Vec<Package>,
    done: usize,
    reported_through: Option<u64>,
    acker: Acker,
}

impl Driver {
    /// One decision. A panic is a fault of the scheduler's: what is in memory is dropped, and the input
    /// that caused it is refused after the reload, so it cannot end one leader after the other (law 12).
    pub(crate) fn apply(&mut self, now: &Now, input: Input) -> Result<Vec<Action>, Fault> {
        match catch_unwind(AssertUnwindSafe(|| self.scheduler.apply(now, input))) {
            Ok(decided) => decided.map_err(Fault::Refused),
            Err(_) => Err(Fault::Panicked),
        }
    }

    /// Takes one message of a stream; it counts as applied with the next commit.
    pub(crate) fn take_input(
        &mut self,
        stream: StreamName,
        delivery: Delivery,
        batch: &mut Batch,
    ) -> Result<(), Ended> {
        let applied = batch
            .positions
            .get(&stream)
            .copied()
            .or_else(|| self.leadership.record.positions.get(stream.as_str()).map(|position| position.sequence));
        let applied = applied.unwrap_or(0);
        if delivery.sequence <= applied {
            return Ok(());
        }
        if delivery.sequence > applied + 1 {
            self.say_missing(stream, applied, delivery.sequence, batch);
        }
        let taken = if self.poison == Some((stream, delivery.sequence)) {
            self.poison = None;
            self.abandon(stream, delivery.sequence, batch)?;
            refuse(
                batch,
                stream,
                &delivery,
                None,
                "the scheduler could not cope with it; please report this message".into(),
                delivery.payload.clone(),
            );
            Ok(())
        } else {
            match stream {
                StreamName::Packages => return self.take_announcement(delivery, batch),
                StreamName::Results => self.take_result(&delivery, batch),
                _ => self.take_command(&delivery, batch),
            }
        };
        if let Err(fault) = taken {
            match fault {
                Fault::Panicked => return Err(Ended::Reload(Some((stream, delivery.sequence)))),
                Fault::Refused(refusal) => {
                    let payload = delivery.payload.clone();
                    refuse(batch, stream, &delivery, None, refusal.to_string(), payload);
                }
            }
        }
        batch.positions.insert(stream, delivery.sequence);
        batch.ackers.insert(stream, delivery.acker());
        Ok(())
    }

    /// A long announcement that is refused, or gone, after its first slices is no longer waited for.
    fn abandon(&mut self, stream: StreamName, sequence: u64, batch: &mut Batch) -> Result<(), Ended> {
        let standing = self.scheduler.intention().and_then(Intention::announcement);
        let Some((Intention { sequence: begun, stream: of, .. }, done)) = standing else { return Ok(()) };
        if *begun != sequence || of != stream.as_str() {
            return Ok(());
        }
        let slice = Slice { stream: of.clone(), sequence, done, last: true };
        let rest = Input::Announced { packages: Vec::new(), reported_through: None, slice: Some(slice) };
        let now = self.now();
        self.feed(batch, &now, rest)
    }

    fn take_announcement(&mut self, delivery: Delivery, batch: &mut Batch) -> Result<(), Ended> {
        let parsed = catch_unwind(|| Announcement::parse(&delivery.payload));
        let Ok(announcement) = parsed else {
            return Err(Ended::Reload(Some((StreamName::Packages, delivery.sequence))));
        };
        if announcement.refused.len() > MANY {
            let (first, all) = (announcement.refused.first(), announcement.refused.len());
            let first = first.map(|refused| refused.reason.as_str()).unwrap_or_default();
            let reason = format!("{all} of its items were refused, the first because: {first}");
            refuse(batch, StreamName::Packages, &delivery, None, reason, delivery.payload.clone());
        } else {
            for Refused { payload, reason, index } in announcement.refused {
                refuse(batch, StreamName::Packages, &delivery, Some(index), reason, payload.into());
            }
        }
        let standing = self.scheduler.intention().and_then(Intention::announcement).map(|(begun, _)| begun.sequence);
        if let Some(gone) = standing.filter(|sequence| *sequence < delivery.sequence) {
            tracing::warn!("the rest of announcement {gone} was deleted before it was queued");
            self.abandon(StreamName::Packages, gone, batch)?;
        }
        let standing = self.scheduler.intention().and_then(Intention::announcement);
        let begun = standing.filter(|(intention, _)| intention.sequence == delivery.sequence).map(|(_, done)| done);
        self.long = Some(Long {
            sequence: delivery.sequence,
            packages: announcement.packages,
            done: begun.unwrap_or(0),
            reported_through: announcement.reported_through,
            acker: delivery.acker(),
        });
        let open = self.scheduler.intention().is_none() || begun.is_some();
        let short = self.long.as_ref().is_some_and(|long| long.packages.len() <= SLICE);
        if open || short { self.announce_slice(batch) } else { Ok(()) }
    }

    /// Announces the next packages of the announcement under way, where one is.
    pub(crate) fn announce_slice(&mut self, batch: &mut Batch) -> Result<(), Ended> {
        let now = self.now();
        let Some(long) = self.long.take() else { return Ok(()) };
        let whole = long.packages.len() <= SLICE;
        let until = (long.done + SLICE).min(long.packages.len());
        let last = until == long.packages.len();
        if !whole && batch.room() < SLICE {
            self.long = Some(long);
            return Ok(());
        }
        let packages = long.packages.get(long.done..until).unwrap_or_default().to_vec();
        let slice = (!whole).then(|| Slice {
            stream: StreamName::Packages.as_str().to_owned(),
            sequence: long.sequence,
            done: until,
            last,
        });
        let input = Input::Announced { packages, reported_through: long.reported_through, slice };
        match self.apply(&now, input) {
            Ok(actions) => batch.absorb(actions),
            Err(Fault::Refused(Refusal::Busy { .. })) => {
                self.long = Some(long);
                return Ok(());
            }
            Err(Fault::Refused(refusal)) => return Err(Ended::Failed(refusal.into())),
            Err(Fault::Panicked) => return Err(Ended::Reload(Some((StreamName::Packages, long.sequence)))),
        }
        if last {
            batch.positions.insert(StreamName::Packages, long.sequence);
            batch.ackers.insert(StreamName::Packages, long.acker);
        } else {
            if long.done == 0 {
                batch.close();
            }
            self.long = Some(Long { done: until, ..long });
        }
        Ok(())
    }

    fn take_result(&mut self, delivery: &Delivery, batch: &mut Batch) -> Result<(), Fault> {
        match decode::<BuildResult>(&delivery.payload) {
            Ok(result) => {
                let permit = self.scheduler.permit(result.permit);
                if permit.is_some_and(|permit| permit.build_id == result.build_id) {
                    batch.name_revision(result.permit, result.permit_revision);
                }
                // A worker's record is stored before its results.
                if let Some(input) = self.newly_behind() {
                    batch.absorb(self.apply(&self.now(), input)?);
                }
                let actions = self.apply(&self.now(), Input::Finished(Box::new(result)))?;
                batch.absorb(actions);
            }
            Err(Refused { payload, reason, .. }) => {
                refuse(batch, StreamName::Results, delivery, None, reason, payload.into());
            }
        }
        Ok(())
    }

    fn take_command(&mut self, delivery: &Delivery, batch: &mut Batch) -> Result<(), Fault> {
        let name = delivery.subject.rsplit('.').next().unwrap_or_default();
        match Command::parse(name, &delivery.payload) {
            Ok((Command::Poll, _)) => {}
            Ok((command, origin)) => {
                let stream = StreamName::Control.as_str().to_owned();
                let input = Input::Commanded { command, origin, stream, sequence: delivery.sequence };
                let actions = self.apply(&self.now(), input)?;
                batch.absorb(actions);
            }
            Err(reason) => {
                refuse(batch, StreamName::Control, delivery, None, reason, delivery.payload.clone());
            }
        }
        Ok(())
    }

    /// What the bucket holds for a permit: the worker that has taken it wrote there.
    ///
    /// # Errors
    /// When the scheduler cannot cope with it.
    pub(crate) fn see_permit(&mut self, entry: &packline_broker::Entry) -> Result<(), Ended> {
        let Some(n) = entry.key.strip_prefix("permits.").and_then(|n| n.parse::<u32>().ok()) else {
            return Ok(());
        };
        if self.permits.get(&n).is_some_and(|standing| standing.revision >= entry.revision) {
            return Ok(());
        }
        let record = entry.value.as_ref().and_then(|value| serde_json::from_slice::<Permit>(value).ok());
        self.permits.insert(n, Standing { revision: entry.revision, stands: entry.value.is_some() });
        let Some(record) = record else { return Ok(()) };
        if let Some(worker) = &record.worker {
            self.liveness.named(self.clock.monotonic(), worker);
        }
        let now = self.now();
        match self.apply(&now, Input::PermitSeen { permit: n, record: Box::new(record) }) {
            Ok(_) => {}
            Err(Fault::Refused(refusal)) => tracing::warn!("permits.{n} is not believed: {refusal}"),
            Err(Fault::Panicked) => return Err(Ended::Reload(None)),
        }
        Ok(())
    }

    /// Reads all permits in one read: a worker wrote one while we meant to withdraw it.
    pub(crate) async fn read_permits(&mut self) -> Result<(), Ended> {
        let entries = self
            .bucket
            .load("permits.*", self.leadership.revision())
            .await
            .map_err(|error| Ended::Failed(error.into()))?;
        for entry in &entries {
            self.see_permit(entry)?;
        }
        Ok(())
    }

    /// Messages between two positions are gone: deleted, or expired before anybody read them.
    fn say_missing(&mut self, stream: StreamName, applied: u64, next: u64, batch: &mut Batch) {
        let now = self.now();
        let (first, last) = (applied + 1, next - 1);
        let message = format!("{} {first} to {last} were deleted or expired before they were read", stream.as_str());
        let event = Event::new("missing", now.at, now.commit, message);
        batch.absorb(vec![Action::Effect(Effect::Event(Box::new(event)))]);
    }
}

/// Why an input was not applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// There is no rule for it.
    #[error("{0}")]
    Refused(Refusal),
    /// A fault of ours.
    #[error("the scheduler panicked")]
    Panicked,
}

/// Refuses a message, or the item of it that `payload` is.
fn refuse(
    batch: &mut Batch,
    stream: StreamName,
    delivery: &Delivery,
    item: Option<usize>,
    reason: String,
    payload: Bytes,
) {
    let kind = match stream {
        StreamName::Packages => "packages",
        StreamName::Results => "results",
        _ => "control",
    };
    let (source_subject, source) = (delivery.subject.clone(), Some(delivery.source(stream, item)));
    batch.letters.push(DeadLetter { kind: kind.into(), reason, source_subject, source, payload });
}
