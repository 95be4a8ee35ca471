//! An operator at a terminal: `packline` asks, commands and waits.
use std::time::Duration;

use packline_broker::{Message, topology};
use packline_tests::{Bare, Console, Fixture, Gate, Operator, PATIENCE, Said, Scene, until_shown};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

/// A command that succeeds and prints exactly this.
async fn says(operator: &Operator, arguments: &[&str], told: &str) {
    let said = operator.run(arguments).await.unwrap();
    assert_eq!((said.status, said.stdout.trim_end()), (0, told), "{arguments:?}: {said:?}");
}

/// A command that ends with this status and complains of this.
async fn complains(operator: &Operator, arguments: &[&str], status: i32, of: &str) {
    let said = operator.run(arguments).await.unwrap();
    assert_eq!(said.status, status, "{arguments:?}: {said:?}");
    assert!(said.stderr.contains(of), "{arguments:?}: {said:?}");
}

async fn control(console: &Console) -> Value {
    console.until("control", |control| control.is_some()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_wait_until_they_are_applied_and_say_what_they_did() {
    let mut line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    says(&operator, &["pause", "--by", "ada", "--reason", "release"], "paused by ada: release").await;
    let paused = control(&line).await;
    assert_eq!(
        (&paused["mode"], &paused["by"], &paused["reason"]),
        (&json!("paused"), &json!("ada"), &json!("release"))
    );
    says(&operator, &["add", "acme/core"], "@acme/core is ready: the line is paused by ada: release").await;
    says(&operator, &["cancel", "@acme/core"], "cancelled @acme/core").await;
    says(&operator, &["requeue", "acme/core", "--by", "ada"], "requeued @acme/core by ada").await;
    says(&operator, &["requeue", "acme/core"], "requeue changes nothing: @acme/core is queued").await;
    says(&operator, &["requeue", "--all-failed", "--by", "ada"], "requeued 0 failed packages by ada").await;
    says(&operator, &["concurrency", "8", "--by", "ada"], "limit of concurrent builds 4 → 8 by ada").await;
    assert_eq!(control(&line).await["maxConcurrent"], 8);
    line.add_worker(2).unwrap();
    says(&operator, &["resume", "--by", "ada"], "resumed by ada").await;
    line.until_state("@acme/core", "published").await.unwrap();
    says(&operator, &["stop", "--by", "ada"], "stopped by ada; none of its builds is left").await;
    assert_eq!(control(&line).await["mode"], "stopped");

    let said = operator.run(&["resume", "--no-wait"]).await.unwrap();
    assert_eq!((said.status, said.stdout.as_str()), (0, "control.resume is stored as 9 of CONTROL\n"));
    line.until("control", |control| control.is_some_and(|control| control["mode"] == "running")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_that_should_have_changed_is_no_success() {
    let mut line = Bare::start(&[]).await.unwrap();
    line.add_worker(1).unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    line.announce(r#"{"name": "@acme/core"}"#).await.unwrap();
    line.until_state("@acme/core", "published").await.unwrap();
    complains(&operator, &["cancel", "nobody"], 1, "nobody is not in the queue").await;
    complains(&operator, &["cancel", "acme/core"], 1, "@acme/core is published").await;
    complains(&operator, &["requeue", "acme/core"], 1, "announce it to build it again").await;
    complains(&operator, &["why", "nobody"], 1, "the queue does not know nobody").await;
    says(&operator, &["resume"], "resume changes nothing: it is running").await;
    says(&operator, &["stop", "--by", "ada"], "stopped by ada; none of its builds is left").await;
    complains(&operator, &["pause"], 1, "pause changes nothing while stopped; resume goes on").await;

    complains(&operator, &["cancel", "../x"], 2, "is not a package name").await;
    complains(&operator, &["concurrency", "0"], 2, "0 is not in 1..=10000").await;
    complains(&operator, &["requeue"], 2, "PACKAGE").await;
    complains(&operator, &["add", "acme/core", "--field", "name=x"], 2, "--field name").await;
    complains(&operator, &["add", "acme/core", "--field", "packages=[]"], 2, "--field packages").await;
    assert!(line.stored(packline_broker::StreamName::Dead).await.unwrap().is_empty(), "what is wrong is not sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_commands_at_once_is_told_its_own_outcome() {
    let line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    line.announce(r#"{"name": "@acme/core"}"#).await.unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
    for round in 0..10_u32 {
        let limit = (10 + round).to_string();
        let all = [vec!["cancel", "nobody"], vec!["concurrency", &limit], vec!["requeue", "acme/core"]];
        let [nobody, limited, queued] = &all;
        let (nobody, limited, queued) = tokio::join!(operator.run(nobody), operator.run(limited), operator.run(queued));
        let (nobody, limited, queued) = (nobody.unwrap(), limited.unwrap(), queued.unwrap());
        assert_eq!((nobody.status, limited.status, queued.status), (1, 0, 0), "{nobody:?} {limited:?} {queued:?}");
        assert!(nobody.stderr.contains("nobody is not in the queue"), "{nobody:?}");
        assert!(limited.stdout.contains(&format!("→ {limit}")), "{limited:?}");
        assert!(queued.stdout.contains("@acme/core is queued"), "{queued:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_need_not_know_how_often_the_streams_are_kept_and_strangers_move_no_cursor() {
    let line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    let mut pause = operator.command(&["pause", "--by", "ada\u{1b}]0;x\u{7}\u{9b}2J"]);
    pause.env("REPLICAS", "3");
    let said = Said::of(pause).await.unwrap();
    assert_eq!((said.status, said.stdout.trim_end()), (0, "paused by ada ]0;x  2J"), "{said:?}");
    for arguments in [vec!["status"], vec!["status", "--json"], vec!["events"]] {
        let shown = operator.run(&arguments).await.unwrap().stdout;
        let moves = |c: char| c.is_control() && c != '\n';
        assert!(shown.contains("ada") && !shown.contains(moves), "{arguments:?}: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_leads_a_command_says_so_and_stands() {
    let line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    line.orchestrator.kill().await;
    line.until_seen("the orchestrator is gone", PATIENCE, || !line.orchestrator.is_running()).await.unwrap();
    complains(&operator, &["status"], 1, "no orchestrator leads").await;
    let said = operator.run(&["pause", "--by", "ada", "--timeout", "15s"]).await.unwrap();
    assert_eq!(said.status, 1, "{said:?}");
    assert!(
        said.stderr
            .contains("waiting: no orchestrator leads: nobody answers orchestrator.state; what was sent is stored"),
        "{said:?}"
    );
    assert!(said.stderr.contains("not done within 15s; what was sent stands"), "{said:?}");
    let waiting = Said::until_waiting(operator.command(&["concurrency", "7", "--by", "ada"]), "no orchestrator leads")
        .await
        .unwrap();
    let _next = line.line().orchestrator("next", &[]).unwrap();
    let said = waiting.await.unwrap().unwrap();
    assert_eq!((said.status, said.stdout.as_str()), (0, "limit of concurrent builds 4 → 7 by ada\n"), "{said:?}");
    assert_eq!(control(&line).await["mode"], "paused", "the one before was applied as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_says_that_nobody_leads_and_goes_on_with_the_next_leader() {
    let line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    let watch = operator.terminal(&["watch"]).unwrap();
    let shown = until_shown(&watch, 0, |text| text.contains("mode     running")).await.unwrap();
    let mut objects = operator.command(&["watch", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(objects.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    line.orchestrator.kill().await;
    let shown = until_shown(&watch, shown.len(), |text| text.contains("no orchestrator leads")).await.unwrap();
    // Something happens while nobody leads: the watch asks, and nobody answers.
    line.broker.publish(Message::json(topology::event("queued"), &json!({}))).await.unwrap();
    let mut complaints = BufReader::new(objects.stderr.take().unwrap()).lines();
    let said = tokio::time::timeout(PATIENCE, complaints.next_line()).await.unwrap().unwrap().unwrap();
    assert!(said.contains("no orchestrator leads"), "{said}");
    let _next = line.line().orchestrator("next", &[]).unwrap();
    until_shown(&watch, shown.len(), |text| text.contains("mode     running")).await.unwrap();
    let next = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert_ne!(serde_json::from_str::<Value>(&next).unwrap()["term"], first["term"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_builds_waits_for_the_last_of_them_and_says_for_which() {
    let gate = Gate::closed().unwrap();
    let packages = [Fixture::new("core").stops_at(&gate), Fixture::new("app").stops_at(&gate)];
    let mut scene = Scene::start(&packages, &[]).await.unwrap();
    scene.run(1).await.unwrap();
    scene.until_reached(&gate, 2).await.unwrap();
    let operator = Operator::at(&scene.plant.broker.url()).await.unwrap();

    // A worker tells the phase with its next heartbeat.
    let told = async {
        let is_told = |state: &Value| {
            state["active"].as_array().is_some_and(|active| active.iter().all(|build| build["phase"] == "build"))
        };
        while !is_told(&scene.ask("orchestrator.state", "").await.unwrap()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("no phase is told");
    let status = operator.run(&["status"]).await.unwrap();
    assert_eq!(status.status, 0, "{status:?}");
    for part in ["permits  2 of 4 in use", "BUILDING", "@acme/core", "build", "poll     2 packages"] {
        assert!(status.stdout.contains(part), "{part}: {}", status.stdout);
    }
    says(&operator, &["cancel", "acme/app", "--by", "ada"], "cancelled @acme/app").await;
    let waiting =
        Said::until_waiting(operator.command(&["drain", "--by", "ada"]), "1 build: @acme/core on ").await.unwrap();
    gate.open().unwrap();
    let said = waiting.await.unwrap().unwrap();
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.stdout.starts_with("drained: every orchestrator exits"), "{said:?}");
    scene.until_state("@acme/core", "published").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_shown_to_people_and_given_to_programs_as_they_came() {
    let line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    line.announce(r#"[{"name": "@acme/core", "priority": 5, "dependencies": ["@acme/base"]}, {"name": "@acme/base"}]"#)
        .await
        .unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
    says(&operator, &["why", "acme/core"], "@acme/core is blocked\n  needs @acme/base, which is ready").await;
    let queue = operator.run(&["queue"]).await.unwrap().stdout;
    let rows: Vec<Vec<&str>> = queue.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["PACKAGE", "STATE", "PRIORITY", "FAILURES", "TAKES", "WHY"]);
    assert_eq!(rows[1], ["@acme/base", "ready", "5", "0", "no", "worker", "is", "live"]);
    assert_eq!(rows[2][..2], ["@acme/core", "blocked"]);
    says(&operator, &["queue", "--state", "failed"], "no package is like that").await;
    says(&operator, &["history", "acme/core"], "@acme/core has not been built yet").await;
    complains(&operator, &["history", "acme/cor"], 1, "the queue does not know @acme/cor").await;
    says(&operator, &["workers"], "no worker has been seen").await;
    for (command, question, body) in [
        (vec!["why", "acme/core", "--json"], "orchestrator.why", "acme/core"),
        (vec!["history", "acme/core", "--json"], "orchestrator.history", "acme/core"),
    ] {
        let answer: Value = serde_json::from_slice(&line.broker.ask(question, body).await.unwrap()).unwrap();
        assert_eq!(operator.json(&command).await.unwrap(), answer, "{command:?}");
    }
    assert_eq!(operator.json(&["status", "--json"]).await.unwrap()["counts"]["blocked"], 1);
    assert_eq!(operator.json(&["queue", "--json"]).await.unwrap()["packages"][1]["packageName"], "@acme/core");
    assert_eq!(operator.json(&["workers", "--json"]).await.unwrap()["workers"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_listed_over_all_its_pages() {
    let line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    let packages: Vec<Value> = (0..450).map(|n| json!({"name": format!("@acme/p{n:03}")})).collect();
    line.announce(json!(packages).to_string()).await.unwrap();
    line.until_state("@acme/p449", "queued").await.unwrap();
    let all = operator.run(&["queue", "--all"]).await.unwrap().stdout;
    assert_eq!(all.lines().filter(|row| row.starts_with("@acme/p")).count(), 450);
    let some = operator.run(&["queue", "--limit", "250"]).await.unwrap().stdout;
    assert_eq!(some.lines().filter(|row| row.starts_with("@acme/p")).count(), 250);
    assert!(some.ends_with("… and more: --limit or --all shows them\n"), "{some}");

    let packline = operator.command(&["queue", "--all"]);
    let mut piped = Command::new("bash");
    piped.args(["-c", "set -o pipefail; \"$@\" | head -n 1", "bash"]);
    piped.arg(packline.as_std().get_program()).args(packline.as_std().get_args());
    let settings = packline.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    piped.envs(settings).stdin(std::process::Stdio::null());
    piped.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let said = Said::of(piped).await.unwrap();
    assert_eq!((said.status, said.stderr.as_str()), (0, ""), "whoever has seen enough closes the pipe: {said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_found_as_the_nats_tool_finds_it() {
    let line = Bare::start(&[]).await.unwrap();
    let operator = Operator::at(&line.server.url()).await.unwrap();
    let contexts = operator.home().join(".config/nats/context");
    std::fs::create_dir_all(&contexts).unwrap();
    let context = json!({"url": line.server.url(), "description": "for this test"});
    std::fs::write(contexts.join("here.json"), context.to_string()).unwrap();
    std::fs::write(contexts.join("nowhere.json"), r#"{"url": "nats://127.0.0.1:1"}"#).unwrap();
    let with = |settings: &[(&str, &str)]| {
        let mut status = operator.command(&["status"]);
        status.env_remove("NATS_URL").envs(settings.iter().copied());
        Said::of(status)
    };
    assert_eq!(with(&[("NATS_CONTEXT", "here")]).await.unwrap().status, 0);
    let nothing = [("NATS_CONTEXT", "here"), ("NATS_URL", ""), ("NATS_CREDS", ""), ("NATS_USER", "")];
    assert_eq!(with(&nothing).await.unwrap().status, 0, "what is set to nothing is not set");
    let refused = with(&[("NATS_CONTEXT", "nowhere")]).await.unwrap();
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("no broker answers at nats://127.0.0.1:1"), "{refused:?}");
    let unknown = with(&[("NATS_CONTEXT", "prod")]).await.unwrap();
    assert_eq!(unknown.status, 2);
    assert!(unknown.stderr.contains("there is no context `prod`"), "{unknown:?}");
    let half = with(&[("NATS_URL", &line.server.url()), ("NATS_CERT", "/dev/null")]).await.unwrap();
    assert!(half.status == 2 && half.stderr.contains("NATS_CERT and NATS_KEY go together"), "{half:?}");
    let strange = with(&[("NATS_URL", "nats://:::")]).await.unwrap();
    assert_eq!(strange.status, 2, "{strange:?}");
    std::fs::write(operator.home().join(".config/nats/context.txt"), "here").unwrap();
    assert_eq!(with(&[]).await.unwrap().status, 0, "the one that `nats context select` chose");
    std::fs::write(operator.home().join(".config/nats/context.txt"), "nowhere").unwrap();
    assert_eq!(with(&[("NATS_URL", &line.server.url())]).await.unwrap().status, 0, "what is said here goes first");
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_complete_the_commands() {
    let operator = Operator::at("nats://127.0.0.1:1").await.unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = operator.run(&["completions", shell]).await.unwrap().stdout;
        assert!(script.contains("concurrency") && script.contains("requeue"), "{shell}");
    }
    let mut bash = Command::new("bash");
    let script = operator.run(&["completions", "bash"]).await.unwrap().stdout;
    let complete =
        "COMP_WORDS=(packline conc); COMP_CWORD=1; _packline packline conc packline; echo \"${COMPREPLY[@]}\"";
    bash.arg("-c").arg(format!("{script}\n{complete}"));
    bash.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    assert_eq!(Said::of(bash).await.unwrap().stdout.trim(), "concurrency");
}
