//! A hundred thousand packages: how much memory, how much time.
//!
//! Times are printed rather than judged, but for a bound so wide that only looking at the whole queue in a
//! step breaks it: one look at a hundred thousand packages takes milliseconds.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{collections::BTreeMap, time::Duration};

use packline_domain::{
    BuildResult, Mode, Outcome, Package, PackageName, SCHEMA, Timestamp,
    control::Origin,
    effect::Effect,
    record::{Control, Key, Permit, Record},
};
use packline_scheduler::{Action, Config, Input, Now, Scheduler};

const PACKAGES: u32 = 100_000;

fn name(number: u32) -> PackageName {
    format!("@scale/package-{number:06}").parse().unwrap()
}

/// A tenth needs nothing; each other needs up to two of those before it, mostly near ones, and may be built after a third.
fn package(number: u32) -> Package {
    let mut package = Package::named(name(number));
    package.category = "utils".into();
    package.priority = i64::from(scattered(number) % 16);
    if !number.is_multiple_of(10) {
        let mut needs: Vec<u32> = (1..=1 + number % 3)
            .map(|n| {
                let far = scattered(number.wrapping_add(n << 20));
                if far.is_multiple_of(4) { far % number } else { number - 1 - far % number.min(200) }
            })
            .collect();
        needs.sort_unstable();
        needs.dedup();
        package.build_after = needs.split_off(needs.len().min(2)).into_iter().map(name).collect();
        package.dependencies = needs.into_iter().map(name).collect();
    }
    package
}

fn scattered(number: u32) -> u32 {
    let mixed = (number ^ (number >> 16)).wrapping_mul(0x7feb_352d);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x846c_a68b);
    mixed ^ (mixed >> 16)
}

fn scheduler() -> Scheduler {
    let control = Control {
        schema: SCHEMA,
        mode: Mode::Running,
        max_concurrent: 128,
        origin: Origin::default(),
        since: Timestamp::default(),
        complete: true,
        drained_commit: None,
        last: None,
    };
    let mut scheduler = Scheduler::new(Config::default(), control, 0);
    scheduler.apply(&now(0), Input::Started).unwrap();
    scheduler.apply(&now(0), Input::WorkersSeen { live: BTreeMap::from([("w".to_owned(), 128)]) }).unwrap();
    scheduler
}

fn now(commit: u64) -> Now {
    Now { at: Timestamp::from_millis(1_000_000), commit, seed: commit }
}

/// Kilobytes in memory, as Linux counts them.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.trim().parse().ok()
}

fn result(permit: &Permit) -> BuildResult {
    BuildResult {
        schema: SCHEMA,
        build_id: permit.build_id.clone(),
        attempt: permit.attempt,
        permit: 0,
        permit_revision: 1,
        package_name: permit.package_name.clone(),
        success: true,
        outcome: Outcome::Published,
        error: None,
        failed_phase: None,
        fix_attempts: None,
        retry: true,
        worker: "w".into(),
        started_at: permit.granted_at,
        finished_at: permit.granted_at,
        phases: Vec::new(),
        version: Some("1.0.0".into()),
        integrity: None,
        warnings: Vec::new(),
        tests: None,
        private: false,
    }
}

/// Runs a step and remembers how long the slowest took.
struct Watch {
    steps: u32,
    sum: Duration,
    slowest: Duration,
}

impl Watch {
    fn new() -> Self {
        Self { steps: 0, sum: Duration::ZERO, slowest: Duration::ZERO }
    }

    #[expect(clippy::disallowed_methods, reason = "a measurement is about time")]
    fn step(&mut self, scheduler: &mut Scheduler, commit: u64, input: Input) -> Vec<Action> {
        let start = std::time::Instant::now();
        let actions = scheduler.apply(&now(commit), input).unwrap();
        self.took(start.elapsed());
        actions
    }

    #[expect(clippy::disallowed_methods, reason = "a measurement is about time")]
    fn look(&mut self, scheduler: &mut Scheduler) {
        let start = std::time::Instant::now();
        let waiting = scheduler.as_stored(now(0).at, |stored| stored.counts().waiting());
        self.took(start.elapsed());
        assert!(waiting > scheduler.counts().waiting());
    }

    fn took(&mut self, took: Duration) {
        self.steps += 1;
        self.sum += took;
        self.slowest = self.slowest.max(took);
    }

    fn mean(&self, what: &str) -> Duration {
        let mean = self.sum / self.steps.max(1);
        println!("{what}: {} steps, mean {mean:?}, slowest {:?}", self.steps, self.slowest);
        mean
    }
}

/// One test, so that nothing else of this process is measured.
#[test]
fn a_hundred_thousand_packages_are_few_bytes_each_and_no_step_looks_at_all_of_them() {
    let mut scheduler = scheduler();
    let before = resident();
    let mut announcing = Watch::new();
    for first in (0..PACKAGES).step_by(400) {
        // As they come off the wire: names that are equal share nothing.
        let packages = (first..PACKAGES.min(first + 400)).map(package).collect();
        let input = Input::Announced { packages, reported_through: None, slice: None };
        announcing.step(&mut scheduler, u64::from(first) + 1, input);
        scheduler.stored();
    }
    assert_eq!(scheduler.counts().waiting(), PACKAGES as usize);
    assert_eq!(scheduler.counts().unresolvable, 0);
    announcing.mean("announce 400");
    if let (Some(before), Some(after)) = (before, resident()) {
        let each = (after - before) * 1024 / PACKAGES as usize;
        println!("{each} bytes a package");
        assert!(each <= 800, "{each} bytes a package");
    }

    let (mut commit, mut built) = (1_000_000, 0);
    let (mut starting, mut taking, mut ending, mut asking) = (Watch::new(), Watch::new(), Watch::new(), Watch::new());
    while scheduler.can_start() {
        commit += 1;
        let actions = starting.step(&mut scheduler, commit, Input::Dispatched { limit: 1 });
        let mut orders = 0;
        for action in actions {
            match action {
                Action::Put(Key::Permit(number), Record::Permit(mut permit)) => {
                    permit.worker = Some("w".into());
                    let seen = Input::PermitSeen { permit: number, record: permit.clone() };
                    taking.step(&mut scheduler, commit, seen);
                    ending.step(&mut scheduler, commit, Input::Finished(Box::new(result(&permit))));
                    built += 1;
                }
                Action::Effect(Effect::Order(_)) => orders += 1,
                Action::Put(..) | Action::Delete(_) | Action::Effect(_) => {}
            }
        }
        assert_eq!(orders, 1);
        // A full commit, and somebody asks before it is stored.
        if commit.is_multiple_of(100) {
            asking.look(&mut scheduler);
            scheduler.stored();
        }
    }
    assert_eq!(built, PACKAGES);
    let (step, look) = (Duration::from_micros(500), Duration::from_millis(20));
    for (what, bound, watch) in [
        ("start", step, starting),
        ("take", step, taking),
        ("end", step, ending),
        ("ask while 100 builds are not stored", look, asking),
    ] {
        let mean = watch.mean(what);
        assert!(mean < bound, "{what}: {mean:?} on the mean");
    }

    let records: Vec<_> = scheduler.records().collect();
    let mut loading = Watch::new();
    let restored = Scheduler::restore(Config::default(), records, scheduler.serial(), now(commit).at).unwrap();
    assert_eq!(restored.counts(), scheduler.counts());
    loading.step(&mut scheduler, commit, Input::TimePassed { limit: 1 });
}
