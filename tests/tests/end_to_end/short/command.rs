//! What each command does to packages in each state, to limits, and to orchestrators.
//!
//! The contract's section Control, sentence by sentence, and the test that shows each:
//!
//! | the contract says | shown in | by |
//! |---|---|---|
//! | `nats pub control.pause ''` is all it takes | `tests/tests/end_to_end/long/foreign.rs` | `commands_and_questions_work_with_the_real_tool` |
//! | bodies as people type them; anything else to `dead.control` with the reason, and changes nothing | `tests/tests/end_to_end/short/command.rs` | `bodies_are_taken_as_people_type_them_and_what_is_wrong_is_told_what_would_be_right` |
//! | a package is `acme/core`, `"@acme/core"` or an object | `libs/domain/src/control.rs` | `commands_are_read_as_people_type_them` |
//! | commands are durable: one sent while no orchestrator runs is applied when one starts | `tests/tests/end_to_end/short/command.rs` | `what_is_commanded_while_no_orchestrator_runs_is_applied_in_order_when_one_starts` |
//! | applied in order | `tests/tests/end_to_end/long/random/mod.rs` | `commands_of_three_clients_at_random_give_what_the_model_says_while_a_leader_is_killed_twice` |
//! | each once when the leader dies between commit and ack | `tests/tests/end_to_end/long/once.rs` | `a_command_is_applied_once_although_its_leader_is_killed_or_frozen_before_it_acknowledges` |
//! | … and when it is delivered again | `tests/tests/end_to_end/long/once.rs` | `a_command_that_is_delivered_twice_is_applied_once` |
//! | who, why and when are in `control` and in an event | `tests/tests/end_to_end/long/once.rs` | `a_command_is_applied_once_although_its_leader_is_killed_or_frozen_before_it_acknowledges` |
//! | pause: nothing new starts; running builds go on; resume goes on | `tests/tests/end_to_end/short/control.rs` | `nothing_starts_while_paused_and_the_running_build_goes_on` |
//! | … orders that no worker has taken are withdrawn first; `control` says when that is complete | `libs/scheduler/tests/behaviour/withdraw.rs` | `pause_and_drain_withdraw_the_orders_that_nobody_has_taken` |
//! | … nothing starts after that | `tests/tests/end_to_end/long/pause.rs` | `nothing_starts_after_a_complete_pause_in_any_round` |
//! | resume also ends draining and stopped | `libs/scheduler/tests/behaviour/command.rs` | `resume_ends_paused_draining_and_stopped` |
//! | drain: running builds finish, then every orchestrator exits 0; the queue stays; one started after that runs again | `tests/tests/end_to_end/short/control.rs` | `drained_orchestrators_all_exit_0_and_the_next_one_goes_on` |
//! | … every orchestrator, also one that slept meanwhile | `tests/tests/end_to_end/short/command.rs` | `an_orchestrator_that_slept_through_a_drain_and_a_restart_leaves_all_the_same` |
//! | … and that means those that started before it | `services/orchestrator/src/standby.rs` | `a_drain_means_all_that_started_before_it_also_when_the_line_runs_again` |
//! | emergency-stop: every running build is dead within 2 s, or within CLAIM + 5 s where its worker does not hear | `tests/tests/end_to_end/long/stop.rs` | `an_emergency_stop_leaves_nothing_of_16_stubborn_builds_also_on_a_frozen_worker_and_on_one_cut_off` |
//! | … the packages are queued with their attempts unspent, nothing starts until resume, the orchestrator stays up | `tests/tests/end_to_end/long/stop.rs` | `an_emergency_stop_leaves_nothing_of_16_stubborn_builds_also_on_a_frozen_worker_and_on_one_cut_off` |
//! | … and it waits for nothing that takes long | `tests/tests/end_to_end/long/stop.rs` | `an_emergency_stop_does_not_wait_for_a_long_announcement_that_is_being_worked_off` |
//! | … nor for a requeue of all that failed | `libs/scheduler/tests/behaviour/command.rs` | `a_stop_waits_neither_for_a_long_announcement_nor_for_the_requeueing_of_all_and_both_go_on_afterwards` |
//! | … also with npm | `tests/tests/end_to_end/short/control.rs` | `an_emergency_stop_kills_what_runs_and_the_attempt_is_unspent` |
//! | … also of a claim that it overtakes | `services/builder-worker/tests/worker/orders.rs` | `a_claim_whose_answer_was_lost_and_that_is_withdrawn_meanwhile_starts_no_process` |
//! | pause and drain while stopped change nothing | `libs/scheduler/tests/behaviour/command.rs` | `pause_and_drain_while_stopped_change_nothing_but_are_remembered` |
//! | pause during draining ends the drain | `libs/scheduler/tests/behaviour/command.rs` | `pause_during_draining_ends_the_drain` |
//! | adjust-concurrency: up fills at once, a lower limit lets running builds finish | `tests/tests/end_to_end/short/command.rs` | `a_higher_limit_fills_at_once_and_a_lower_one_lets_running_builds_finish` |
//! | … 1 to 10000 | `libs/scheduler/tests/behaviour/command.rs` | `a_limit_out_of_range_is_refused` |
//! | cancel: in every state | `tests/tests/end_to_end/short/command.rs` | `cancel_does_in_each_state_what_an_operator_expects` |
//! | … of an order that nobody has taken | `libs/scheduler/tests/behaviour/withdraw.rs` | `cancel_of_an_order_that_nobody_has_taken_drops_the_package_at_once` |
//! | … of a build that a stop ends already | `libs/scheduler/tests/behaviour/withdraw.rs` | `a_cancel_counts_although_the_stop_before_it_ended_the_build_first` |
//! | requeue: failed or cancelled, with a fresh set of attempts | `libs/scheduler/tests/behaviour/command.rs` | `requeue_gives_failed_cancelled_and_retrying_packages_all_their_attempts` |
//! | … of all failed, however many | `tests/tests/end_to_end/short/command.rs` | `all_of_1500_failed_packages_are_requeued_by_one_command_although_its_leader_is_killed_in_the_middle` |
//! | poll now | `services/poller/tests/catalogues/timing.rs` | `commands_given_while_no_poller_runs_are_one_poll_at_its_start` |
//! | … and it is nothing to the orchestrator | `libs/scheduler/tests/behaviour/command.rs` | `poll_is_not_for_the_orchestrator` |
//! | a permit that is withdrawn counts as held, and its package does not start again, until its worker has said that all is gone | `libs/scheduler/tests/behaviour/withdraw.rs` | `emergency_stop_ends_all_builds_and_their_attempts_are_unspent` |
//! | … or is lost | `libs/scheduler/tests/behaviour/withdraw.rs` | `cancel_of_a_build_is_reported_when_its_worker_is_lost` |
//! | never more builds alive than permits, by a witness outside | `tests/tests/end_to_end/long/random/mod.rs` | `commands_of_three_clients_at_random_give_what_the_model_says_while_a_leader_is_killed_twice` |
use std::{path::Path, time::Duration};

