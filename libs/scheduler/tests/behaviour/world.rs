//! A random world around a line: workers with a mind of their own, operators, clocks, other leaders.

use std::{collections::BTreeMap, time::Duration};

use packline_domain::{
    BuildId, BuildResult, Command, Mode, Outcome, Package, StatusKind,
    record::{Intention, Key, Permit, Record, State},
};
use packline_scheduler::{Config, Input, Refusal, Slice, Standing, invariant};

use crate::line::{Line, built_after, by_ops, name, package, same};

const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
const OUTCOMES: [Outcome; 6] = [
    Outcome::Published,
    Outcome::Failed,
    Outcome::TimedOut,
    Outcome::Cancelled,
    Outcome::Infrastructure,
    Outcome::Returned,
];

/// One step as proptest draws and shrinks it.
pub(crate) type Draw = (u8, u32);

/// Small decisions out of one number.
struct Dice(u32);

impl Dice {
    fn of(&mut self, sides: usize) -> usize {
        let sides = u32::try_from(sides.max(1)).unwrap();
        let rolled = self.0 % sides;
        self.0 = (self.0 / sides).wrapping_mul(0x9E37_79B1).rotate_left(7) ^ 0x5bd1_e995;
        rolled as usize
    }

    fn chance(&mut self, of: usize) -> bool {
        self.of(of) == 0
    }
}

/// The line, and what its workers know and the leader has not seen.
pub(crate) struct World {
    pub(crate) line: Line,
    workers: BTreeMap<String, u32>,
    born: usize,
    lost: Vec<String>,
    /// Permits as their workers have written them.
    unseen: BTreeMap<u32, Permit>,
    /// Every build that a worker ever took, and what it said of it.
    builds: Vec<(BuildId, Option<BuildResult>)>,
    /// A long announcement: its sequence and how many are done.
    slices: (u64, usize),
    control_sequence: u64,
}

impl World {
    pub(crate) fn new(limit: u32) -> Self {
        let config = Config { max_attempts: 2, max_lost: 2, max_infrastructure: 2, ..Config::default() };
        let mut world = Self {
            line: Line::without_workers(limit, config),
            workers: BTreeMap::new(),
            born: 0,
            lost: Vec::new(),
            unseen: BTreeMap::new(),
            builds: Vec::new(),
            slices: (0, 0),
            control_sequence: 0,
        };
        world.new_worker(2);
        world.new_worker(1);
        world
    }

    fn new_worker(&mut self, slots: u32) {
        self.born += 1;
        self.workers.insert(format!("w{}", self.born), slots);
        self.line.feed(Input::WorkersSeen { live: self.workers.clone() });
    }

    pub(crate) fn step(&mut self, (kind, number): Draw) {
        let mut dice = Dice(number);
        if dice.chance(6) {
            self.line.look();
        }
        if dice.chance(6) {
            self.line.store();
        }
        match kind % 32 {
            0..=4 => self.announce(&mut dice),
            5..=9 => self.dispatch(&mut dice),
            10..=13 => self.take_order(&mut dice),
            14 | 15 => self.see_all(),
            16 => self.note_integrity(&mut dice),
            17..=20 => self.finish(&mut dice),
            21 => self.repeat_result(&mut dice),
            22 | 23 => self.command(&mut dice),
            24 | 25 => self.withdraw(1 + dice.of(3)),
            26 => drop(self.line.feed(Input::Continued { limit: 1 + dice.of(2) })),
            27 => self.lose_worker(&mut dice),
            28 => self.change_slots(&mut dice),
            29 => self.pass_time(&mut dice),
            30 => self.drain(),
            _ => self.restart(),
        }
    }

    fn draw_package(dice: &mut Dice) -> Package {
        let own = dice.of(NAMES.len());
        let priority = i64::try_from(dice.of(4)).unwrap();
        let mut dependencies: Vec<&str> = Vec::new();
        for _ in 0..dice.of(3) {
            // Mostly on what comes before it, so that cycles are there but not everywhere.
            let at = if dice.chance(6) { dice.of(NAMES.len()) } else { dice.of(own.max(1)) };
            let dependency = if dice.chance(12) { "foreign" } else { NAMES[at] };
            if !dependencies.contains(&dependency) {
                dependencies.push(dependency);
            }
        }
        let before: Vec<&str> = (0..dice.of(3)).map(|_| NAMES[dice.of(NAMES.len())]).collect();
        built_after(package(NAMES[own], priority, &dependencies), &before)
    }

