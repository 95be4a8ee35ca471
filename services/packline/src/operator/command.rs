//! One command: sent, then followed until it is applied and has had its effect.

use std::collections::BTreeSet;

use packline_broker::{Broker, BucketName, Message, StreamName, topology};
use packline_domain::{
    BuildId, Command, Event, Mode, PackageName,
    control::Origin,
    record::{CONTROL, Control, Key, Permit, Queue, State},
    text::published,
};

use super::{
    outcome::{Outcome, Place},
    records::Records,
    send::store,
    wait::{Waiting, leader_of},
};

/// Builds that are named to somebody who waits for them.
const NAMED: usize = 5;

/// A command that is stored.
pub(crate) struct Sent {
    /// Its sequence in `CONTROL`.
    pub(crate) sequence: u64,
    subject: String,
    outcome: Place,
    /// The commit of the last drain before it.
    drained: Option<u64>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is as was wanted.
    Done(String),
    /// It is not, and this is why.
    Nothing(String),
}

/// Stores a command, once.
pub(crate) async fn send(broker: &Broker, command: &Command, origin: &Origin) -> anyhow::Result<Sent> {
    let subject = topology::control(command.name());
    let (outcome, control) = tokio::join!(Place::now(broker), control_now(broker));
    let sequence = store(broker, StreamName::Control, Message::json(&subject, &command.body(origin))).await?;
    Ok(Sent { sequence, subject, outcome, drained: control.and_then(|control| control.drained_commit) })
}

/// The record `control`, where there is one.
async fn control_now(broker: &Broker) -> Option<Control> {
    let entry = broker.bucket(BucketName::Orchestrator).get(CONTROL).await.ok()??;
    serde_json::from_slice(&entry.value?).ok()
}

impl Sent {
    /// Says that it is stored, where nobody waits for more.
    pub(crate) fn told(&self) -> anyhow::Result<()> {
        crate::say(&format!("{} is stored as {} of CONTROL", self.subject, self.sequence))
    }

    /// Waits until it is applied, and has had its effect.
    pub(crate) async fn applied(
        &self,
        broker: &Broker,
        command: &Command,
        waiting: &mut Waiting,
    ) -> anyhow::Result<Effect> {
        let mut outcomes = self.outcome.outcomes(broker);
        let event = match waiting.wait(async || leader_of(broker).await, outcomes.of(self.sequence)).await? {
            Outcome::Applied(event) => event,
            Outcome::Refused(reason) => return Ok(Effect::Nothing(reason)),
        };
        let mut control = Records::<Control>::follow(broker, BucketName::Orchestrator, CONTROL);
        let told = self.complete(&mut control, &event, broker, waiting).await?;
        let unchanged = event.kind == Event::UNCHANGED;
        match command {
            Command::Drain if !unchanged => self.drained(broker, control, waiting).await,
            Command::EmergencyStop if !unchanged => {
                ended(broker, waiting).await?;
                Ok(Effect::Done(format!("{told}; none of its builds is left")))
            }
            Command::Cancel { package_name } => {
                cancelled(broker, package_name, unchanged.then_some(told), waiting).await
            }
            Command::Requeue { package_name } if unchanged => {
                let mut queue = package(broker, package_name);
                queue.changed().await?;
                // It waits for its turn, as was wanted.
                let is_queued = queue.values.values().any(|queue| queue.state == State::Queued);
                Ok(if is_queued { Effect::Done(told) } else { Effect::Nothing(told) })
            }
            Command::Pause | Command::Drain | Command::EmergencyStop if unchanged => Ok(Effect::Nothing(told)),
            Command::Pause
            | Command::Resume
            | Command::Drain
            | Command::EmergencyStop
            | Command::AdjustConcurrency { .. }
            | Command::Requeue { .. }
            | Command::RequeueFailed
            | Command::Poll => Ok(Effect::Done(told)),
        }
    }

    /// Waits until all that it withdraws is withdrawn; what it did, for a person.
    async fn complete(
        &self,
        control: &mut Records<Control>,
        event: &Event,
        broker: &Broker,
        waiting: &mut Waiting,
    ) -> anyhow::Result<String> {
        loop {
            waiting.wait(async || leader_of(broker).await, control.changed()).await?;
            let last = control.values.get(CONTROL).and_then(|control| control.last.as_ref());
            match last {
                Some(last) if last.sequence == self.sequence && !last.complete => {}
                Some(last) if last.sequence == self.sequence => return Ok(last.effect.clone()),
                // One that withdraws holds up the next, and the others are told of when they are complete.
                Some(_) | None => return Ok(event.message.clone()),
            }
        }
    }