use packline_broker::{Message, StreamName};
use packline_domain::{FailureClass, Mode};
use packline_testkit::table;
use packline_tests::{Bare, PATIENCE, Workshop};
use serde_json::{Value, json};

#[test]
fn every_sentence_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert_eq!(table::problems(&root, include_str!("command.rs"), 30), [""; 0]);
}

/// Each build waits for a file of its package's name; `broken` ones fail for good, `flaky` ones for now.
const SCRIPT: &str = r#"
trap '' TERM
name=${PACKAGE_NAME#@acme/}
echo "$name" >> "$SHOP/reached"
case $name in broken*) exit 78 ;; flaky*) exit 1 ;; esac
while [ ! -e "$SHOP/open-$name" ]; do sleep 0.05; done
"#;

fn workshop(names: &[&str]) -> Workshop {
    Workshop::of(names.iter().map(|name| (*name).to_owned()), SCRIPT).unwrap()
}

/// Commands, and answers with the kind and the message of the event that says what that did.
async fn done(line: &Bare, command: &str, body: &str) -> (String, String) {
    let sequence = line.command(command, body.to_owned()).await.unwrap();
    line.until_complete(sequence).await.unwrap();
    line.until_out().await.unwrap();
    let events = line.events().await.unwrap();
    let told: Vec<_> = events
        .into_iter()
        .filter(|event| event.command == Some(sequence) && event.kind != "withdrawn")
        .map(|event| (event.kind, event.message))
        .collect();
    assert_eq!(told.len(), 1, "{command} {body}: {told:?}");
    told.into_iter().next().unwrap()
}

