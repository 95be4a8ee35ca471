//! The contract's sentences on announcements and on results, each with its tests. Those without a file are
//! in this program's modules.
//!
//! | sentence | test |
//! |---|---|
//! | one package, an array of packages, or a poll's object | `tests/tests/end_to_end/long/foreign.rs`: `packages_that_nats_py_announces_are_built_and_it_reads_the_records_back` |
//! | of a batch only the bad items are refused | `libs/domain/tests/wire.rs`: `of_a_batch_only_the_bad_items_are_refused` |
//! | higher priority first | `start::higher_priority_first_then_more_waiters_then_first_come` |
//! | the serial of a `buildId` grows with every start of any build | `start::serials_grow_with_every_start_of_any_build` |
//! | unknown: queued, by hand and by poll | `announce::an_unknown_package_is_queued_by_hand_and_by_poll` |
//! | queued: newest data replace the old | `announce::newest_data_replace_those_of_a_queued_package_and_its_place_stays`, `announce::of_two_in_one_announcement_the_last_counts` |
//! | retrying: the same | `announce::newest_data_replace_those_of_a_retrying_package_and_its_pause_stays` |
//! | building: data replaced, built again if anything but priority, id, category and status changed | `contract::a_building_package_is_built_again_for_all_but_priority_id_category_and_status` |
//! | published, failed: queued again with fresh attempts | `announce::a_settled_package_is_queued_again_with_fresh_attempts` |
//! | … by a poll ignored when decided by a commit later than `reportedThrough` | `announce::a_poll_that_did_not_know_the_outcome_yet_is_ignored` |
//! | cancelled: queued again by hand, ignored by poll | `announce::a_cancelled_package_is_queued_by_hand_and_not_by_poll`; over the wire `tests/tests/end_to_end/long/foreign.rs`: `what_nats_py_announces_as_a_poll_obeys_the_rules_of_a_poll` |
//! | what a poll does not name stays as it is | `announce::what_a_poll_does_not_name_stays` |
//! | a poll too long for one message is split, dependencies first | `services/poller/src/announce.rs`: `a_long_answer_is_split_with_dependencies_first` |
//! | the poller leaves out packages whose report waits or was refused | `services/poller/src/announce.rs`: `what_the_catalogue_does_not_know_yet_is_left_out` |
//! | unknown fields are kept where the message is stored and passed on | `contract::fields_that_nobody_knows_reach_the_order` |
//! | a `path` of another shape is ignored with one event | `announce::a_path_of_another_shape_is_ignored_with_one_event` |
//! | `path` is the folder in the workspace | `libs/domain/tests/paths.rs`: `hostile_paths_are_refused_in_one_line`, `services/builder-worker/tests/worker/path.rs`: `a_package_has_the_same_around_it_wherever_it_is` |
//! | at most 256 KiB | `libs/domain/tests/wire.rs`: `an_announcement_that_is_none_is_refused_whole_with_the_reason` |
//! | a missing `schema` means 1 | `libs/domain/tests/wire.rs`: `messages` |
//! | every message that Packline publishes carries `schema: 1` | `tests/tests/end_to_end/short/contract.rs`: `every_message_that_packline_publishes_carries_schema_1` |
//! | an order that a live worker does not understand waits | `protocol::an_order_for_another_folder_waits_while_an_older_worker_is_live_and_others_start`, `protocol::one_event_names_the_worker_and_its_version` |
//! | … and what such a worker says of it counts as returned | `protocol::what_an_older_worker_says_of_such_an_order_counts_as_returned` |
//! | `returned` counts for nothing | `finish::what_is_handed_back_counts_for_nothing_and_keeps_its_place` |
//! | `retry: false`: permanent | `finish::a_permanent_failure_is_not_retried` |
//! | `cancelled` without `ending` counts as returned | `finish::what_is_handed_back_counts_for_nothing_and_keeps_its_place` |
//! | `error` is cut to 4 KiB | `contract::the_error_of_a_result_is_cut_to_4_kib_at_a_character` |
//! | a stale result changes nothing | `finish::a_stale_failure_changes_nothing` |
//! | … but a stale `published` is reported | `finish::a_stale_published_is_a_fact_unless_the_package_is_building` |
//! | `permitRevision` is that of the worker's last write | `services/builder-worker/tests/worker/orders.rs`: `an_order_is_claimed_built_answered_and_forgotten` |
//! | … and a lie about it harms nobody | `tests/tests/end_to_end/short/refusal.rs`: `a_result_that_lies_about_its_permit_stops_nobody` |
//! | a lost worker is said by the orchestrator alone | `contract::no_worker_can_say_that_it_was_lost` |
//! | `attempt` is 1 plus the package's own failures since it was last queued afresh | `finish::infrastructure_has_a_budget_of_its_own`, `announce::newer_data_are_built_with_all_attempts_whatever_became_of_the_old` |

