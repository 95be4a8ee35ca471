//! Three operators command at random for half a minute, five minutes in a campaign, while a leader is killed twice;
//! what comes of it is compared with a model that knows nothing but the order of the commands and the events.
//!
//! `CONTROL_SECONDS` makes it longer or shorter, `CONTROL_SEED` repeats the commands of a run.
mod clients;
mod crew;
mod model;
mod watch;

use std::{
    collections::BTreeSet,
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use packline_broker::StreamName;
use packline_domain::{Command, Mode, record::Control};
use packline_testkit::campaign;
use packline_tests::{Bare, PATIENCE, Workshop};
use serde_json::{Value, json};

use self::{crew::Crew, model::Model};

const PACKAGES: usize = 240;
const CLIENTS: u64 = 3;
const LIMIT: u32 = 8;

/// From 0.2 to 0.65 s, deaf to SIGTERM, with a child in a session of its own; every seventh fails.
const SCRIPT: &str = r#"
trap '' TERM
setsid sleep 5 &
last=${BUILD_ID#"${BUILD_ID%?}"}
sleep "0.$((20 + last * 5))"
case $PACKAGE_NAME in *-fails) exit 1 ;; esac
"#;

/// The last part of the name of a package.
fn package(n: usize) -> String {
    if fails(n) { format!("p{n}-fails") } else { format!("p{n}") }
}

fn fails(n: usize) -> bool {
    n % 7 == 3
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_three_clients_at_random_give_what_the_model_says_while_a_leader_is_killed_twice() {
    let lasts = Duration::from_secs(setting("CONTROL_SECONDS", campaign::size(30, 300)));
    let seed = setting("CONTROL_SEED", fastrand::u64(..1_000_000));
    println!("CONTROL_SEED={seed}");
    let workshop = Arc::new(Workshop::of((0..PACKAGES).map(package), SCRIPT).unwrap());
    let limit = LIMIT.to_string();
    let settings = [
        ("CLAIM", "10s"),
        ("MAX_CONCURRENT", limit.as_str()),
        ("MAX_ATTEMPTS", "2"),
        ("RETRY_BASE", "300ms"),
        ("RETRY_MAX", "1s"),
    ];
    let mut line = Bare::start(&settings).await.unwrap();
    for _ in 0..3 {
        line.add_builder(&workshop, 4, &[]).unwrap();
    }
    line.orchestrator.kill().await;
    let crew = Crew::start(line.line(), 2).unwrap();
    // Each third waits for the one before it.
    let announced = |n: usize| match n % 3 {
        2 => json!({"name": format!("@acme/{}", package(n)), "dependencies": [format!("@acme/{}", package(n - 2))]}),
        _ => json!({"name": format!("@acme/{}", package(n)), "priority": n % 5}),
    };
    let all: Vec<_> = (0..PACKAGES).map(announced).collect();
    line.announce(json!(all).to_string()).await.unwrap();
    line.until_state(&format!("@acme/{}", package(PACKAGES - 1)), "queued").await.unwrap();

    let over = Arc::new(AtomicBool::new(false));
    let permits = tokio::spawn(watch::permits(line.broker.clone(), Arc::clone(&over)));
    let witness = std::thread::spawn({
        let (workshop, over) = (Arc::clone(&workshop), Arc::clone(&over));
        move || watch::builds(&workshop, &over)
    });
    let until = Instant::now() + lasts;
    let quiet = Arc::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (url, quiet) = (line.server.url(), Arc::clone(&quiet));
            tokio::spawn(clients::command(url, line.folder(), format!("client-{n}"), seed + n, until, quiet))
        })
        .collect();
    for _ in 0..2 {
        tokio::time::sleep(lasts / 3).await;
        crew.kill_leader(&line).await.unwrap();
    }
    let mut sent = 0;
    for client in clients {
        sent += client.await.unwrap();
    }
    println!("{sent} commands, {} ends of orchestrators: {:?}", crew.ends().len(), crew.ends());

    let last = line
        .command("adjust-concurrency", LIMIT.to_string())
        .await
        .unwrap()
        .max(line.command("resume", r#"{"by": "ada", "reason": "the end"}"#).await.unwrap());
    settle(&line, last).await;
    compare(&line, last).await;

    // Whatever was cancelled or has failed is wanted again, once each; then all is built, but what fails.
    line.command("requeue", r#"{"all": "failed"}"#).await.unwrap();
    for n in 0..PACKAGES {
        line.command("requeue", format!("acme/{}", package(n))).await.unwrap();
    }
    let last = line.command("resume", "").await.unwrap();
    settle(&line, last).await;
    let model = compare(&line, last).await;
    for n in 0..PACKAGES {
        let state = model.state(&format!("@acme/{}", package(n)));
        let blocked = n % 3 == 2 && fails(n - 2);
        let expected = if fails(n) { "failed" } else { "published" };
        assert!(state == expected || blocked && state == "queued", "{} is {state}", package(n));
    }

    over.store(true, Ordering::Relaxed);
    let (sights, gone) = (witness.join().unwrap(), permits.await.unwrap());
    let most = sights.iter().map(|sight| sight.builds.len()).max().unwrap_or_default();
    println!("{} looks at all processes, at most {most} builds at a time", sights.len());
    assert!(most > 4, "the witness saw no more than {most} builds at a time");
    for sight in &sights {
        for build in &sight.builds {
            assert!(gone.get(build).is_none_or(|gone| *gone > sight.began), "{build} lives without a permit");
        }
        let packages: BTreeSet<&str> =
            sight.builds.iter().filter_map(|build| Some(build.rsplit_once('.')?.0)).collect();
        assert_eq!(packages.len(), sight.builds.len(), "two builds of one package: {:?}", sight.builds);
        // All of them held a permit when the last of them was granted one.
        let limit = sight.builds.iter().filter_map(|build| model.granted(build)).max_by_key(|grant| grant.serial);
        assert!(
            limit.is_none_or(|grant| sight.builds.len() <= usize::try_from(grant.limit).unwrap()),
            "{:?}, and the last was granted by {limit:?}",
            sight.builds
        );
    }
    line.until_seen("nothing is left", PATIENCE, || workshop.alive().is_empty()).await.unwrap();
}

/// Waits until this command is applied and nothing more can be built.
async fn settle(line: &Bare, last: u64) {
    let since = Instant::now();
    loop {
        if let Ok(state) = line.ask("orchestrator.state", "").await {
            let count = |of: &str| state.pointer(&format!("/counts/{of}")).and_then(Value::as_u64).unwrap_or(1);
            let applied = state.pointer("/lastControl/sequence").and_then(Value::as_u64) >= Some(last);
            if applied && count("ready") + count("building") + count("retrying") == 0 {
                return;
            }
            assert!(since.elapsed() < 2 * PATIENCE, "{state}\n{}", line.logs());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Folds the commands, in the order of their stream, and the events, in that of their commits; the bucket
/// says the same.
async fn compare(line: &Bare, last: u64) -> Model {
    line.until_out().await.unwrap();
    let commands = line.stored(StreamName::Control).await.unwrap();
    let mut model = Model::new(LIMIT, &commands);
    for event in line.events().await.unwrap() {
        model.take(&event);
    }
    assert_eq!(model.applied(), last, "each command was applied, once and in its turn");
    assert!(model.held().is_empty(), "{:?}", model.held());
    assert!(line.held().await.unwrap().is_empty());
    let control = line.until("control", |control| control.is_some()).await.unwrap().unwrap();
    let control: Control = serde_json::from_value(control).unwrap();
    assert_eq!((control.mode, control.complete), (Mode::Running, true));
    assert_eq!((control.mode, control.max_concurrent), (model.mode(), model.limit()));
    let told = control.last.unwrap();
    assert_eq!((told.sequence, told.command), (last, Command::Resume));
    let states = line.states().await.unwrap();
    assert_eq!(states.len(), PACKAGES);
    for (name, state) in states {
        assert_eq!(state, model.state(name.as_str()), "{name}");
    }
    model
}
