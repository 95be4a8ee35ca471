//! Starting builds: a permit, an order, a status and an event for each.

use packline_domain::{
    BuildId, BuildOrder, SCHEMA, StatusKind,
    effect::Effect,
    message::OrderConfig,
    record::{Permit, Queue, Retries, State},
};

use crate::{
    node::Id,
    step::{About, Step},
};

/// The fields of an order; a field of a package's own by one of these names stays out of it.
const FIELDS: [&str; 15] = [
    "schema",
    "buildId",
    "attempt",
    "permit",
    "permitRevision",
    "grantedAt",
    "packageName",
    "packagePath",
    "planPath",
    "category",
    "dependencies",
    "priority",
    "config",
    "integrities",
    "deadlineSeconds",
];

impl Step<'_> {
    /// Starts what is first in the order of building, as much as limit, slots and `limit` allow.
    pub(crate) fn dispatched(&mut self, limit: usize) {
        if !self.state.starts_now() {
            return;
        }
        let (packages, permits) = (&self.state.packages, &self.state.permits);
        let room = permits.room(self.state.control.max_concurrent).min(limit);
        // No start changes the place of another package that is ready: what a ready package needs is
        // published, so it waits for nobody.
        let first: Vec<Id> = packages.ready.iter().take(room).map(|rank| rank.id).collect();
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
        let integrities = retries.map(|retries| retries.integrities.clone()).unwrap_or_default();
        let order = self.order(queue, &build_id, attempt, number, integrities);
        self.put_permit(
            number,
            Permit {
                schema: SCHEMA,
                package_name: name.clone(),
                build_id: build_id.clone(),
                attempt,
                granted_at: self.now.at,
                worker: None,
                integrity: None,
                ending: None,
            },
        );
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

    fn order(
        &self,
        queue: &Queue,
        build_id: &BuildId,
        attempt: u32,
        permit: u32,
        integrities: Vec<String>,
    ) -> BuildOrder {
        let package = &queue.package;
        let mut extra = package.extra.clone();
        extra.retain(|field, _| !FIELDS.contains(&field.as_str()));
        BuildOrder {
            schema: SCHEMA,
            build_id: build_id.clone(),
            attempt,
            permit,
            permit_revision: 0,
            granted_at: self.now.at,
            package_name: package.name.clone(),
            package_path: format!("packages/{}", package.name.unscoped()),
            plan_path: format!("plans/{}.md", package.name.unscoped()),
            category: package.category.clone(),
            dependencies: package.dependencies.clone(),
            priority: package.priority,
            config: OrderConfig { registry: self.state.config.registry.clone() },
            integrities,
            deadline_seconds: self.state.config.build_deadline.as_secs(),
            extra,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Now, Scheduler};
    use packline_domain::{Mode, Package, Timestamp, control::Origin, record::Control};
    use serde_json::{Map, Value};

    #[test]
    fn the_list_of_fields_is_that_of_an_order() {
        let control = Control {
            schema: SCHEMA,
            mode: Mode::Running,
            max_concurrent: 1,
            origin: Origin::default(),
            since: Timestamp::default(),
            complete: true,
            drained_commit: None,
            last: None,
        };
        let scheduler = Scheduler::new(Config::default(), control, 0);
        let now = Now { at: Timestamp::default(), commit: 1, seed: 0 };
        let name: packline_domain::PackageName = "@a/b".parse().unwrap();
        let mut package = Package::named(name.clone());
        package.extra.insert("ref".into(), "main".into());
        for field in FIELDS {
            package.extra.insert(field.into(), Value::Null);
        }
        let queue = Queue {
            schema: SCHEMA,
            package,
            state: State::Queued,
            arrival: 1,
            queued_at: now.at,
            announced_at: now.at,
            commit: 1,
            status_commit: 0,
        };
        let order = Step::new(&scheduler, &now).order(&queue, &BuildId { package: name, serial: 7 }, 1, 0, Vec::new());
        let text = serde_json::to_string(&order).unwrap();
        let fields: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let mut found: Vec<&str> = fields.keys().map(String::as_str).filter(|field| *field != "ref").collect();
        let mut listed = FIELDS;
        found.sort_unstable();
        listed.sort_unstable();
        assert_eq!(found, listed);
        for field in FIELDS {
            assert_eq!(text.matches(&format!("\"{field}\":")).count(), 1, "{field} in {text}");
        }
    }
}
