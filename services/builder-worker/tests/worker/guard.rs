//! Whatever ends a worker, a guard or a phase: none of the build's processes outlives it.
//!
//! The witness is /proc: every process of a build has its BUILD_ID in the environment.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use packline_builder_worker::guard::{Guard, PhaseEnd, PhaseRun, Protected, boottime_millis};
use packline_testkit::witness::processes_of;
use serde_json::json;
use tokio::sync::watch;

use crate::seat::Seat;

const WORKER: &str = env!("CARGO_BIN_EXE_builder-worker");
/// For things that take milliseconds, on a machine that does much else.
const GENEROUS: Duration = Duration::from_secs(20);

/// Leaves a background child, one in a session of its own, one that ignores SIGTERM, and a grandchild of
/// each kind; says `started` when all are there.
pub(crate) const STUBBORN: &str = "\
    trap '' TERM; \
    sleep 1000 & \
    setsid sh -c 'trap \"\" TERM; sleep 1001 & setsid nohup sleep 1002 & wait' & \
    (sleep 1003 &) ; \
    echo started; \
    ";

fn build_id(test: &str) -> String {
    format!("acme/{test}.{}", std::process::id())
}

pub(crate) fn phase(test: &str, script: &str) -> PhaseRun {
    let path = std::env::var("PATH").unwrap();
    PhaseRun {
        argv: vec!["sh".into(), "-c".into(), script.into()],
        cwd: "/".into(),
        env: BTreeMap::from([("PATH".into(), path), ("BUILD_ID".into(), build_id(test))]),
        timeout_millis: 600_000,
        silence_millis: None,
        output_limit: 1 << 20,
        protected: None,
        view: None,
        input: None,
        spare_millis: 0,
    }
}

/// The command lines of the living processes of a build.
pub(crate) fn alive(test: &str) -> Vec<String> {
    processes_of(&build_id(test)).iter().map(|process| process.command().join(" ")).collect()
}

