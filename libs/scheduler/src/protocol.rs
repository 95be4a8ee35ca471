//! Workers of earlier releases: what they would build wrongly does not start while one of them is live.

use std::collections::BTreeMap;

use packline_domain::{Outcome, Package, answer::Outdated, effect::Effect};

use crate::{
    Now, Scheduler,
    finish::End,
    node::Id,
    order::Rank,
    step::{Step, event},
    text::counted,
};

/// A worker that speaks a lower protocol than this release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Of its program.
    pub version: String,
    /// The protocol that it speaks.
    pub protocol: u32,
    /// Whether it is live; also while it has no slots, since it takes orders again.
    pub live: bool,
}

/// The workers that are behind, and those that were told of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behinds {
    workers: BTreeMap<String, Told>,
}

#[derive(Clone, Debug)]
struct Told {
    behind: Behind,
    told: bool,
}

impl Behinds {
    /// All workers that are behind are these.
    pub(crate) fn see(&mut self, behind: BTreeMap<String, Behind>) {
        let before = std::mem::take(&mut self.workers);
        let told = |worker: &String| before.get(worker).is_some_and(|before| before.told);
        self.workers =
            behind.into_iter().map(|(worker, behind)| (worker.clone(), Told { behind, told: told(&worker) })).collect();
    }

    /// A live one that speaks less than `needs`.
    fn live_below(&self, needs: u32) -> Option<Outdated> {
        let mut live = self.workers.iter().filter(|(_, Told { behind, .. })| behind.live && behind.protocol < needs);
        live.next().map(|(worker, Told { behind, .. })| outdated(worker, behind, needs))
    }
}

fn outdated(worker: &str, behind: &Behind, needs: u32) -> Outdated {
    Outdated { worker: worker.to_owned(), version: behind.version.clone(), protocol: behind.protocol, needs }
}

impl Scheduler {
    /// The live worker because of which an order of this package does not start.
    pub(crate) fn held_back_by(&self, package: &Package) -> Option<Outdated> {
        if self.behind.workers.is_empty() { None } else { self.behind.live_below(package.protocol()) }
    }

    /// Packages that are ready and held back by nobody, in the order of building.
    pub(crate) fn startable(&self) -> impl Iterator<Item = Id> {
        let ready = self.packages.ready.iter().map(|rank| rank.id);
        ready.filter(|id| self.held_back(*id).is_none())
    }

    fn held_back(&self, id: Id) -> Option<Outdated> {
        self.held_back_by(&self.packages.node(id).queue.as_deref()?.package)
    }

    /// An event about a live worker that holds back what could start otherwise: one for each worker.
    pub(crate) fn tell_held_back(&mut self, now: &Now) -> Option<Effect> {
        if !self.starts_now() {
            return None;
        }
        let mut untold = self.behind.workers.iter().filter(|(_, worker)| worker.behind.live && !worker.told);
        let (worker, outdated, first, more) = untold.find_map(|(worker, Told { behind, .. })| {
            let package = |rank: &Rank| Some(&self.packages.node(rank.id).queue.as_deref()?.package);
            let ready = self.packages.ready.iter().filter_map(package);
            let mut held = ready.filter(|package| behind.protocol < package.protocol());
            let first = held.next()?;
            Some((worker.clone(), outdated(worker, behind, first.protocol()), first.name.clone(), held.count()))
        })?;
        if let Some(worker) = self.behind.workers.get_mut(&worker) {
            worker.told = true;
        }
        let others = match more {
            0 => String::new(),
            more => format!(" and {}", counted(more, "other package")),
        };
        let message = format!("{first}{others} cannot start: {outdated}; update that worker, or stop it");
        Some(event(now, "outdated", Some(&first), None, None, message))
    }
}

impl Step<'_> {
    /// What a worker says of a build whose order it does not understand counts for nothing, unless it is published.
    pub(crate) fn believed(&self, package: &Package, mut end: End) -> End {
        let needs = package.protocol();
        let worker = end.worker.as_ref().and_then(|worker| self.state.behind.workers.get_key_value(worker));
        let said = end.outcome.is_some_and(|outcome| outcome != Outcome::Published);
        if let Some((worker, Told { behind, .. })) = worker.filter(|(_, worker)| worker.behind.protocol < needs)
            && said
        {
            end.outcome = Some(Outcome::Returned);
            end.error = Some(outdated(worker, behind, needs).to_string());
        }
        end
    }
}
