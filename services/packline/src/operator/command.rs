//! One command: sent, then followed until it is applied and has had its effect.

use std::time::Duration;

use anyhow::Context;
use packline_broker::{Broker, BucketName, Message, topology};
use packline_domain::{
    Command, Mode, PackageName,
    control::{LastControl, Origin},
    record::{CONTROL, Control, Key, Permit, Queue, State},
};

use super::{ask::ask, records::Records, wait::Waiting};

/// How long the broker may take to store a command.
const STORED_WITHIN: Duration = Duration::from_secs(15);
/// Builds that are named to somebody who waits for them.
const NAMED: usize = 5;

/// A command that is stored.
pub(crate) struct Sent {
    pub(crate) subject: String,
    /// Its sequence in `CONTROL`.
    pub(crate) sequence: u64,
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
    let sequence = store(broker, Message::json(&subject, &command.body(origin))).await?;
    Ok(Sent { subject, sequence })
}

/// Stores a message of an operator, once; its sequence.
pub(crate) async fn store(broker: &Broker, message: Message) -> anyhow::Result<u64> {
    let subject = message.subject.clone();
    let stored = async {
        // Given before anything else runs it must not be lost.
        broker.ensure_topology().await?;
        let id = format!("packline-{:032x}", fastrand::u128(..));
        anyhow::Ok(broker.publish_stored(vec![Message { id: Some(id), ..message }]).await)
    };
    let stored = tokio::time::timeout(STORED_WITHIN, stored).await.with_context(|| {
        format!("the broker has not stored {subject}: it does not answer, or this user may not publish there")
    })??;
    Ok(stored.first().copied().unwrap_or_default())
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
        let mut control = Records::<Control>::follow(broker, BucketName::Orchestrator, CONTROL);
        let last = loop {
            waiting.wait(leader_of(broker), control.changed()).await?;
            let last = control.values.get(CONTROL).and_then(|control| control.last.as_ref());
            match last.filter(|last| last.sequence >= self.sequence) {
                Some(last) if last.sequence > self.sequence => {
                    return Ok(Effect::Done(format!("applied; since then: {}", last.effect)));
                }
                Some(last) if last.complete => break last.clone(),
                Some(_) | None => {}
            }
        };
        match command {
            Command::Pause => Ok(mode_is(Mode::Paused, &control, &last)),
            Command::Resume => Ok(mode_is(Mode::Running, &control, &last)),
            Command::Drain => drained(broker, control, &last, waiting).await,
            Command::EmergencyStop => match mode_is(Mode::Stopped, &control, &last) {
                Effect::Done(told) => {
                    no_permits(broker, waiting).await?;
                    Ok(Effect::Done(format!("{told}; no build is left")))
                }
                nothing @ Effect::Nothing(_) => Ok(nothing),
            },
            Command::Cancel { package_name } => cancelled(broker, package_name, last, waiting).await,
            Command::Requeue { .. } if last.unchanged => Ok(Effect::Nothing(last.effect)),
            Command::AdjustConcurrency { .. } | Command::Requeue { .. } | Command::RequeueFailed | Command::Poll => {
                Ok(Effect::Done(last.effect))
            }
        }
    }
}

/// For whom a command waits that is not applied.
pub(crate) async fn leader_of(broker: &Broker) -> String {
    match ask(broker, "orchestrator.state", &()).await {
        Ok(state) => {
            let leader = state.get("leader").and_then(|leader| leader.as_str()).unwrap_or("the leader").to_owned();
            format!("{leader} works off what came before")
        }
        Err(_) => "no orchestrator leads; the command is stored, and applied when one starts".into(),
    }
}

fn mode_is(wanted: Mode, control: &Records<Control>, last: &LastControl) -> Effect {
    match control.values.get(CONTROL) {
        Some(control) if control.mode == wanted => Effect::Done(last.effect.clone()),
        Some(_) | None => Effect::Nothing(last.effect.clone()),
    }
}

/// Waits for the last build, and the commit that lets every orchestrator exit.
async fn drained(
    broker: &Broker,
    mut control: Records<Control>,
    last: &LastControl,
    waiting: &mut Waiting,
) -> anyhow::Result<Effect> {
    let drained_commit = |control: &Records<Control>| control.values.get(CONTROL)?.drained_commit;
    let before = drained_commit(&control);
    let mut permits = Records::<Permit>::follow(broker, BucketName::Orchestrator, "permits.*");
    permits.changed().await?;
    loop {
        let Some(now) = control.values.get(CONTROL) else { return Ok(Effect::Nothing("nothing is known".into())) };
        // A drain while it drains already finds the commit there when it is applied.
        if now.mode == Mode::Drained || drained_commit(&control) != before {
            return Ok(Effect::Done("drained: every orchestrator exits, and the next one that starts goes on".into()));
        }
        if now.mode != Mode::Draining {
            let since = now.last.as_ref().map_or(&last.effect, |last| &last.effect);
            return Ok(Effect::Nothing(format!("it is not draining: {since}")));
        }
        let what = std::future::ready(left(&permits));
        waiting
            .wait(what, async {
                tokio::select! {
                    changed = control.changed() => changed,
                    changed = permits.changed() => changed,
                }
            })
            .await?;
    }
}

/// Waits until no build holds a permit.
async fn no_permits(broker: &Broker, waiting: &mut Waiting) -> anyhow::Result<()> {
    let mut permits = Records::<Permit>::follow(broker, BucketName::Orchestrator, "permits.*");
    permits.changed().await?;
    while !permits.values.is_empty() {
        waiting.wait(std::future::ready(left(&permits)), permits.changed()).await?;
    }
    Ok(())
}

/// `2 builds: @acme/core on host-1, @acme/app`.
fn left(permits: &Records<Permit>) -> String {
    let builds = permits.values.values().map(|permit| match &permit.worker {
        Some(worker) => format!("{} on {worker}", permit.package_name),
        None => permit.package_name.to_string(),
    });
    let named: Vec<String> = builds.take(NAMED).collect();
    let more = if permits.values.len() > NAMED { ", …" } else { "" };
    match permits.values.len() {
        0 => "the leader to commit it".into(),
        1 => format!("1 build: {}", named.join(", ")),
        count => format!("{count} builds: {}{more}", named.join(", ")),
    }
}

/// Waits until the build of a cancelled package has ended.
async fn cancelled(
    broker: &Broker,
    package: &PackageName,
    last: LastControl,
    waiting: &mut Waiting,
) -> anyhow::Result<Effect> {
    let key = Key::Queue(package.clone()).to_string();
    let mut queue = Records::<Queue>::follow(broker, BucketName::Orchestrator, &key);
    loop {
        let what = format!("the build of {package} to end");
        waiting.wait(std::future::ready(what), queue.changed()).await?;
        match queue.values.get(&key).map(|queue| &queue.state) {
            Some(State::Cancelled { .. }) => return Ok(Effect::Done(format!("cancelled {package}"))),
            Some(State::Building { .. }) => {}
            _ if last.unchanged => return Ok(Effect::Nothing(last.effect)),
            Some(State::Published { .. }) => {
                return Ok(Effect::Nothing(format!("{package} was published before its build could be ended")));
            }
            Some(State::Queued | State::Retrying { .. } | State::Failed { .. }) | None => {
                return Ok(Effect::Nothing(format!("{package} was wanted again before its build had ended")));
            }
        }
    }
}
