//! Why a package is where it is: what would have to change before it is built.

use packline_domain::{
    Mode, PackageName,
    answer::{Holder, Reason, Standing},
    record::{Permit, State},
};

use crate::Scheduler;

/// The most names that one answer lists: dependencies, members of a cycle, holders of permits.
const NAMED: usize = 100;

impl Scheduler {
    /// Why a package is where it is; never empty.
    pub fn why(&self, name: &PackageName) -> Vec<Reason> {
        let Some((queue, standing)) = self.package(name).zip(self.standing(name)) else {
            return vec![Reason::Unknown];
        };
        match &queue.state {
            State::Published { version } => vec![Reason::Published { version: version.clone() }],
            State::Failed { error, failed_phase } => {
                vec![Reason::Failed { error: error.clone(), failed_phase: failed_phase.clone() }]
            }
            State::Cancelled { origin } => vec![Reason::Cancelled(origin.clone())],
            State::Building { permit, .. } => vec![self.building(*permit)],
            State::Queued | State::Retrying { .. } => self.waiting(name, standing),
        }
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
        let mut reasons = Vec::new();
        let control = self.control();
        if control.mode != Mode::Running {
            let (mode, since, origin) = (control.mode, control.since, control.origin.clone());
            reasons.push(Reason::Mode { mode, origin, since });
        }
        if standing == Standing::Unresolvable {
            reasons.push(Reason::Cycle { packages: self.cycle(name).into_iter().take(NAMED).collect() });
        }
        if let Some(State::Retrying { until }) = self.package(name).map(|queue| &queue.state) {
            reasons.push(Reason::Backoff { until: *until });
        }
        // Those that will not go on by themselves need somebody first.
        let mut dependencies: Vec<_> = self.waits_for(name).collect();
        dependencies.sort_by_key(|(_, state)| !needs_somebody(*state));
        let blocked = dependencies.into_iter().take(NAMED);
        reasons.extend(blocked.map(|(name, state)| Reason::Dependency { package_name: name.clone(), state }));
        if standing == Standing::Ready {
            self.no_room(&mut reasons);
        }
        if reasons.is_empty() {
            reasons.push(Reason::Turn { ahead: self.ahead_of(name) });
        }
        reasons
    }

    fn no_room(&self, reasons: &mut Vec<Reason>) {
        let (held, limit) = (self.permits().len(), self.control().max_concurrent);
        if held >= limit as usize {
            let holders = self.permits().take(NAMED).map(|(number, permit)| holder(number, permit));
            reasons.push(Reason::NoPermit { limit, holders: holders.collect() });
        }
        if self.workers().is_empty() {
            reasons.push(Reason::NoWorker);
        } else if held < limit as usize && self.room() == 0 {
            reasons.push(Reason::NoSlot { slots: self.slots() });
        }
    }
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
    }
}