async fn announce(line: &Bare, packages: &[Value]) {
    line.announce(json!(packages).to_string()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_does_in_each_state_what_an_operator_expects() {
    let workshop = workshop(&["runs", "ends", "ok", "broken", "flaky", "waits"]);
    let settings = [("RETRY_BASE", "5m"), ("RETRY_MAX", "5m"), ("CLAIM", "15s"), ("MAX_CONCURRENT", "8")];
    let mut line = Bare::start(&settings).await.unwrap();
    line.add_builder(&workshop, 3, &[]).unwrap();
    workshop.put("open-ok").unwrap();
    announce(&line, &[json!({"name": "@acme/broken"}), json!({"name": "@acme/flaky"}), json!({"name": "@acme/ok"})])
        .await;
    line.until_state("@acme/broken", "failed").await.unwrap();
    line.until_state("@acme/flaky", "retrying").await.unwrap();
    line.until_state("@acme/ok", "published").await.unwrap();
    announce(
        &line,
        &[
            json!({"name": "@acme/runs", "priority": 2}),
            json!({"name": "@acme/ends", "priority": 1}),
            json!({"name": "@acme/blocked", "dependencies": ["@acme/runs"]}),
        ],
    )
    .await;
    let (runs, ends) = (line.until_held("@acme/runs").await.unwrap(), line.until_held("@acme/ends").await.unwrap());
    line.until_seen("both builds", PATIENCE, || workshop.alive().len() == 2).await.unwrap();

    for (package, kind) in [("blocked", "cancelled"), ("flaky", "cancelled"), ("broken", "cancelled")] {
        assert_eq!(done(&line, "cancel", &format!("acme/{package}")).await.0, kind, "{package}");
        line.until_state(&format!("@acme/{package}"), "cancelled").await.unwrap();
    }
    for (package, why) in [("ok", "is published"), ("broken", "is cancelled"), ("nobody", "is not in the queue")] {
        let (kind, message) = done(&line, "cancel", &format!("acme/{package}")).await;
        assert_eq!(kind, "unchanged", "{message}");
        assert!(message.contains(why), "{message}");
    }
    // A build under way is killed, and its package is cancelled when all of it is gone.
    let who = r#"{"packageName": "@acme/runs", "by": "ada", "reason": "wrong branch"}"#;
    assert_eq!(done(&line, "cancel", who).await.0, "cancelling");
    line.until_state("@acme/runs", "cancelled").await.unwrap();
    assert!(!workshop.alive().contains_key(&runs.build_id.to_string()));
    let retries = line.retries("@acme/runs").await.unwrap();
    assert_eq!((retries.failures, retries.attempts[0].class), (0, Some(FailureClass::Cancelled)));
    assert_eq!(retries.attempts[0].error.as_deref(), Some("cancelled by ada: wrong branch"));

    // One that is ending already, on a worker that cannot say so: it is cancelled, not queued, when that is lost.
    line.workers[0].freeze();
    assert_eq!(done(&line, "emergency-stop", "").await.0, "stopped");
    assert_eq!(done(&line, "cancel", "acme/ends").await.0, "cancelling");
    let (kind, message) = done(&line, "cancel", "acme/ends").await;
    assert_eq!(kind, "unchanged");
    assert!(message.contains("is being cancelled"), "{message}");
    line.until_state("@acme/ends", "cancelled").await.unwrap();
    assert!(!workshop.alive().contains_key(&ends.build_id.to_string()));
    line.workers[0].thaw();

    // The catalogue is told of each, as failed by whom.
    line.until_out().await.unwrap();
    let statuses = line.messages(StreamName::Status).await.unwrap();
    for package in ["blocked", "flaky", "broken", "runs", "ends"] {
        let of = |body: &&Value| body["packageName"] == format!("@acme/{package}");
        let last = statuses.iter().map(|(_, body)| body).rfind(of).unwrap();
        assert_eq!(last["status"], "cancelled", "{last}");
        assert!(last["error"].as_str().unwrap().starts_with("cancelled by "), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_limit_fills_at_once_and_a_lower_one_lets_running_builds_finish() {
    let names: Vec<String> = (0..10).map(|n| format!("p{n}")).collect();
    let workshop = Workshop::of(names.clone(), SCRIPT).unwrap();
    let mut line = Bare::start(&[("MAX_CONCURRENT", "2")]).await.unwrap();
    line.add_builder(&workshop, 8, &[]).unwrap();
    let packages: Vec<_> = names.iter().map(|name| json!({"name": format!("@acme/{name}")})).collect();
    announce(&line, &packages).await;
    let running = async |count: usize| {
        line.until_seen("so many builds", PATIENCE, || workshop.alive().len() >= count).await.unwrap();
        // None more has a permit, so none more can come.
        assert_eq!(line.held().await.unwrap().len(), count);
    };
    running(2).await;
    assert_eq!(done(&line, "adjust-concurrency", "5").await.1, "limit of concurrent builds 2 → 5");
    running(5).await;
    assert_eq!(done(&line, "adjust-concurrency", r#"{"maxConcurrent": 1}"#).await.0, "limit");
    for name in &names[..4] {
        workshop.put(&format!("open-{name}")).unwrap();
    }
    for name in &names[..4] {
        line.until_state(&format!("@acme/{name}"), "published").await.unwrap();
    }
    running(1).await;
    assert_eq!(workshop.lines("reached").len(), 5, "the running ones went on, and none was started");
    workshop.put("open-p4").unwrap();
    line.until_held("@acme/p5").await.unwrap();
    running(1).await;
    for name in &names[5..] {
        workshop.put(&format!("open-{name}")).unwrap();
    }
    for name in &names {
        line.until_state(&format!("@acme/{name}"), "published").await.unwrap();
    }
    let state = line.ask("orchestrator.state", "").await.unwrap();
    assert_eq!(state["maxConcurrent"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_1500_failed_packages_are_requeued_by_one_command_although_its_leader_is_killed_in_the_middle() {
    const PACKAGES: usize = 1500;
    // Nobody has made folders for them: each fails for good.
    let workshop = workshop(&["none"]);
    let mut line = Bare::start(&[("MAX_CONCURRENT", "100"), ("LEASE", "1s")]).await.unwrap();
    line.add_builder(&workshop, 100, &[]).unwrap();
    let packages: Vec<_> = (0..PACKAGES).map(|n| json!({"name": format!("@acme/p{n}")})).collect();
    announce(&line, &packages).await;
    let counts = async || line.ask("orchestrator.state", "").await.map(|state| state["counts"].clone());
    let until = async |of: &str, count: usize| {
        let mut looks = 0;
        while counts().await.unwrap_or_default()[of] != count {
            looks += 1;
            assert!(looks < 1200, "{of}: {:?}\n{}", counts().await, line.logs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    until("failed", PACKAGES).await;
    let pause = line.command("pause", "").await.unwrap();
    line.until_complete(pause).await.unwrap();

    let one = line.command("requeue", "acme/p7").await.unwrap();
    line.until_complete(one).await.unwrap();
    line.until_state("@acme/p7", "queued").await.unwrap();
    until("failed", PACKAGES - 1).await;
    let begun = |intention: &Value| intention["sequence"].as_u64() > Some(one);
    let watched = line.until("intention", |intention| intention.is_some_and(begun));
    let (begun, all) = tokio::join!(watched, line.command("requeue", r#"{"all": "failed", "by": "ada"}"#));
    begun.unwrap();
    let all = all.unwrap();
    line.orchestrator.kill().await;
    let next = line.line().orchestrator("next", &[]).unwrap();
    let control = line.until_complete(all).await.unwrap();
    assert_eq!(control.last.unwrap().effect, format!("requeued {} failed packages by ada", PACKAGES - 1));
    until("ready", PACKAGES).await;
    line.until_out().await.unwrap();
    let events = line.events().await.unwrap();
    let told: Vec<_> = events.iter().filter(|event| event.command == Some(all)).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    for n in [0, 7, PACKAGES - 1] {
        let retries = line.retries(&format!("@acme/p{n}")).await.unwrap();
        assert_eq!((retries.failures, retries.attempts.len()), (0, 1), "a fresh set of attempts, and its past");
    }
    line.command("resume", "").await.unwrap();
    until("failed", PACKAGES).await;
    assert!(next.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_slept_through_a_drain_and_a_restart_leaves_all_the_same() {
    let line = Bare::start(&[]).await.unwrap();
    let sleeper = line.line().orchestrator("sleeper", &[]).unwrap();
    line.until_seen("it stands by", PATIENCE, || sleeper.printed().contains("stands by")).await.unwrap();
    sleeper.freeze();
    line.announce(r#"{"name": "@acme/core"}"#).await.unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
    line.command("drain", "").await.unwrap();
    assert!(line.orchestrator.exited().await.success());
    let next = line.line().orchestrator("next", &[]).unwrap();
    line.until("control", |control| control.is_some_and(|control| control["mode"] == "running")).await.unwrap();
    sleeper.thaw();
    let left = tokio::time::timeout(PATIENCE, sleeper.exited()).await;
    assert!(left.is_ok_and(|status| status.success()), "{}", sleeper.last_lines(10));
    assert!(next.is_running(), "one that started after the drain goes on");
    line.until_state("@acme/core", "queued").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_commanded_while_no_orchestrator_runs_is_applied_in_order_when_one_starts() {
    let line = Bare::start(&[("LEASE", "1s")]).await.unwrap();
    line.announce(r#"{"name": "@acme/core"}"#).await.unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
    line.command("drain", "").await.unwrap();
    assert!(line.orchestrator.exited().await.success());
    let mut sent = Vec::new();
    for (command, body) in [("concurrency", "7"), ("cancel", "acme/core"), ("requeue", "acme/core"), ("pause", "")] {
        sent.push(line.command(command, body).await.unwrap());
    }
    let _next = line.line().orchestrator("next", &[]).unwrap();
    let control = line.until_complete(sent[3]).await.unwrap();
    assert_eq!((control.mode, control.max_concurrent), (Mode::Paused, 7));
    line.until_state("@acme/core", "queued").await.unwrap();
    line.until_out().await.unwrap();
    let events = line.events().await.unwrap();
    let told: Vec<_> = events.iter().filter_map(|event| Some((event.command?, event.kind.as_str()))).skip(1).collect();
    let kinds = ["limit", "cancelled", "requeued", "paused"];
    assert_eq!(told, sent.into_iter().zip(kinds).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_taken_as_people_type_them_and_what_is_wrong_is_told_what_would_be_right() {
    let line = Bare::start(&[]).await.unwrap();
    announce(&line, &[json!({"name": "@acme/core"}), json!({"name": "lodash"})]).await;
    line.until_state("lodash", "queued").await.unwrap();
    for (command, body, kind) in [
        ("pause", "", "paused"),
        ("resume", "{}", "resumed"),
        ("pause", r#" {"by": "ada", "reason": null, "ticket": 7} "#, "paused"),
        ("emergencyStop", "", "stopped"),
        ("emergency-stop", r#"{"reason": "fire"}"#, "stopped"),
        ("resume", "", "resumed"),
        ("concurrency", "8", "limit"),
        ("adjustConcurrency", "\"8\"", "limit"),
        ("adjust-concurrency", r#"{"maxConcurrent": 8}"#, "limit"),
        ("adjust-concurrency", r#"{"maxConcurrent": "8"}"#, "limit"),
        ("adjust-concurrency", "10000", "limit"),
        ("cancel", "acme/core", "cancelled"),
        ("requeue", "@acme/core", "requeued"),
        ("cancel", "\"@acme/core\"", "cancelled"),
        ("requeue", "\"acme/core\"", "requeued"),
        ("cancel", r#"{"packageName": "@acme/core"}"#, "cancelled"),
        ("requeue", r#"{"packageName": "acme/core", "by": "ada"}"#, "requeued"),
        ("cancel", "lodash", "cancelled"),
        ("requeue", r#"{"all": "failed"}"#, "requeued"),
    ] {
        assert_eq!(done(&line, command, body).await.0, kind, "control.{command} {body}");
    }
    let before = line.until("control", |control| control.is_some()).await.unwrap();
    let wrong = [
        ("pause", "now", "the body is empty or {\"by\": …, \"reason\": …}, not a string"),
        ("resume", "[1]", "the body is empty or {\"by\": …, \"reason\": …}, not an array"),
        ("pause", r#"{"by": 7}"#, "`by` is a string, not a number"),
        ("drain", "{", "the body is not JSON"),
        ("adjust-concurrency", "", "the body is a whole number from 1 to 10000"),
        ("adjust-concurrency", "0", "the body is a whole number from 1 to 10000"),
        ("adjust-concurrency", "10001", "the body is a whole number from 1 to 10000"),
        ("adjust-concurrency", "2.5", "the body is a whole number from 1 to 10000"),
        ("adjust-concurrency", r#"{"max": 8}"#, "or {\"maxConcurrent\": it}"),
        ("cancel", "", "the body is a package: acme/core, \"@acme/core\" or {\"packageName\": \"@acme/core\"}"),
        ("cancel", "@acme", "after `@scope` come"),
        ("requeue", "7", "the body is a package"),
        ("requeue", r#"{"all": "cancelled"}"#, "`all` is \"failed\""),
        (
            "stop",
            "",
            "a command is one of pause, resume, drain, emergency-stop, adjust-concurrency, cancel, requeue, poll",
        ),
    ];
    let mut refused = Vec::new();
    for (command, body, right) in wrong {
        refused.push((line.command(command, body).await.unwrap(), command, body, right));
    }
    let not_text = Message::new("control.cancel", vec![0xff, 0xfe]);
    refused.push((line.broker.publish(not_text).await.unwrap(), "cancel", "", "is not a package name"));
    let last = refused.last().unwrap().0;
    line.until("leader", |leader| leader.is_some_and(|leader| leader["positions"]["CONTROL"]["sequence"] == last))
        .await
        .unwrap();
    let letters = line.stored(StreamName::Dead).await.unwrap();
    assert_eq!(letters.len(), refused.len());
    for (letter, (sequence, command, body, right)) in letters.iter().zip(refused) {
        assert_eq!(letter.subject, "dead.control");
        assert_eq!(letter.header("Source-Subject"), Some(&*format!("control.{command}")));
        assert_eq!(letter.header("Source-Sequence"), Some(&*sequence.to_string()));
        let reason = letter.header("Reason").unwrap();
        assert!(reason.contains(right), "control.{command} {body}: {reason}");
    }
    assert_eq!(line.until("control", |control| control.is_some()).await.unwrap(), before, "nothing is changed");
}