    fn announce(&mut self, dice: &mut Dice) {
        let packages: Vec<_> = (0..=dice.of(3)).map(|_| Self::draw_package(dice)).collect();
        let commit = self.line.now.commit;
        let reported_through = dice.chance(2).then(|| commit.saturating_sub(dice.of(60) as u64));
        let standing = self.line.scheduler.intention().cloned();
        let slice = match standing.as_ref().map(Intention::announcement) {
            Some(Some((_, done))) => {
                let (sequence, done) = (self.slices.0, done + packages.len());
                Some(Slice { stream: "PACKAGES".into(), sequence, done, last: dice.chance(3) })
            }
            Some(None) => None,
            None => dice.chance(8).then(|| {
                self.slices = (self.slices.0 + 1, packages.len());
                Slice { stream: "PACKAGES".into(), sequence: self.slices.0, done: packages.len(), last: false }
            }),
        };
        self.line.feed(Input::Announced { packages, reported_through, slice });
    }

    fn dispatch(&mut self, dice: &mut Dice) {
        let serial = self.line.scheduler.serial();
        let before = self.line.orders.len();
        self.line.feed(Input::Dispatched { limit: 1 + dice.of(4) });
        for (order, serial) in self.line.orders[before..].iter().zip(serial + 1..) {
            assert_eq!(order.build_id.serial, serial, "serials grow one by one");
            for dependency in &order.dependencies {
                let finished = match self.line.scheduler.package(dependency).map(|queue| &queue.state) {
                    None | Some(State::Published { .. }) => true,
                    Some(_) => false,
                };
                assert!(finished, "{} started before {dependency}", order.package_name);
            }
        }
    }

    /// A worker takes an order by compare-and-set; the leader may see it at once or later.
    fn take_order(&mut self, dice: &mut Dice) {
        let untaken: Vec<u32> =
            self.line.scheduler.untaken().filter(|number| !self.unseen.contains_key(number)).collect();
        if untaken.is_empty() || self.workers.is_empty() {
            return;
        }
        let number = untaken[dice.of(untaken.len())];
        let lost_one = dice.chance(20).then(|| self.lost.last().cloned()).flatten();
        let worker = lost_one.unwrap_or_else(|| self.workers.keys().nth(dice.of(self.workers.len())).unwrap().clone());
        let mut permit = self.line.scheduler.permit(number).unwrap().clone();
        permit.worker = Some(worker);
        self.builds.push((permit.build_id.clone(), None));
        self.unseen.insert(number, permit);
        if dice.chance(2) {
            self.see_all();
        }
    }

    fn note_integrity(&mut self, dice: &mut Dice) {
        let held: Vec<_> =
            self.line.scheduler.permits().filter(|(_, p)| p.worker.is_some() && p.ending.is_none()).collect();
        if held.is_empty() {
            return;
        }
        let (number, permit) = held[dice.of(held.len())];
        let integrity = Some(format!("sha512-{}", permit.build_id.serial));
        self.unseen.insert(number, Permit { integrity, ..permit.clone() });
    }

    fn see_all(&mut self) {
        for (number, record) in std::mem::take(&mut self.unseen) {
            let stands = self.line.scheduler.permit(number).is_some_and(|known| known.build_id == record.build_id);
            if stands {
                let seen = Record::Permit(Box::new(record.clone()));
                self.line.bucket.insert(Key::Permit(number), seen.clone());
                let stored = self.line.stored.get_mut(&Key::Permit(number));
                if let Some(Record::Permit(permit)) = stored
                    && permit.build_id == record.build_id
                {
                    permit.worker.clone_from(&record.worker);
                    permit.integrity.clone_from(&record.integrity);
                }
            }
            self.line.feed(Input::PermitSeen { permit: number, record: Box::new(record) });
        }
    }

    fn finish(&mut self, dice: &mut Dice) {
        let open: Vec<usize> = (0..self.builds.len()).filter(|at| self.builds[*at].1.is_none()).collect();
        if open.is_empty() {
            return;
        }
        let at = open[dice.of(open.len())];
        let outcome = if dice.chance(2) { Outcome::Published } else { OUTCOMES[dice.of(OUTCOMES.len())] };
        let mut result = self.line.result(&self.builds[at].0, outcome);
        (result.retry, result.private) = (!dice.chance(8), dice.chance(3));
        self.builds[at].1 = Some(result.clone());
        self.say(result);
    }