use std::{fs, path::Path};

use packline_domain::{
    BuildResult, Outcome, Package,
    message::{MAX_ERROR, decode},
    record::State,
};
use packline_scheduler::{Input, Standing};
use serde_json::json;

use crate::line::{Line, name, package};

#[test]
fn every_sentence_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = include_str!("contract.rs").lines().filter(|line| line.starts_with("//! | ")).skip(1);
    let mut named = 0;
    for cell in rows.filter_map(|row| row.rsplit('|').nth(1)) {
        let mut file = None;
        for word in cell.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                file = Some(root.join("../..").join(word));
                continue;
            }
            let (module, test) = word.split_once("::").unwrap_or(("", word));
            let path = if module.is_empty() { file.take() } else { None };
            let path = path.unwrap_or_else(|| root.join("tests/behaviour").join(module).with_extension("rs"));
            let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(source.contains(&format!("fn {test}(")), "{} has no test {test}", path.display());
            named += 1;
        }
    }
    assert!(named > 25, "{named} tests are named");
}

#[test]
fn a_building_package_is_built_again_for_all_but_priority_id_category_and_status() {
    let described = || {
        let mut described = package("a", 1, &["b"]);
        described.extra.insert("status".into(), "ready".into());
        described
    };
    type Change = fn(&mut Package);
    let changes: [(Change, bool); 8] = [
        (|package| package.priority = 9, false),
        (|package| package.id = Some("P9".into()), false),
        (|package| package.category = "docs".into(), false),
        (|package| drop(package.extra.insert("status".into(), "building".into())), false),
        (|package| package.dependencies.clear(), true),
        (|package| package.path = "src/a".parse().ok(), true),
        (|package| drop(package.extra.insert("ref".into(), "main".into())), true),
        (|package| drop(package.extra.insert("ref".into(), json!({"deep": [1]}))), true),
    ];
    for (case, (change, again)) in changes.into_iter().enumerate() {
        for by_poll in [false, true] {
            let mut line = Line::of(1);
            line.announce(&[described()]);
            line.dispatch();
            line.take_order("a", "w");
            let mut newer = described();
            change(&mut newer);
            if by_poll {
                line.poll(std::slice::from_ref(&newer), 0);
            } else {
                line.announce(std::slice::from_ref(&newer));
            }
            assert_eq!(line.queue("a").package, newer, "case {case}: the data are replaced in any case");
            line.finish("a", Outcome::Published);
            let expected = if again { Standing::Ready } else { Standing::Published };
            assert_eq!(line.standing("a"), Some(expected), "case {case}, by poll: {by_poll}");
        }
    }
}

#[test]
fn fields_that_nobody_knows_reach_the_order() {
    let mut line = Line::of(1);
    let mut own = package("a", 0, &[]);
    own.extra.insert("ref".into(), json!({"branch": "main", "deep": [null, 1.5]}));
    line.announce(std::slice::from_ref(&own));
    line.dispatch();
    assert_eq!(line.orders.last().unwrap().extra, own.extra);
    assert_eq!(line.restored().package(&name("a")).unwrap().package, own, "and survive a restart");
}

#[test]
fn the_error_of_a_result_is_cut_to_4_kib_at_a_character() {
    for (error, kept) in [("x".repeat(MAX_ERROR), MAX_ERROR), ("é".repeat(MAX_ERROR), MAX_ERROR - 1)] {
        let mut line = Line::of(1);
        line.announce(&[package("a", 0, &[])]);
        line.dispatch();
        line.take_order("a", "w");
        let mut result = line.result(&line.build_id("a"), Outcome::Failed);
        (result.error, result.retry) = (Some(error), false);
        line.feed(Input::Finished(Box::new(result)));
        let State::Failed { error, .. } = line.state("a") else { panic!("{:?}", line.state("a")) };
        assert_eq!(error.len(), kept);
        assert_eq!(line.statuses.last().unwrap().error.as_ref(), Some(&error), "the catalogue is told the same");
    }
}

#[test]
fn no_worker_can_say_that_it_was_lost() {
    let mut line = Line::of(1);
    line.announce(&[package("a", 0, &[])]);
    line.dispatch();
    line.take_order("a", "w");
    let mut said = serde_json::to_value(line.result(&line.build_id("a"), Outcome::Failed)).unwrap();
    assert!(decode::<BuildResult>(said.to_string().as_bytes()).is_ok());
    said["outcome"] = "workerLost".into();
    assert!(decode::<BuildResult>(said.to_string().as_bytes()).is_err());
}
