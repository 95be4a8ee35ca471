//! Starting builds: the order, the permits, the slots.

use packline_domain::{Command, Outcome, StatusKind, record::State};
use packline_scheduler::{Config, Input, Standing};
use serde_json::json;

use crate::line::{Line, name, package};

#[test]
fn a_start_is_a_permit_an_order_a_status_and_an_event() {
    let mut line = Line::with(4, Config { registry: Some("http://r".into()), ..Config::default() });
    let mut core = package("core", 7, &["other"]);
    core.id = Some("id-1".into());
    core.category = "utils".into();
    core.extra.insert("ref".into(), json!("main"));
    core.extra.insert("permit".into(), json!(99));
    core.extra.insert("buildId".into(), json!("x.1"));
    line.announce(&[core]);
    assert_eq!(line.dispatch(), ["core"]);
    let order = line.orders[0].clone();
    assert_eq!(order.build_id.to_string(), "t/core.101");
    assert_eq!((order.attempt, order.permit, order.permit_revision), (1, 0, 0));
    assert_eq!((order.package_path.as_str(), order.plan_path.as_str()), ("packages/core", "plans/core.md"));
    assert_eq!(order.config.registry.as_deref(), Some("http://r"));
    assert_eq!(order.deadline_seconds, 3600);
    assert_eq!(order.extra.keys().collect::<Vec<_>>(), ["ref"], "hostile fields stay out");
    let status = &line.statuses[0];
    assert_eq!((status.status, status.attempts, status.commit), (StatusKind::Building, 1, line.now.commit));
    assert_eq!(status.id.as_deref(), Some("id-1"));
    assert_eq!(line.queue("core").status_commit, line.now.commit);
    assert_eq!(line.last_event(), ("started", "started @t/core (permit 1 of 4, attempt 1)"));
    let State::Building { build_id, permit, again } = line.state("core") else { panic!("not building") };
    assert_eq!((build_id, permit, again), (order.build_id, 0, false));
}

#[test]
fn the_limit_holds() {
    let mut line = Line::of(2);
    line.announce(&[package("a", 0, &[]), package("b", 0, &[]), package("c", 0, &[])]);
    assert_eq!(line.dispatch(), ["a", "b"]);
    line.take_order("a", "w");
    line.finish("a", Outcome::Published);
    assert_eq!(line.dispatch(), ["c"]);
}

#[test]
fn the_lowest_free_number_is_used_again() {
    let mut line = Line::of(3);
    line.announce(&["a", "b", "c", "d", "e"].map(|text| package(text, 0, &[])));
    line.dispatch();
    line.build("b", Outcome::Published);
    line.build("a", Outcome::Published);
    line.dispatch();
    assert_eq!((line.permit_of("d"), line.permit_of("e"), line.permit_of("c")), (Some(0), Some(1), Some(2)));
}

#[test]
fn no_more_starts_than_free_slots_of_live_workers() {
    let mut line = Line::without_workers(10, Config::default());
    line.announce(&["a", "b", "c", "d", "e"].map(|text| package(text, 0, &[])));
    assert_eq!(line.dispatch(), Vec::<String>::new());
    line.workers(&[("w", 1), ("v", 1)]);
    assert_eq!(line.dispatch(), ["a", "b"]);
    line.take_order("a", "w");
    line.workers(&[("v", 1)]);
    assert_eq!(line.dispatch(), Vec::<String>::new(), "one order waits for the one slot");
    line.take_order("b", "v");
    line.workers(&[("v", 1), ("u", 2)]);
    assert_eq!(line.dispatch(), ["c", "d"], "what a silent worker holds takes no slot of the live");
    line.workers(&[("v", 0), ("u", 2)]);
    line.finish("b", Outcome::Published);
    assert_eq!(line.dispatch(), Vec::<String>::new(), "a resting worker has no slots");
}

