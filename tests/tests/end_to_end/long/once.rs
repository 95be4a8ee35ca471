//! Each command is applied once, whatever happens to its acknowledgement.
use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use packline_broker::StreamName;
use packline_domain::{Event, Timestamp};
use packline_testkit::{process::Process, proxy::Proxy};
use packline_tests::{Bare, PATIENCE, Workshop};
use serde_json::Value;

/// Fails for good, or waits for the test.
const SCRIPT: &str = r#"
case $PACKAGE_NAME in *broken) exit 78 ;; esac
while [ ! -e "$SHOP/open" ]; do sleep 0.1; done
"#;

/// How long the proxy may take to pass on what the broker has sent.
const PASSED_ON: Duration = Duration::from_millis(300);

/// One orchestrator, and its own way to the broker.
struct Post {
    name: &'static str,
    proxy: Proxy,
    process: Process,
}

impl Post {
    async fn start(line: &Bare, name: &'static str) -> Self {
        let proxy = Proxy::start(line.server.port()).await.unwrap();
        let process = line.line().orchestrator(name, &[("NATS_URL", &proxy.url())]).unwrap();
        Self { name, proxy, process }
    }
}

/// The command's own event, not the one that says that its withdrawals are complete.
async fn told(line: &Bare, command: u64) -> Vec<Event> {
    let events = line.events().await.unwrap();
    events.into_iter().filter(|event| event.command == Some(command) && event.kind != "withdrawn").collect()
}

