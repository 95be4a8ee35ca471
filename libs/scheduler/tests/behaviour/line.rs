//! A line without broker and workers: the scheduler, the bucket that its actions fill, and a clock.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use packline_domain::{
    BuildId, BuildOrder, BuildResult, Command, Mode, Outcome, Package, PackageName, PackageStatus, SCHEMA, StatusKind,
    Timestamp,
    control::Origin,
    effect::{Effect, Event},
    record::{Control, Key, Permit, Queue, Record, State},
};
use packline_scheduler::{Action, Behind, Config, Input, Now, Refusal, Scheduler, Standing, invariant};

/// The scheduler, and all around it that the driver would be.
pub(crate) struct Line {
    pub(crate) scheduler: Scheduler,
    pub(crate) bucket: BTreeMap<Key, Record>,
    /// The bucket as it was when the scheduler was last told that all is stored.
    pub(crate) stored: BTreeMap<Key, Record>,
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) orders: Vec<BuildOrder>,
    pub(crate) statuses: Vec<PackageStatus>,
    pub(crate) events: Vec<Event>,
    pub(crate) wakes: Vec<String>,
    sequence: u64,
}

pub(crate) fn name(text: &str) -> PackageName {
    format!("@t/{text}").parse().unwrap()
}

pub(crate) fn package(text: &str, priority: i64, dependencies: &[&str]) -> Package {
    Package {
        priority,
        dependencies: dependencies.iter().map(|dependency| name(dependency)).collect(),
        ..Package::named(name(text))
    }
}

pub(crate) fn built_after(package: Package, names: &[&str]) -> Package {
    let mut build_after: Vec<PackageName> = Vec::new();
    for name in names.iter().map(|text| name(text)) {
        if !build_after.contains(&name) {
            build_after.push(name);
        }
    }
    Package { build_after, ..package }
}

pub(crate) fn control(limit: u32) -> Control {
    Control {
        schema: SCHEMA,
        mode: Mode::Running,
        max_concurrent: limit,
        origin: Origin::default(),
        since: Timestamp::from_millis(0),
        complete: true,
        drained_commit: None,
        last: None,
    }
}

pub(crate) fn by_ops() -> Origin {
    Origin { by: Some("ops".into()), reason: Some("a reason".into()) }
}

impl Line {
    /// A line with one worker `w` of as many slots as the limit.
    pub(crate) fn of(limit: u32) -> Self {
        Self::with(limit, Config::default())
    }

    pub(crate) fn with(limit: u32, config: Config) -> Self {
        let mut line = Self::without_workers(limit, config);
        line.workers(&[("w", limit)]);
        line
    }

    pub(crate) fn without_workers(limit: u32, config: Config) -> Self {
        let mut line = Self {
            scheduler: Scheduler::new(config.clone(), control(limit), 100),
            bucket: BTreeMap::new(),
            stored: BTreeMap::new(),
            config,
            now: Now { at: Timestamp::from_millis(1_000_000_000), commit: 0, seed: 7 },
            orders: Vec::new(),
            statuses: Vec::new(),
            events: Vec::new(),
            wakes: Vec::new(),
            sequence: 0,
        };
        line.feed(Input::Started);
        line.store();
        line
    }

    /// Applies one input in a commit of its own and checks all that must hold.
    pub(crate) fn try_feed(&mut self, input: Input) -> Result<Vec<Action>, Refusal> {
        self.now.commit += 1;
        self.now.seed = self.now.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let before = invariant::Mark::of(&self.scheduler);
        let actions = self.scheduler.apply(&self.now, input.clone())?;
        self.take(&actions);
        before.check(&self.scheduler).unwrap_or_else(|broken| panic!("{broken}, after {input:?}"));
        self.check(&input);
        Ok(actions)
    }

    pub(crate) fn feed(&mut self, input: Input) -> Vec<Action> {
        self.try_feed(input).unwrap()
    }

    /// Checks all that must hold; a million times in the property tests, so nothing is printed before it fails.
    pub(crate) fn check(&self, after: &dyn Debug) {
        invariant::check(&self.scheduler).unwrap_or_else(|broken| panic!("{broken}, after {after:?}"));
        let mut known = 0;
        let stored = self.scheduler.records().all(|(key, record)| {
            known += 1;
            self.bucket.get(&key) == Some(&record)
        });
        if !stored || known != self.bucket.len() {
            let records: BTreeMap<Key, Record> = self.scheduler.records().collect();
            assert_eq!(records, self.bucket, "the bucket is not what the scheduler knows, after {after:?}");
        }
    }

    /// All that was decided is stored.
    pub(crate) fn store(&mut self) {
        self.scheduler.stored();
        self.stored.clone_from(&self.bucket);
    }