    /// Waits for the last build, and the commit that lets every orchestrator exit.
    async fn drained(
        &self,
        broker: &Broker,
        mut control: Records<Control>,
        waiting: &mut Waiting,
    ) -> anyhow::Result<Effect> {
        let mut permits = Records::<Permit>::follow(broker, BucketName::Orchestrator, "permits.*");
        waiting.wait(async || "the permits to be read".into(), permits.changed()).await?;
        loop {
            let Some(now) = control.values.get(CONTROL) else {
                anyhow::bail!("the record {CONTROL} is gone");
            };
            if now.mode == Mode::Drained || now.drained_commit != self.drained {
                let told = "drained: every orchestrator exits, and the next one that starts goes on";
                return Ok(Effect::Done(told.into()));
            }
            if now.mode != Mode::Draining {
                let since = now.last.as_ref().map(|last| last.effect.as_str()).unwrap_or_default();
                return Ok(Effect::Nothing(format!("it drains no longer: {since}")));
            }
            let what = left(permits.values.values());
            let changed = async {
                tokio::select! {
                    changed = control.changed() => changed,
                    changed = permits.changed() => changed,
                }
            };
            waiting.wait(async || what.clone(), changed).await?;
        }
    }
}

/// Waits until none of the builds is left that are being ended now.
async fn ended(broker: &Broker, waiting: &mut Waiting) -> anyhow::Result<()> {
    let mut permits = Records::<Permit>::follow(broker, BucketName::Orchestrator, "permits.*");
    let mut meant: Option<BTreeSet<BuildId>> = None;
    let mut what = "the permits to be read".to_owned();
    loop {
        waiting.wait(async || what.clone(), permits.changed()).await?;
        let ending = || permits.values.values().filter(|permit| permit.ending.is_some());
        let meant = meant.get_or_insert_with(|| ending().map(|permit| permit.build_id.clone()).collect());
        let mut still = permits.values.values().filter(|permit| meant.contains(&permit.build_id)).peekable();
        if still.peek().is_none() {
            return Ok(());
        }
        what = left(still);
    }
}

/// `2 builds: @acme/core on host-1, @acme/app`.
fn left<'a>(permits: impl Iterator<Item = &'a Permit>) -> String {
    let builds: Vec<String> = permits
        .map(|permit| match &permit.worker {
            Some(worker) => format!("{} on {worker}", permit.package_name),
            None => permit.package_name.to_string(),
        })
        .collect();
    let more = if builds.len() > NAMED { ", …" } else { "" };
    let named = builds.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match builds.len() {
        0 => "the leader to commit it".into(),
        1 => format!("1 build: {named}"),
        count => format!("{count} builds: {named}{more}"),
    }
}

fn package(broker: &Broker, package: &PackageName) -> Records<Queue> {
    Records::follow(broker, BucketName::Orchestrator, &Key::Queue(package.clone()).to_string())
}

/// Waits until the build of a cancelled package has ended. `unchanged` says why the command changed nothing.
async fn cancelled(
    broker: &Broker,
    name: &PackageName,
    unchanged: Option<String>,
    waiting: &mut Waiting,
) -> anyhow::Result<Effect> {
    let mut queue = package(broker, name);
    let mut meant: Option<BuildId> = None;
    loop {
        waiting.wait(async || format!("the build of {name} to end"), queue.changed()).await?;
        let state = queue.values.values().next().map(|queue| &queue.state);
        match state {
            Some(State::Cancelled { .. }) => return Ok(Effect::Done(format!("cancelled {name}"))),
            Some(State::Building { build_id, .. }) if meant.get_or_insert_with(|| build_id.clone()) == build_id => {}
            _ if unchanged.is_some() => return Ok(Effect::Nothing(unchanged.unwrap_or_default())),
            Some(State::Published { private, .. }) => {
                let what = published(*private);
                return Ok(Effect::Nothing(format!("{name} was {what} before its build could be ended")));
            }
            Some(State::Building { .. } | State::Queued | State::Retrying { .. } | State::Failed { .. }) | None => {
                return Ok(Effect::Nothing(format!("{name} was wanted again before its build had ended")));
            }
        }
    }
}
