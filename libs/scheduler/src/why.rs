//! Why a package is where it is: what would have to change before it is built.

use packline_domain::{
    Mode, PackageName,
    answer::{Holder, Reason, Standing},
    record::{Permit, State},
};

use crate::{Awaited, Scheduler};

/// The most names that one answer lists: dependencies, members of a cycle, holders of permits.
const NAMED: usize = 100;

/// Packages that are looked at for a cycle where only its beginning is asked for.
const LOOKED_AT: usize = 200;

impl Scheduler {
    /// Why a package is where it is; never empty.
    pub fn why(&self, name: &PackageName) -> Vec<Reason> {
        let Some((queue, standing)) = self.package(name).zip(self.standing(name)) else {
            return vec![Reason::Unknown];
        };
        match &queue.state {
            State::Published { version, private } => {
                vec![Reason::Published { version: version.clone(), private: *private }]
            }
            State::Failed { error, failed_phase } => {
                vec![Reason::Failed { error: error.clone(), failed_phase: failed_phase.clone() }]
            }
            State::Cancelled { origin } => vec![Reason::Cancelled(origin.clone())],
            State::Building { permit, .. } => vec![self.building(*permit)],
            State::Queued | State::Retrying { .. } => self.waiting(name, standing),
        }
    }

    /// The first of [`Self::why`] with the same text, and without the names that it would list besides: for
    /// each row of a long list. `ahead` is [`Self::ahead_of`], which such a list knows.
    pub fn first_reason(&self, name: &PackageName, ahead: usize) -> Reason {
        match (self.package(name).map(|queue| &queue.state), self.standing(name)) {
            (Some(state @ (State::Queued | State::Retrying { .. })), Some(standing)) => {
                self.first_wait(name, state, standing, ahead)
            }
            _ => self.why(name).into_iter().next().unwrap_or(Reason::Unknown),
        }
    }

    fn first_wait(&self, name: &PackageName, state: &State, standing: Standing, ahead: usize) -> Reason {
        if let Some(halted) = self.halted() {
            return halted;
        }
        if standing == Standing::Unresolvable {
            return Reason::Cycle { packages: self.packages.way_round(name, LOOKED_AT) };
        }
        if let Some(outdated) = self.outdated(name, standing) {
            return outdated;
        }
        let first = || self.waits_for(name).min_by_key(|awaited| !needs_somebody(awaited.standing));
        backoff(state, standing)
            .or_else(|| first().map(dependency))
            .or_else(|| self.no_room(0).into_iter().next().filter(|_| standing == Standing::Ready))
            .unwrap_or(Reason::Turn { ahead })
    }

    fn building(&self, number: u32) -> Reason {
        let Some(permit) = self.permit(number) else { return Reason::Turn { ahead: 0 } };
        let holder = holder(number, permit);
        match &permit.ending {
            Some(ending) => Reason::Ending { holder, ending: ending.clone() },
            None => Reason::Building(holder),
        }
    }

    fn waiting(&self, name: &PackageName, standing: Standing) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = self.halted().into_iter().collect();
        if standing == Standing::Unresolvable {
            reasons.push(Reason::Cycle { packages: self.cycle(name).into_iter().take(NAMED).collect() });
        }
        reasons.extend(self.package(name).and_then(|queue| backoff(&queue.state, standing)));
        // Those that will not go on by themselves need somebody first.
        let mut dependencies: Vec<_> = self.waits_for(name).collect();
        dependencies.sort_by_key(|awaited| !needs_somebody(awaited.standing));
        reasons.extend(dependencies.into_iter().take(NAMED).map(dependency));
        if standing == Standing::Ready {
            reasons.extend(self.outdated(name, standing));
            reasons.extend(self.no_room(NAMED));
        }
        if reasons.is_empty() {
            reasons.push(Reason::Turn { ahead: self.ahead_of(name) });
        }
        reasons
    }

    /// The worker of an earlier release because of which it does not start.
    fn outdated(&self, name: &PackageName, standing: Standing) -> Option<Reason> {
        let outdated = self.held_back_by(&self.package(name)?.package).filter(|_| standing == Standing::Ready)?;
        Some(Reason::NoWorker { outdated: Some(outdated) })
    }

    /// That nothing is started, and who said so.
    fn halted(&self) -> Option<Reason> {
        let control = self.control();
        let (mode, since, origin) = (control.mode, control.since, control.origin.clone());
        (mode != Mode::Running).then_some(Reason::Mode { mode, origin, since })
    }

    /// Why nothing that is ready can start; names at most so many of those that hold permits.
    fn no_room(&self, named: usize) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let (held, limit) = (self.permits().len(), self.control().max_concurrent);
        if held >= limit as usize {
            let holders = self.permits().take(named).map(|(number, permit)| holder(number, permit));
            reasons.push(Reason::NoPermit { limit, holders: holders.collect() });
        }
        if self.workers().is_empty() {
            reasons.push(Reason::NoWorker { outdated: None });
        } else if held < limit as usize && self.room() == 0 {
            reasons.push(Reason::NoSlot { slots: self.slots() });
        }
        reasons
    }
}

/// Until when it waits after a failure; one whose time has come waits for other things.
fn backoff(state: &State, standing: Standing) -> Option<Reason> {
    match (state, standing) {
        (State::Retrying { until }, Standing::Retrying | Standing::Unresolvable) => {
            Some(Reason::Backoff { until: *until })
        }
        _ => None,
    }
}

fn dependency(awaited: Awaited<'_>) -> Reason {
    let Awaited { name, standing, is_order_only } = awaited;
    Reason::Dependency { package_name: name.clone(), state: standing, is_order_only }
}

fn needs_somebody(state: Standing) -> bool {
    match state {
        Standing::Failed | Standing::Cancelled | Standing::Unresolvable => true,
        Standing::Ready | Standing::Blocked | Standing::Building | Standing::Retrying | Standing::Published => false,
    }
}

fn holder(permit: u32, held: &Permit) -> Holder {
    Holder {
        package_name: held.package_name.clone(),
        build_id: held.build_id.clone(),
        permit,
        worker: held.worker.clone(),
        waiting_for: None,
    }
}