/// Until each process of [`STUBBORN`] has become what it is to be.
pub(crate) fn wait_until_all_are_alive(test: &str) {
    let began = Instant::now();
    while alive(test).len() < 5 {
        assert!(began.elapsed() < GENEROUS, "alive: {:?}", alive(test));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait_until_none_is_alive(test: &str) {
    let began = Instant::now();
    while !alive(test).is_empty() {
        assert!(began.elapsed() < GENEROUS, "still alive: {:?}", alive(test));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A guard whose worker is another process: the holder of its pipe.
struct Orphanage {
    guard: Child,
    holder: Child,
}

impl Orphanage {
    /// A guard with this fuse that runs [`STUBBORN`]; returns when all its processes are there.
    fn start(test: &str, fuse: u64, mut program: Command) -> Self {
        let (orders, mut writer) = std::io::pipe().unwrap();
        let guard = program.arg("guard").stdin(orders).stdout(Stdio::piped()).spawn().unwrap();
        let holder = Command::new("sleep").arg("1000").stdout(writer.try_clone().unwrap()).spawn().unwrap();
        let mut parts = Self { guard, holder };
        let run = serde_json::to_value(phase(test, &format!("{STUBBORN} wait"))).unwrap();
        let mut run = run.as_object().unwrap().clone();
        run.insert("order".into(), "run".into());
        let fuse = json!({"order": "fuse", "deadline": fuse});
        write!(writer, "{fuse}\n{}\n", serde_json::Value::Object(run)).unwrap();
        drop(writer);
        let mut header = [0; 5];
        let frames = parts.guard.stdout.as_mut().unwrap();
        frames.read_exact(&mut header).unwrap();
        let mut started = [0; 7];
        frames.read_exact(&mut started).unwrap();
        assert_eq!(&started, b"started");
        wait_until_all_are_alive(test);
        parts
    }
}

impl Drop for Orphanage {
    fn drop(&mut self) {
        for child in [&mut self.holder, &mut self.guard] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn far() -> u64 {
    boottime_millis() + 600_000
}

#[test]
fn a_killed_worker_takes_its_build_along() {
    let mut parts = Orphanage::start("killed-worker", far(), Command::new(WORKER));
    parts.holder.kill().unwrap();
    wait_until_none_is_alive("killed-worker");
    assert!(parts.guard.wait().unwrap().success());
}

#[test]
fn a_frozen_workers_build_ends_with_its_fuse() {
    let fuse = boottime_millis() + 1500;
    let parts = Orphanage::start("frozen-worker", fuse, Command::new(WORKER));
    kill(Pid::from_raw(i32::try_from(parts.holder.id()).unwrap()), Signal::SIGSTOP).unwrap();
    wait_until_none_is_alive("frozen-worker");
    assert!(boottime_millis() >= fuse, "the fuse was not over yet");
}

#[test]
fn the_build_of_a_killed_worker_is_dead_within_a_second() {
    // A loaded machine may be late once.
    let mut took = Vec::new();
    while !took.iter().any(|took| *took < Duration::from_secs(1)) {
        assert!(took.len() < 5, "each time too late: {took:?}");
        let mut parts = Orphanage::start("second", far(), Command::new(WORKER));
        parts.holder.kill().unwrap();
        let killed = Instant::now();
        wait_until_none_is_alive("second");
        took.push(killed.elapsed());
    }
}

/// False where this machine allows none; then what they are for cannot be shown.
fn namespaces_are_allowed() -> bool {
    let allowed = Command::new("unshare").args(["--pid", "--mount", "--fork", "true"]).status();
    let allowed = allowed.is_ok_and(|status| status.success());
    assert!(allowed || std::env::var_os("CI").is_none(), "CI is to show this, and allows no namespaces");
    if !allowed {
        eprintln!("this machine allows no namespaces");
    }
    allowed
}

#[test]
fn a_killed_guard_takes_its_build_along_where_namespaces_are_allowed() {
    if !namespaces_are_allowed() {
        return;
    }
    let mut parts = Orphanage::start("killed-guard", far(), Command::new(WORKER));
    parts.guard.kill().unwrap();
    wait_until_none_is_alive("killed-guard");
}

#[test]
fn of_an_ordinary_user_a_killed_worker_or_guard_takes_its_build_along_as_well() {
    let Some(seat) = Seat::ordinary() else { return };
    let mut parts = Orphanage::start("ordinary-worker", far(), seat.program());
    parts.holder.kill().unwrap();
    wait_until_none_is_alive("ordinary-worker");
    let mut parts = Orphanage::start("ordinary-guard", far(), seat.program());
    parts.guard.kill().unwrap();
    wait_until_none_is_alive("ordinary-guard");
}

#[test]
fn without_namespaces_a_killed_worker_takes_its_build_along_as_well() {
    let seat = Seat::without_namespaces();
    let mut parts = Orphanage::start("no-namespace", far(), seat.program());
    parts.holder.kill().unwrap();
    wait_until_none_is_alive("no-namespace");
}

#[test]
fn without_namespaces_a_frozen_workers_build_ends_with_its_fuse_as_well() {
    let seat = Seat::without_namespaces();
    let parts = Orphanage::start("no-namespace-fuse", boottime_millis() + 1500, seat.program());
    kill(Pid::from_raw(i32::try_from(parts.holder.id()).unwrap()), Signal::SIGSTOP).unwrap();
    wait_until_none_is_alive("no-namespace-fuse");
}

#[test]
fn a_build_of_the_same_user_cannot_reach_into_its_guard() {
    for (n, seat) in [Some(Seat::without_namespaces()), Seat::ordinary()].into_iter().flatten().enumerate() {
        let parts = Orphanage::start(&format!("closed-{n}"), far(), seat.program());
        // The guard, its launch and its init: the kernel shows to root alone what is in them.
        let mut pid = parts.guard.id().to_string();
        for link in ["guard", "launch", "init"] {
            assert_eq!(fs::metadata(format!("/proc/{pid}/fd")).unwrap().uid(), 0, "{link}");
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            pid = children.split_whitespace().next().unwrap().to_owned();
        }
    }
}

pub(crate) fn guard(test: &str) -> (Guard, watch::Sender<u64>) {
    let (fuse, follows) = watch::channel(far());
    (Guard::start(Path::new(WORKER), &build_id(test), follows).unwrap(), fuse)
}

/// Runs one phase to its end.
pub(crate) async fn run(guard: &mut Guard, run: PhaseRun) -> (PhaseEnd, String) {
    let mut printed = Vec::new();
    let end = guard.run(run, |chunk| printed.extend_from_slice(chunk)).await.unwrap();
    (end, String::from_utf8(printed).unwrap())
}

#[tokio::test]
async fn phases_follow_one_another_and_leave_nothing_behind() {
    let (mut guard, _fuse) = guard("phases");
    for status in [0, 7] {
        let (end, printed) =
            run(&mut guard, phase("phases", &format!("{STUBBORN} echo late >&2; exit {status}"))).await;
        assert_eq!(end, PhaseEnd::Exited { status });
        assert_eq!(printed, "started\nlate\n");
        assert_eq!(alive("phases"), Vec::<String>::new());
    }
    guard.finish().await;
}

#[tokio::test]
async fn an_order_to_stop_kills_and_lets_nothing_start_again() {
    let (mut guard, _fuse) = guard("stopped");
    let stopper = guard.stopper();
    let stubborn = phase("stopped", &format!("{STUBBORN} wait"));
    let end = guard.run(stubborn.clone(), |_| stopper.stop()).await.unwrap();
    assert_eq!(end, PhaseEnd::Stopped);
    assert_eq!(alive("stopped"), Vec::<String>::new());
    assert_eq!(run(&mut guard, stubborn).await, (PhaseEnd::Stopped, String::new()));
    guard.finish().await;
}

#[tokio::test]
async fn a_fuse_that_moves_on_does_not_blow() {
    let (mut guard, fuse) = guard("fuse");
    const AHEAD: u64 = 3000;
    fuse.send_replace(boottime_millis() + AHEAD);
    let (over, mut is_over) = tokio::sync::oneshot::channel::<()>();
    let renewed = tokio::spawn(async move {
        while tokio::time::timeout(Duration::from_millis(100), &mut is_over).await.is_err() {
            fuse.send_replace(boottime_millis() + AHEAD);
        }
        fuse
    });
    let (end, _) = run(&mut guard, phase("fuse", "sleep 4")).await;
    assert_eq!(end, PhaseEnd::Exited { status: 0 });
    over.send(()).unwrap();
    let fuse = renewed.await.unwrap();
    let (end, _) = run(&mut guard, phase("fuse", &format!("{STUBBORN} wait"))).await;
    assert_eq!(end, PhaseEnd::FuseBlown);
    fuse.send_replace(far());
    let (end, _) = run(&mut guard, phase("fuse", "true")).await;
    assert_eq!(end, PhaseEnd::FuseBlown, "what a fuse ended stays ended");
    guard.finish().await;
}

#[tokio::test]
async fn each_limit_ends_a_phase_in_its_own_way() {
    let (mut guard, _fuse) = guard("limits");
    let endless = phase("limits", &format!("{STUBBORN} wait"));
    let (end, _) = run(&mut guard, PhaseRun { timeout_millis: 500, ..endless.clone() }).await;
    assert_eq!(end, PhaseEnd::TimedOut);
    let (end, _) = run(&mut guard, PhaseRun { silence_millis: Some(500), ..endless }).await;
    assert_eq!(end, PhaseEnd::Silent);
    let (end, printed) = run(&mut guard, PhaseRun { output_limit: 1000, ..phase("limits", "yes") }).await;
    assert_eq!((end, printed.len()), (PhaseEnd::TooMuchOutput, 1000));
    let short = PhaseRun { output_limit: 1000, ..phase("limits", "yes | head -c 1002") };
    assert_eq!(run(&mut guard, short).await.0, PhaseEnd::TooMuchOutput);
    assert_eq!(alive("limits"), Vec::<String>::new());
    guard.finish().await;
}

#[tokio::test]
async fn a_phase_sees_its_environment_and_nothing_of_ours() {
    let (mut guard, _fuse) = guard("environment");
    let env = phase("environment", "").env;
    let (_, printed) = run(&mut guard, PhaseRun { argv: vec!["env".into()], ..phase("environment", "") }).await;
    let seen: BTreeMap<String, String> =
        printed.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
    assert_eq!(seen, env);
    let (_, printed) = run(&mut guard, phase("environment", "cat /proc/$PPID/environ")).await;
    assert!(!printed.contains("CARGO"), "{printed}");
    guard.finish().await;
}

#[tokio::test]
async fn the_source_is_read_only_for_a_build_and_what_it_works_in_is_not() {
    if !namespaces_are_allowed() {
        return;
    }
    let (mut guard, _fuse) = guard("protected");
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().canonicalize().unwrap();
    // Scratch is elsewhere, or in the workspace itself.
    for (n, scratch) in ["scratch", "workspace/.packline/scratch"].into_iter().enumerate() {
        let (workspace, scratch) = (folder.join("workspace"), folder.join(scratch));
        let cwd = scratch.join("build/workspace");
        fs::create_dir_all(&cwd).unwrap();
        fs::create_dir_all(&workspace).unwrap();
        let up = if n == 0 { "../../../workspace" } else { "../../../.." };
        let script = format!(
            "for file in {0}/absolute {up}/relative {1}/own own ../../../{2}; do echo x > $file; done; true",
            workspace.display(),
            scratch.display(),
            if n == 0 { "beside" } else { "../relative" },
        );
        let protected = Some(Protected { folder: workspace.clone(), except: scratch.clone() });
        let run = PhaseRun { cwd: cwd.clone(), protected, ..phase("protected", &script) };
        let (end, printed) = self::run(&mut guard, run).await;
        assert_eq!(end, PhaseEnd::Exited { status: 0 });
        assert_eq!(printed.matches("Read-only file system").count(), if n == 0 { 2 } else { 3 }, "{printed}");
        assert!(!workspace.join("absolute").exists() && !workspace.join("relative").exists());
        assert!(scratch.join("own").exists() && cwd.join("own").exists());
    }
    assert!(folder.join("beside").exists());
    guard.finish().await;
}

#[tokio::test]
async fn a_missing_program_is_the_machines_failure_and_a_missing_file_the_packages() {
    let (mut guard, _fuse) = guard("missing");
    let missing = |program: &str| PhaseRun { argv: vec![program.into()], ..phase("missing", "") };
    assert_eq!(run(&mut guard, missing("no-such-program")).await.0, PhaseEnd::Exited { status: 75 });
    assert_eq!(run(&mut guard, missing("./no-such-program")).await.0, PhaseEnd::Exited { status: 127 });
    let nowhere = PhaseRun { cwd: "/no/such/folder".into(), ..phase("missing", "true") };
    assert!(matches!(run(&mut guard, nowhere).await.0, PhaseEnd::Unstartable { .. }));
    guard.finish().await;
}

#[tokio::test]
async fn a_guard_that_is_killed_is_noticed_and_cleared_up_behind() {
    let (mut guard, _fuse) = guard("lost");
    let pid = Pid::from_raw(i32::try_from(guard.pid().unwrap()).unwrap());
    let ended = guard.run(phase("lost", &format!("{STUBBORN} wait")), |_| kill(pid, Signal::SIGKILL).unwrap()).await;
    assert!(ended.is_err());
    guard.finish().await;
    assert_eq!(alive("lost"), Vec::<String>::new());
}

#[tokio::test]
async fn a_frozen_guard_does_not_hold_up_the_end() {
    let (mut guard, _fuse) = guard("frozen-guard");
    let pid = Pid::from_raw(i32::try_from(guard.pid().unwrap()).unwrap());
    let stubborn = phase("frozen-guard", &format!("{STUBBORN} wait"));
    let (started, has_started) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    tokio::select! {
        ended = guard.run(stubborn, |_| {
            let _ = started.take().map(|started| started.send(()));
        }) => panic!("{ended:?}"),
        started = has_started => started.unwrap(),
    }
    kill(pid, Signal::SIGSTOP).unwrap();
    guard.finish().await;
    assert_eq!(alive("frozen-guard"), Vec::<String>::new());
}

#[tokio::test]
async fn output_is_whole_however_much_comes_at_once() {
    let (mut guard, _fuse) = guard("output");
    let much = PhaseRun { output_limit: 64 << 20, ..phase("output", "yes 0123456789abcde | head -c 33554432") };
    let mut bytes = 0;
    let mut first = Vec::new();
    let end = guard
        .run(much, |chunk| {
            bytes += chunk.len();
            first.extend_from_slice(&chunk[..chunk.len().min(16_usize.saturating_sub(first.len()))]);
        })
        .await
        .unwrap();
    assert_eq!(
        (end, bytes, first.as_slice()),
        (PhaseEnd::Exited { status: 0 }, 33_554_432, b"0123456789abcde\n".as_slice())
    );
    guard.finish().await;
}