    fn repeat_result(&mut self, dice: &mut Dice) {
        let said: Vec<&BuildResult> = self.builds.iter().filter_map(|(_, said)| said.as_ref()).collect();
        if let Some(result) = said.get(dice.of(said.len())) {
            self.say((*result).clone());
        }
    }

    fn say(&mut self, result: BuildResult) {
        let number = self.line.scheduler.permits().find(|(_, p)| p.build_id == result.build_id).map(|(n, _)| n);
        if let Some(number) = number {
            self.unseen.remove(&number);
        }
        self.line.feed(Input::Finished(Box::new(result)));
    }

    fn command(&mut self, dice: &mut Dice) {
        let package_name = name(NAMES[dice.of(NAMES.len())]);
        let command = match dice.of(12) {
            0 => Command::Pause,
            1 => Command::Drain,
            2 => Command::EmergencyStop,
            3..=5 => Command::Resume,
            6 => Command::AdjustConcurrency { max_concurrent: 1 + u32::try_from(dice.of(5)).unwrap() },
            7 | 8 => Command::Cancel { package_name },
            9 | 10 => Command::Requeue { package_name },
            _ => Command::RequeueFailed,
        };
        self.give(command);
    }

    fn give(&mut self, command: Command) {
        self.control_sequence += 1;
        let (stream, sequence) = ("CONTROL".to_owned(), self.control_sequence);
        let busy = self.line.scheduler.intention().is_some_and(Intention::withdraws);
        let answer = self.line.try_feed(Input::Commanded { command, origin: by_ops(), stream, sequence });
        assert_eq!(matches!(answer, Err(Refusal::Busy { .. })), busy, "{answer:?}");
    }

    /// Plans, and commits only where no worker has written a permit that the plan relies on.
    fn withdraw(&mut self, limit: usize) {
        let Some(plan) = self.line.scheduler.plan_withdrawal(&self.line.now, limit) else { return };
        if plan.relies_on().keys().any(|number| self.unseen.contains_key(number)) {
            self.see_all();
        }
        self.line.withdraw_once(limit);
    }

    fn lose_worker(&mut self, dice: &mut Dice) {
        if self.workers.is_empty() || !dice.chance(2) {
            return;
        }
        let worker = self.workers.keys().nth(dice.of(self.workers.len())).unwrap().clone();
        self.workers.remove(&worker);
        self.lost.push(worker.clone());
        self.line.feed(Input::WorkerLost { worker });
        self.new_worker(1 + u32::try_from(dice.of(3)).unwrap());
    }

    fn change_slots(&mut self, dice: &mut Dice) {
        if let Some(slots) = self.workers.values_mut().next() {
            *slots = u32::try_from(dice.of(4)).unwrap();
        }
        let mut live = self.workers.clone();
        if dice.chance(3) {
            live.pop_last();
        }
        self.line.feed(Input::WorkersSeen { live });
    }

    fn pass_time(&mut self, dice: &mut Dice) {
        match dice.of(12) {
            0..=6 => self.line.pass(Duration::from_secs(dice.of(30) as u64)),
            7..=9 => {
                if let Some(next) = self.line.scheduler.next_deadline() {
                    let wait = next.since(self.line.now.at);
                    self.line.pass(wait.min(Duration::from_secs(7200)));
                }
            }
            10 => self.line.pass(Duration::from_secs(3700)),
            _ => self.line.pass(Duration::from_secs(32 * 24 * 3600)),
        }
    }

    fn drain(&mut self) {
        let scheduler = &self.line.scheduler;
        let drained = scheduler.control().mode == Mode::Draining
            && scheduler.permits().len() == 0
            && scheduler.intention().is_none();
        assert_eq!(self.line.try_feed(Input::Drained).is_ok(), drained);
        self.line.feed(Input::Started);
        assert_ne!(self.line.scheduler.control().mode, Mode::Drained);
    }

