//! How the stand-in treats a request that a test has something in mind for.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::watch;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, besides those that say how long it is.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer without a body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An answer with an error as registries write it.
    pub fn error(status: u16, error: &str) -> Self {
        Self::new(status).json(&serde_json::json!({ "error": error }))
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With a body of JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }
}

/// What is done with one request instead of the usual.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Reads it, stores nothing, answers so.
    Answer(Answer),
    /// Stores, and answers so: a proxy before the registry that has given up, for one.
    StoreThenAnswer(Answer),
    /// Stores, and closes the connection without an answer.
    StoreThenClose,
    /// Reads it, stores nothing, and closes the connection without an answer.
    Close,
    /// Closes the connection before it reads the body.
    CloseBeforeBody,
    /// Answers 201 and stores nothing.
    Accept,
    /// The request arrives twice, as when a proxy sends it again after it has lost the first answer: both are noted
    /// and processed, and the client gets the answer to the second, which for a put is 409.
    Twice,
    /// Reads the body so many bytes at a time, with a pause after each.
    Paced {
        /// How many bytes at most.
        bytes: usize,
        /// How long it waits before it reads on.
        pause: Duration,
    },
    /// Stores, and shows what was there before to so many GETs of this package.
    ShowLate(usize),
}

/// What tests have planned, per method.
#[derive(Debug, Default)]
pub(super) struct Script {
    planned: HashMap<&'static str, VecDeque<Plan>>,
}

/// One behaviour, with the gates that tests have handles of.
#[derive(Debug)]
pub(super) enum Plan {
    Behave(Behaviour),
    HoldBody { after: usize, gate: Gate },
    HoldAnswer(Gate),
}

impl Script {
    pub(super) fn put(&mut self, method: &'static str, behaviour: Behaviour) {
        self.plan(method, Plan::Behave(behaviour));
    }

    pub(super) fn put_held_body(&mut self, method: &'static str, after: usize, gate: Gate) {
        self.plan(method, Plan::HoldBody { after, gate });
    }

    pub(super) fn put_held_answer(&mut self, method: &'static str, gate: Gate) {
        self.plan(method, Plan::HoldAnswer(gate));
    }

    fn plan(&mut self, method: &'static str, plan: Plan) {
        self.planned.entry(method).or_default().push_back(plan);
    }

    /// What is planned for the next request of this method.
    pub(super) fn next(&mut self, method: &str) -> Option<Plan> {
        self.planned.get_mut(method)?.pop_front()
    }
}

/// A request that is held. It is released when this is dropped.
#[must_use = "what is held is released when this is dropped"]
#[derive(Debug)]
pub struct Hold {
    reached: watch::Receiver<bool>,
    released: watch::Sender<bool>,
}

impl Hold {
    /// Returns once the request is held.
    ///
    /// # Panics
    /// When the connection or the stand-in ended before.
    pub async fn reached(&self) {
        let mut reached = self.reached.clone();
        reached.wait_for(|reached| *reached).await.expect("a request that comes to where it is held");
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.released.send_replace(true);
    }
}

/// The other side of a [`Hold`].
#[derive(Debug)]
pub(super) struct Gate {
    reached: watch::Sender<bool>,
    released: watch::Receiver<bool>,
}

impl Gate {
    pub(super) fn new() -> (Self, Hold) {
        let (reached, is_reached) = watch::channel(false);
        let (release, released) = watch::channel(false);
        (Self { reached, released }, Hold { reached: is_reached, released: release })
    }

    /// Waits until the test opens it.
    pub(super) async fn pass(&mut self) {
        self.reached.send_replace(true);
        let _ = self.released.wait_for(|released| *released).await;
    }
}