#[test]
fn permits_of_silent_workers_count_against_the_limit() {
    let mut line = Line::of(2);
    line.announce(&["a", "b", "c"].map(|text| package(text, 0, &[])));
    line.dispatch();
    line.take_order("a", "w");
    line.take_order("b", "w");
    line.workers(&[("v", 5)]);
    assert_eq!(line.dispatch(), Vec::<String>::new());
}

#[test]
fn a_lower_limit_lets_builds_finish() {
    let mut line = Line::of(3);
    line.announce(&["a", "b", "c", "d"].map(|text| package(text, 0, &[])));
    line.dispatch();
    line.command(Command::AdjustConcurrency { max_concurrent: 1 });
    assert_eq!(line.last_event(), ("limit", "limit of concurrent builds 3 → 1 by ops: a reason"));
    for (text, started) in [("a", vec![]), ("b", vec![]), ("c", vec!["d"])] {
        line.build(text, Outcome::Published);
        assert_eq!(line.dispatch(), started);
    }
}

#[test]
fn a_driver_with_little_room_starts_few() {
    let mut line = Line::of(3);
    line.announce(&["a", "b", "c"].map(|text| package(text, 0, &[])));
    line.feed(Input::Dispatched { limit: 2 });
    assert_eq!(line.orders.len(), 2);
    assert!(line.scheduler.can_start());
    assert_eq!(line.standing("c"), Some(Standing::Ready));
}

#[test]
fn serials_grow_with_every_start_of_any_build() {
    let mut line = Line::of(2);
    line.announce(&[package("a", 0, &[]), package("b", 0, &[])]);
    line.dispatch();
    line.build("a", Outcome::Returned);
    line.dispatch();
    let serials: Vec<u64> = line.orders.iter().map(|order| order.build_id.serial).collect();
    assert_eq!(serials, [101, 102, 103]);
    assert_eq!(line.scheduler.serial(), 103);
    assert_eq!(line.restored().serial(), 103);
}

#[test]
fn higher_priority_first_then_more_waiters_then_first_come() {
    let mut line = Line::of(1);
    line.announce(&[
        package("first", 0, &[]),
        package("second", 0, &[]),
        package("popular", 0, &[]),
        package("high", 5, &[]),
        package("needs-popular", -1, &["popular"]),
    ]);
    let mut order = Vec::new();
    while let Some(next) = line.dispatch().pop() {
        line.build(&next, Outcome::Published);
        order.push(next);
    }
    assert_eq!(order, ["high", "popular", "first", "second", "needs-popular"]);
}

#[test]
fn a_package_inherits_the_highest_priority_of_those_that_wait_for_it() {
    let mut line = Line::of(1);
    line.announce(&[
        package("middling", 5, &[]),
        package("base", 0, &[]),
        package("lib", 1, &["base"]),
        package("urgent", 9, &["lib"]),
    ]);
    assert_eq!(line.scheduler.priority(&name("base")), Some(9));
    let upcoming: Vec<_> = line.scheduler.upcoming(None).map(|queue| queue.package.name.unscoped()).collect();
    assert_eq!(upcoming, ["base", "middling", "lib", "urgent"], "what is ready, then what is not");
    line.announce(&[package("urgent", 2, &["lib"])]);
    assert_eq!(line.scheduler.priority(&name("base")), Some(2));
    line.announce(&[package("urgent", 9, &["lib"])]);
    line.command(Command::Cancel { package_name: name("urgent") });
    assert_eq!(line.scheduler.priority(&name("base")), Some(1), "what does not wait passes nothing on");
    assert_eq!(line.dispatch(), ["middling"]);
}

#[test]
fn the_page_of_what_comes_goes_on_where_it_ended() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 3, &[]), package("b", 2, &[]), package("c", 2, &["a"]), package("d", 1, &["b"])]);
    let all: Vec<_> = line.scheduler.upcoming(None).map(|queue| queue.package.name.clone()).collect();
    assert_eq!(all.len(), 4);
    for (at, last) in all.iter().enumerate() {
        let rest: Vec<_> = line.scheduler.upcoming(Some(last)).map(|queue| queue.package.name.clone()).collect();
        assert_eq!(rest, all[at + 1..]);
    }
}