    /// Another leader: from the records alone it is the same line.
    fn restart(&mut self) {
        self.line.feed(Input::TimePassed { limit: 0 });
        let mut restored = self.line.restored();
        let before = &mut self.line.scheduler;
        for scheduler in [&mut restored, &mut *before] {
            for worker in &self.lost {
                scheduler.apply(&self.line.now, Input::WorkerLost { worker: worker.clone() }).unwrap();
            }
            scheduler.apply(&self.line.now, Input::WorkersSeen { live: self.workers.clone() }).unwrap();
        }
        invariant::check(&restored).unwrap();
        same(&restored, before);
        let next = Input::Dispatched { limit: 9 };
        let (mut one, mut other) = (restored.clone(), before.clone());
        assert_eq!(one.apply(&self.line.now, next.clone()), other.apply(&self.line.now, next));
        self.line.scheduler = restored;
        self.line.store();
        self.line.check(&"a restart");
    }

    /// Lets everything come to its end.
    pub(crate) fn settle(&mut self) {
        self.see_all();
        while self.line.scheduler.intention().is_some() {
            self.withdraw(100);
            self.line.feed(Input::Continued { limit: 100 });
            let slice = Slice { stream: "PACKAGES".into(), sequence: self.slices.0, done: 1000, last: true };
            if self.line.scheduler.intention().and_then(Intention::announcement).is_some() {
                self.line.feed(Input::Announced { packages: vec![], reported_through: None, slice: Some(slice) });
            }
        }
        self.give(Command::Resume);
        self.give(Command::AdjustConcurrency { max_concurrent: 3 });
        self.new_worker(5);
        for _ in 0..1000 {
            self.line.pass(Duration::from_secs(600));
            self.withdraw(100);
            self.line.feed(Input::Dispatched { limit: 100 });
            let untaken: Vec<String> = (self.line.scheduler.untaken())
                .map(|n| self.line.scheduler.permit(n).unwrap().package_name.unscoped().to_owned())
                .collect();
            let worker = self.workers.keys().next_back().unwrap().clone();
            for text in untaken {
                self.line.take_order(&text, &worker);
            }
            let held: Vec<BuildId> = self.line.scheduler.permits().map(|(_, permit)| permit.build_id.clone()).collect();
            if held.is_empty() && self.line.scheduler.counts().retrying == 0 {
                break;
            }
            for build_id in held {
                let result = self.line.result(&build_id, Outcome::Published);
                self.line.feed(Input::Finished(Box::new(result)));
            }
        }
        let scheduler = &self.line.scheduler;
        let counts = scheduler.counts();
        assert_eq!((counts.ready, counts.building, counts.retrying), (0, 0, 0), "the line went on to its end");
        for queue in scheduler.packages() {
            let name = &queue.package.name;
            let (first, all) = (scheduler.first_reason(name, scheduler.ahead_of(name)), scheduler.why(name));
            assert_eq!(first.to_string(), all[0].to_string(), "{name}");
            match scheduler.standing(name).unwrap() {
                Standing::Blocked => {
                    assert!(scheduler.waits_for(name).next().is_some(), "{name} waits for nothing");
                    assert!(scheduler.waits_for(name).all(|on| !on.is_order_only), "an order blocks {name}");
                }
                Standing::Unresolvable => assert!(!scheduler.cycle(name).is_empty(), "{name} is on no cycle"),
                Standing::Published | Standing::Failed | Standing::Cancelled => {}
                Standing::Ready | Standing::Building | Standing::Retrying => unreachable!(),
            }
        }
    }

    /// What the catalogue was told, as a whole.
    pub(crate) fn check_statuses(&self) {
        let mut last = BTreeMap::new();
        for status in &self.line.statuses {
            let before = last.insert(status.package_name.clone(), status);
            assert!(before.is_none_or(|before| before.commit <= status.commit), "reports go in order");
        }
        for queue in self.line.scheduler.packages() {
            let Some(told) = last.get(&queue.package.name) else { continue };
            if queue.status_commit == 0 {
                continue; // forgotten and announced anew
            }
            assert_eq!(told.commit, queue.status_commit, "{}", queue.package.name);
            let fits = match queue.state {
                State::Published { .. } => told.status == StatusKind::Published,
                State::Failed { .. } => told.status == StatusKind::Failed,
                State::Cancelled { .. } => told.status == StatusKind::Cancelled,
                State::Building { .. } | State::Queued | State::Retrying { .. } => true,
            };
            assert!(fits, "{} is {:?} and was told as {:?}", queue.package.name, queue.state, told.status);
        }
    }
}