    /// Whoever looks sees what is stored, with every index, and leaves no trace.
    pub(crate) fn look(&mut self) {
        let mut before = self.scheduler.clone();
        let (seen, holds) = self.scheduler.as_stored(self.now.at, |stored| {
            (stored.records().collect::<BTreeMap<Key, Record>>(), invariant::check(stored))
        });
        holds.unwrap_or_else(|broken| panic!("{broken}, in what is stored"));
        assert_eq!(seen, self.stored);
        same(&before, &self.scheduler);
        assert_eq!(before.next_deadline(), self.scheduler.next_deadline());
        assert_eq!(before.plan_withdrawal(&self.now, 100), self.scheduler.plan_withdrawal(&self.now, 100));
        let next = Input::Dispatched { limit: 9 };
        assert_eq!(self.scheduler.clone().apply(&self.now, next.clone()), before.apply(&self.now, next));
        self.check(&"a look");
    }

    pub(crate) fn take(&mut self, actions: &[Action]) {
        for action in actions {
            match action.clone() {
                Action::Put(key, record) => drop(self.bucket.insert(key, record)),
                Action::Delete(key) => assert!(self.bucket.remove(&key).is_some(), "{key} was not there"),
                Action::Effect(Effect::Order(order)) => self.orders.push(*order),
                Action::Effect(Effect::Status(status)) => self.statuses.push(*status),
                Action::Effect(Effect::Event(event)) => self.events.push(*event),
                Action::Effect(Effect::Wake(worker)) => self.wakes.push(worker),
            }
        }
    }

    /// What the records alone give.
    pub(crate) fn restored(&self) -> Scheduler {
        let records = self.bucket.clone();
        Scheduler::restore(self.config.clone(), records, self.scheduler.serial(), self.now.at).unwrap()
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now.at = self.now.at.after(duration);
        self.feed(Input::TimePassed { limit: 100 });
    }

    pub(crate) fn workers(&mut self, live: &[(&str, u32)]) {
        let live = live.iter().map(|(worker, slots)| ((*worker).to_owned(), *slots)).collect();
        self.feed(Input::WorkersSeen { live });
    }

    /// These workers speak protocol 1; all others that of this release.
    pub(crate) fn behind(&mut self, behind: &[(&str, bool)]) -> Vec<Action> {
        let of = |live| Behind { version: "0.0.9".into(), protocol: 1, live };
        let behind = behind.iter().map(|(worker, live)| ((*worker).to_owned(), of(*live))).collect();
        self.feed(Input::WorkersBehind { behind })
    }

    pub(crate) fn announce(&mut self, packages: &[Package]) -> Vec<Action> {
        self.feed(Input::Announced { packages: packages.to_vec(), reported_through: None, slice: None })
    }

    pub(crate) fn poll(&mut self, packages: &[Package], reported_through: u64) -> Vec<Action> {
        let reported_through = Some(reported_through);
        self.feed(Input::Announced { packages: packages.to_vec(), reported_through, slice: None })
    }

    pub(crate) fn try_command(&mut self, command: Command) -> Result<Vec<Action>, Refusal> {
        self.sequence += 1;
        let (stream, sequence) = ("CONTROL".to_owned(), self.sequence);
        self.try_feed(Input::Commanded { command, origin: by_ops(), stream, sequence })
    }

    pub(crate) fn command(&mut self, command: Command) -> Vec<Action> {
        self.try_command(command).unwrap()
    }

    /// Starts all that may start; the names, in order.
    pub(crate) fn dispatch(&mut self) -> Vec<String> {
        let before = self.orders.len();
        let could = self.scheduler.can_start();
        self.feed(Input::Dispatched { limit: 1000 });
        assert!(!self.scheduler.can_start());
        let started: Vec<String> =
            self.orders[before..].iter().map(|order| order.package_name.unscoped().to_owned()).collect();
        assert_eq!(could, !started.is_empty());
        started
    }

    /// A worker takes the permit of a package: it writes the bucket, and the leader sees it.
    pub(crate) fn take_order(&mut self, text: &str, worker: &str) {
        self.write_permit(text, |permit| permit.worker = Some(worker.to_owned()));
        self.see(text);
    }

    /// A worker writes its permit, and the leader has not seen it yet.
    pub(crate) fn write_permit(&mut self, text: &str, change: impl FnOnce(&mut Permit)) {
        let number = self.permit_of(text).unwrap();
        let Some(Record::Permit(permit)) = self.bucket.get_mut(&Key::Permit(number)) else { panic!("no permit") };
        change(permit);
    }

    pub(crate) fn see(&mut self, text: &str) {
        let number = self.permit_of(text).unwrap();
        let Some(Record::Permit(record)) = self.bucket.get(&Key::Permit(number)).cloned() else { panic!("no permit") };
        self.feed(Input::PermitSeen { permit: number, record });
    }