/// Waits until a command is on its way to the leader, or for so long that another may have taken it.
async fn until_delivered(line: &Bare) {
    let delivered = async {
        // The durable is gone for a moment where another leader makes it anew, and takes the command.
        while line.broker.pending(StreamName::Control, "orchestrator").await.is_ok_and(|state| state.ack_pending == 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_applied_once_although_its_leader_is_killed_or_frozen_before_it_acknowledges() {
    let workshop = Workshop::of(["broken", "runs"].map(str::to_owned), SCRIPT).unwrap();
    let mut line = Bare::start(&[("CLAIM", "10s")]).await.unwrap();
    line.add_builder(&workshop, 2, &[]).unwrap();
    line.announce(
        r#"[{"name": "@acme/broken"}, {"name": "@acme/waits", "dependencies": ["@acme/broken"]}, {"name": "@acme/runs"}]"#,
    )
    .await
    .unwrap();
    line.until_held("@acme/runs").await.unwrap();
    line.until_state("@acme/broken", "failed").await.unwrap();
    line.orchestrator.kill().await;
    let mut posts = [Post::start(&line, "one").await, Post::start(&line, "two").await];
    let who = r#"{"by": "ada", "reason": "a drill"}"#;
    let commands = [
        ("adjust-concurrency", "3", "limit"),
        ("pause", who, "paused"),
        ("cancel", "acme/waits", "cancelled"),
        ("requeue", "acme/waits", "requeued"),
        ("requeue", r#"{"all": "failed"}"#, "requeued"),
        ("emergency-stop", who, "stopped"),
        ("cancel", "acme/broken", "cancelled"),
        ("resume", who, "resumed"),
        ("cancel", "acme/runs", "cancelling"),
        ("drain", who, "draining"),
    ];
    let (mut commanded, mut unacknowledged, mut before) = (Vec::new(), 0, Timestamp::default());
    for (round, (command, body, kind)) in commands.into_iter().enumerate() {
        if kind == "cancelling" {
            line.until_held("@acme/runs").await.unwrap();
        }
        let leader = line.until_leading().await.unwrap();
        let leads = format!("{} leads (term", leader.holder.as_deref().unwrap());
        let post = posts.iter_mut().find(|post| post.process.printed().contains(&leads)).unwrap();
        // It hears the command, and nothing after that.
        post.process.freeze();
        let sequence = line.command(command, body).await.unwrap();
        until_delivered(&line).await;
        tokio::time::sleep(PASSED_ON).await;
        post.proxy.swallow_answers();
        post.process.thaw();
        let applied = |leader: &Value| leader["positions"]["CONTROL"]["sequence"] == sequence;
        let by = line.until("leader", |leader| leader.is_some_and(applied)).await.unwrap().unwrap();
        // Stored, and its leader has not heard of that.
        if round % 2 == 0 {
            post.process.kill().await;
        } else {
            post.process.freeze();
        }
        let state = line.broker.pending(StreamName::Control, "orchestrator").await.unwrap();
        unacknowledged += usize::from(by["term"] == leader.term && state.ack_pending == 1);
        let another = |now: &Value| now["term"] != leader.term;
        line.until("leader", |now| now.is_some_and(another)).await.unwrap();
        post.proxy.heal();
        if round % 2 == 0 {
            post.process = line.line().orchestrator(post.name, &[("NATS_URL", &post.proxy.url())]).unwrap();
        } else {
            post.process.thaw();
        }
        let control = line.until_complete(sequence).await.unwrap();
        if body == who {
            let last = control.last.unwrap();
            assert_eq!((last.origin.by.as_deref(), last.origin.reason.as_deref()), (Some("ada"), Some("a drill")));
            assert!(last.at > before, "when: {:?}", last.at);
            before = last.at;
        }
        commanded.push((sequence, command, kind, (body == who).then(|| "ada".to_owned())));
    }
    println!("{unacknowledged} of {} commands were committed and not acknowledged", commanded.len());
    assert!(unacknowledged >= 3);
    for post in &posts {
        let ended = tokio::time::timeout(PATIENCE, post.process.exited()).await;
        assert!(ended.is_ok_and(|status| status.success()), "drained: {}", post.process.last_lines(10));
    }
    for (sequence, command, kind, by) in commanded {
        let told = told(&line, sequence).await;
        assert_eq!(told.len(), 1, "{command}: {told:?}");
        assert_eq!((told[0].kind.as_str(), &told[0].by), (kind, &by), "{command}");
    }
    let states = line.states().await.unwrap();
    let states: Vec<_> = states.iter().map(|(name, state)| (name.as_str(), state.as_str())).collect();
    assert_eq!(states, [("@acme/broken", "cancelled"), ("@acme/runs", "cancelled"), ("@acme/waits", "queued")]);
}

/// Says something to the broker in the few words of its protocol that this takes.
fn say(port: u16, subject: &str, body: &str) {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let said = format!("CONNECT {{\"verbose\":false}}\r\nPUB {subject} {}\r\n{body}\r\nPING\r\n", body.len());
    server.write_all(said.as_bytes()).unwrap();
    let heard = BufReader::new(server).lines().map(Result::unwrap);
    assert!(heard.into_iter().any(|line| line == "PONG"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_delivered_twice_is_applied_once() {
    let line = Bare::start(&[]).await.unwrap();
    line.announce(r#"{"name": "@acme/core"}"#).await.unwrap();
    line.until_state("@acme/core", "queued").await.unwrap();
    line.orchestrator.freeze();
    let command = line.command("cancel", "acme/core").await.unwrap();
    until_delivered(&line).await;
    // The broker is told that nobody took it, the first of its consumer: it delivers it once more.
    say(line.server.port(), &format!("$JS.ACK.CONTROL.orchestrator.1.{command}.1.0.0"), "-NAK");
    line.orchestrator.thaw();
    line.until_complete(command).await.unwrap();
    // Frozen for long, it reads anew before it gets to see the copy.
    let again =
        [format!("message {command} came again"), "the order of CONTROL was lost: nothing was heard".to_owned()];
    let seen = || again.iter().any(|why| line.orchestrator.printed().contains(why));
    line.until_seen("the second delivery", PATIENCE, seen).await.unwrap();
    let last = line.command("pause", "").await.unwrap();
    line.until_complete(last).await.unwrap();
    line.until_out().await.unwrap();
    let told = told(&line, command).await;
    assert_eq!(told.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["cancelled"]);
}
