//! What the orchestrator made of one command: its event, or its dead letter.

use anyhow::Context;
use packline_broker::{Broker, Follow, Followed, From, StreamName, topology};
use packline_domain::Event;

/// The outcome of a command.
pub(crate) enum Outcome {
    /// It was applied; this is the event that tells it.
    Applied(Box<Event>),
    /// It is a dead letter, for this reason.
    Refused(String),
}

/// Where the outcomes of commands that are still to be sent will stand.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    events: u64,
    dead: u64,
}

impl Place {
    /// Behind all that there is now. A stream that is not there yet begins with 1.
    pub(crate) async fn now(broker: &Broker) -> Self {
        let next = async |stream| broker.stream_state(stream).await.map_or(1, |state| state.last_sequence + 1);
        Self { events: next(StreamName::Events).await, dead: next(StreamName::Dead).await }
    }

    /// Follows them.
    pub(crate) fn outcomes(self, broker: &Broker) -> Outcomes {
        let dead = topology::dead("control");
        Outcomes {
            events: broker.follow(StreamName::Events, StreamName::Events.subject(), From::Sequence(self.events)),
            dead: broker.follow(StreamName::Dead, &dead, From::Sequence(self.dead)),
        }
    }
}

/// The outcomes of commands.
pub(crate) struct Outcomes {
    events: Follow,
    dead: Follow,
}

impl Outcomes {
    /// The outcome of the command with this sequence in `CONTROL`; waits for it. Cancellation safe.
    pub(crate) async fn of(&mut self, sequence: u64) -> anyhow::Result<Outcome> {
        loop {
            tokio::select! {
                seen = self.events.next() => {
                    let Followed::Message(message) = seen.context("failed to follow EVENTS")? else { continue };
                    let event = serde_json::from_slice::<Event>(&message.payload);
                    if let Ok(event) = event && event.command == Some(sequence) {
                        return Ok(Outcome::Applied(Box::new(event)));
                    }
                }
                seen = self.dead.next() => {
                    let Followed::Message(message) = seen.context("failed to follow DEAD")? else { continue };
                    if message.header("Source-Sequence").is_some_and(|source| source == sequence.to_string()) {
                        let reason = message.header("Reason").unwrap_or("for no reason that was given");
                        return Ok(Outcome::Refused(reason.to_owned()));
                    }
                }
            }
        }
    }
}
