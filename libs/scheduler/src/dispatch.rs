//! Starting builds: a permit, an order, a status and an event for each.

use packline_domain::{
    BuildId, BuildOrder, SCHEMA, StatusKind,
    effect::Effect,
    message::OrderConfig,
    record::{Permit, Queue, Retries, State},
};

use crate::{
    Config, Scheduler,
    node::Id,
    step::{About, Step},
};

impl Step<'_> {
    /// Starts what is first in the order of building, as much as limit, slots and `limit` allow.
    pub(crate) fn dispatched(&mut self, limit: usize) {
        if !self.state.starts_now() {
            return;
        }
        let (packages, permits) = (&self.state.packages, &self.state.permits);
        let room = permits.room(self.state.control.max_concurrent).min(limit);
        // No start changes the place of another package that is ready: what a ready package needs is published, so it
        // waits for nobody. Packages on a cycle of `buildAfter` are the exception, and may start together.
        let first: Vec<Id> = self.state.startable().take(room).collect();
        for (id, number) in first.into_iter().zip(permits.free_numbers()) {
            let node = packages.node(id);
            if let Some(queue) = node.queue.as_deref() {
                self.start(queue, node.retries.as_deref(), number);
            }
        }
    }

    fn start(&mut self, queue: &Queue, retries: Option<&Retries>, number: u32) {
        self.serial = self.serial.saturating_add(1);
        let name = queue.package.name.clone();
        let build_id = BuildId { package: name.clone(), serial: self.serial };
        let attempt = retries.map_or(0, |retries| retries.failures).saturating_add(1);
        let permit = Permit {
            schema: SCHEMA,
            package_name: name.clone(),
            build_id: build_id.clone(),
            attempt,
            granted_at: self.now.at,
            worker: None,
            integrity: None,
            ending: None,
        };
        let order = order(&self.state.config, queue, retries, number, &permit);
        self.put_permit(number, permit);
        let mut queue = queue.clone();
        queue.state = State::Building { build_id: build_id.clone(), permit: number, again: false };
        self.effect(Effect::Order(Box::new(order)));
        self.report(&mut queue, StatusKind::Building, attempt, About::build(&build_id));
        let of = self.state.control.max_concurrent;
        let place = number.saturating_add(1);
        self.tell(
            "started",
            &name,
            Some(&build_id),
            format!("started {name} (permit {place} of {of}, attempt {attempt})"),
        );
        self.put_queue(queue);
    }
}

impl Scheduler {
    /// The order for a permit that stands, as it was sent when that was granted, but with the data of now.
    /// The revision of the permit is the driver's to fill in.
    pub fn order(&self, number: u32) -> Option<BuildOrder> {
        let permit = self.permit(number)?;
        let name = &permit.package_name;
        Some(order(&self.config, self.package(name)?, self.retries(name), number, permit))
    }
}

fn order(config: &Config, queue: &Queue, retries: Option<&Retries>, number: u32, permit: &Permit) -> BuildOrder {
    BuildOrder::new(
        &queue.package,
        permit.build_id.clone(),
        permit.attempt,
        number,
        permit.granted_at,
        OrderConfig { registry: config.registry.clone() },
        retries.map(|retries| retries.integrities.clone()).unwrap_or_default(),
        config.build_deadline,
    )
}
