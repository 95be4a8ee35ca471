//! Random lives of a line: whatever happens in whatever order, what must hold holds.
//!
//! 2,000 sequences of 500 steps, 50,000 where `CAMPAIGN=full`; `PACKLINE_SEQUENCES` and `PACKLINE_STEPS` ask for another
//! number.

use std::collections::BTreeMap;

use packline_domain::effect::Effect;
use packline_scheduler::Action;
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config as Cases, TestCaseError, TestRunner},
};

use crate::{
    line::{Line, package},
    world::{Draw, World},
};

fn asked(variable: &str, default: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn live(limit: u32, draws: &[Draw]) -> World {
    let mut world = World::new(limit);
    for draw in draws {
        world.step(*draw);
    }
    world
}

/// So many lives of so many steps, each followed to its end; all is checked after every step.
fn live_to_the_end(sequences: u32, steps: usize) {
    let config = Cases { cases: sequences, failure_persistence: None, max_shrink_iters: 1024, ..Cases::default() };
    let strategy = (1_u32..5, vec(any::<Draw>(), steps..=steps));
    let outcome = TestRunner::new(config).run(&strategy, |(limit, draws)| {
        let lived = std::panic::catch_unwind(|| {
            let mut world = live(limit, &draws);
            world.settle();
            world.check_statuses();
        });
        lived.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            TestCaseError::fail(text.unwrap_or_else(|| "panicked".to_owned()))
        })
    });
    outcome.unwrap();
}

#[test]
fn whatever_happens_what_must_hold_holds() {
    let usual = match std::env::var("CAMPAIGN").as_deref() {
        Err(_) | Ok("short") => 2000,
        Ok("full") => 50_000,
        Ok(other) => panic!("CAMPAIGN is `short` or `full`, and not {other:?}"),
    };
    let (sequences, steps) = (asked("PACKLINE_SEQUENCES", usual), asked("PACKLINE_STEPS", 500) as usize);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    std::thread::scope(|scope| {
        for core in 0..cores {
            let share = sequences / cores + u32::from(core < sequences % cores);
            scope.spawn(move || live_to_the_end(share, steps));
        }
    });
}

#[test]
fn the_same_inputs_give_the_same_actions_byte_for_byte() {
    let mut runner = TestRunner::deterministic();
    let strategy = vec(any::<Draw>(), 200);
    for _ in 0..20 {
        use proptest::strategy::{Strategy, ValueTree};
        let draws = strategy.new_tree(&mut runner).unwrap().current();
        let said = |world: &World| format!("{:?}{:?}{:?}", world.line.orders, world.line.statuses, world.line.events);
        let (one, other) = (live(3, &draws), live(3, &draws));
        assert_eq!(said(&one), said(&other));
        assert_eq!(one.line.bucket, other.line.bucket);
    }
}

#[test]
fn the_random_lives_reach_every_corner() {
    let mut runner = TestRunner::deterministic();
    let strategy = vec(any::<Draw>(), 300);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut interrupted = false;
    for _ in 0..60 {
        use proptest::strategy::{Strategy, ValueTree};
        let mut world = World::new(3);
        for draw in strategy.new_tree(&mut runner).unwrap().current() {
            world.step(draw);
            let intention = world.line.scheduler.intention();
            interrupted |= intention.is_some_and(|intention| !intention.interrupted.is_empty());
        }
        for event in &world.line.events {
            *seen.entry(event.kind.clone()).or_default() += 1;
        }
    }
    let kinds = [
        "cancelled",
        "cancelling",
        "draining",
        "drained",
        "ending",
        "failed",
        "limit",
        "paused",
        "published",
        "queued",
        "requeued",
        "resumed",
        "retrying",
        "returned",
        "stale",
        "started",
        "stopped",
        "unchanged",
        "unresolvable",
        "withdrawn",
        "workerLost",
    ];
    for kind in kinds {
        assert!(seen.contains_key(kind), "no life saw `{kind}`: {seen:?}");
    }
    assert!(interrupted, "no command overtook what was being worked off");
    let unknown: Vec<_> = seen.keys().filter(|kind| !kinds.contains(&kind.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// An effect never stands before a record in one step: the commit is whole before anything is sent.
#[test]
fn records_come_before_effects() {
    let mut line = Line::of(3);
    let actions = line.announce(&[package("a", 0, &[]), package("b", 0, &[])]);
    let first_effect = actions.iter().position(|action| matches!(action, Action::Effect(_))).unwrap();
    assert!(actions[first_effect..].iter().all(|action| matches!(action, Action::Effect(Effect::Event(_)))));
    assert_eq!(first_effect, 2);
}