    pub(crate) fn permit_of(&self, text: &str) -> Option<u32> {
        self.scheduler.permits().find(|(_, permit)| permit.package_name == name(text)).map(|(number, _)| number)
    }

    pub(crate) fn permit(&self, text: &str) -> Option<Permit> {
        self.scheduler.permit(self.permit_of(text)?).cloned()
    }

    pub(crate) fn result(&self, build_id: &BuildId, outcome: Outcome) -> BuildResult {
        BuildResult {
            schema: SCHEMA,
            build_id: build_id.clone(),
            attempt: 1,
            permit: 0,
            permit_revision: 1,
            package_name: build_id.package.clone(),
            success: outcome == Outcome::Published,
            outcome,
            error: (outcome != Outcome::Published).then(|| "boom".to_owned()),
            failed_phase: (outcome == Outcome::Failed).then(|| "test".to_owned()),
            fix_attempts: None,
            retry: true,
            worker: "w".into(),
            started_at: self.now.at,
            finished_at: self.now.at,
            phases: Vec::new(),
            version: (outcome == Outcome::Published).then(|| "1.0.0".to_owned()),
            integrity: None,
            warnings: Vec::new(),
            tests: None,
            private: false,
        }
    }

    pub(crate) fn build_id(&self, text: &str) -> BuildId {
        self.permit(text).unwrap().build_id
    }

    /// The worker says how the build of a package ended.
    pub(crate) fn finish(&mut self, text: &str, outcome: Outcome) -> Vec<Action> {
        let result = self.result(&self.build_id(text), outcome);
        self.feed(Input::Finished(Box::new(result)))
    }

    /// Starts a package, has it taken, and ends it so.
    pub(crate) fn build(&mut self, text: &str, outcome: Outcome) {
        if self.permit_of(text).is_none() {
            self.dispatch();
        }
        self.take_order(text, "w");
        self.finish(text, outcome);
    }

    /// Plans and commits withdrawals until there are none; how many commits that took.
    pub(crate) fn withdraw(&mut self, limit: usize) -> usize {
        let mut commits = 0;
        while self.withdraw_once(limit) {
            commits += 1;
        }
        commits
    }

    pub(crate) fn withdraw_once(&mut self, limit: usize) -> bool {
        self.now.commit += 1;
        let Some(plan) = self.scheduler.plan_withdrawal(&self.now, limit) else { return false };
        assert!(plan.relies_on().len() <= limit);
        for (number, known) in plan.relies_on() {
            assert_eq!(self.bucket.get(&Key::Permit(*number)), Some(&Record::Permit(Box::new(known.clone()))));
        }
        let actions = plan.actions();
        self.take(&actions);
        let done = self.scheduler.apply(&self.now, Input::Withdrawn(plan)).unwrap();
        assert!(done.is_empty(), "a plan is committed once");
        self.check(&"a withdrawal");
        true
    }

    pub(crate) fn queue(&self, text: &str) -> Queue {
        self.scheduler.package(&name(text)).unwrap().clone()
    }

    pub(crate) fn state(&self, text: &str) -> State {
        self.queue(text).state
    }

    pub(crate) fn standing(&self, text: &str) -> Option<Standing> {
        self.scheduler.standing(&name(text))
    }

    /// The statuses of a package so far.
    pub(crate) fn reported(&self, text: &str) -> Vec<StatusKind> {
        let own = self.statuses.iter().filter(|status| status.package_name == name(text));
        own.map(|status| status.status).collect()
    }

    pub(crate) fn last_event(&self) -> (&str, &str) {
        let event = self.events.last().unwrap();
        (&event.kind, &event.message)
    }

    pub(crate) fn forget_effects(&mut self) {
        self.orders.clear();
        self.statuses.clear();
        self.events.clear();
        self.wakes.clear();
    }
}

/// What two schedulers say that must not depend on how they came to be.
pub(crate) fn same(one: &Scheduler, other: &Scheduler) {
    assert_eq!(one.counts(), other.counts());
    assert_eq!(one.records().collect::<Vec<_>>(), other.records().collect::<Vec<_>>());
    let order =
        |scheduler: &Scheduler| scheduler.upcoming(None).map(|queue| queue.package.name.clone()).collect::<Vec<_>>();
    assert_eq!(order(one), order(other), "the order of building");
    assert_eq!(one.can_start(), other.can_start());
    for queue in one.packages() {
        let name = &queue.package.name;
        assert_eq!(one.standing(name), other.standing(name), "{name}");
        assert_eq!(one.priority(name), other.priority(name), "{name}");
        assert_eq!(one.cycle(name).len(), other.cycle(name).len(), "{name}");
    }
}
