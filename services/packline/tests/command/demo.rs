//! `packline demo` as a person starts it: to its end, broken off, and where something is missing.
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use packline_testkit::{
    process::{Process, command},
    witness::commands_in,
};
use tempfile::TempDir;

/// For a whole run on a busy machine, from a build that may not be warm.
const PATIENCE: Duration = Duration::from_secs(600);

fn start(folder: &TempDir, arguments: &[&str]) -> Process {
    let mut demo = command(env!("CARGO_BIN_EXE_packline"));
    demo.arg("demo").args(arguments).env("TMPDIR", folder.path()).env_remove("RUST_LOG");
    Process::spawn("packline", demo, &std::env::temp_dir().join(log_name(folder))).unwrap()
}

/// Beside the folder, so that the folder can be seen to be empty.
fn log_name(folder: &TempDir) -> String {
    format!("{}.log", folder.path().file_name().unwrap().to_string_lossy())
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("demo-test-").tempdir().unwrap()
}

/// Returns once `demo` has printed `text`.
async fn printed(demo: &Process, text: &str) {
    let give_up = Instant::now() + PATIENCE;
    while !demo.printed().contains(text) {
        assert!(demo.is_running() && Instant::now() < give_up, "{text:?} is not in\n{}", demo.printed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns once no program of the demo is left.
async fn all_gone(folder: &Path) {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let living = commands_in(folder);
        if living.is_empty() {
            return;
        }
        assert!(Instant::now() < give_up, "still there: {living:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[tokio::test]
async fn every_outcome_is_the_expected_one_and_nothing_is_left() {
    let folder = folder();
    let demo = start(&folder, &["--keep"]);
    printed(&demo, "The line stays up until Ctrl-C").await;
    mend_as_it_says(&demo).await;
    demo.signal(Signal::SIGINT);
    let status = tokio::time::timeout(PATIENCE, demo.exited()).await.unwrap();
    let printed = demo.printed();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert!(printed.contains("6 of 8 packages are published; each outcome is the expected one."), "{printed}");
    let cut = "@demo/egg needs @demo/hen, which closes a cycle: @demo/egg does not wait for it\n";
    assert!(printed.contains(cut), "nothing is said of the cycle:\n{printed}");
    assert!(printed.contains("┌ It Works ─"), "what was published did not run:\n{printed}");
    assert!(printed.contains("@demo/roman   building      attempt 1 "), "queued afresh:\n{printed}");
    assert!(!printed.contains('\u{1b}'), "plain lines where stdout is no terminal:\n{printed}");
    assert!(is_empty(folder.path()), "{:?} is not empty", folder.path());
    all_gone(folder.path()).await;
    published_in_order(&printed);
    fs::remove_file(std::env::temp_dir().join(log_name(&folder))).unwrap();
}

/// What a kept demo invites to: the failing package is mended and queued again, and what it held back is built.
async fn mend_as_it_says(demo: &Process) {
    printed(demo, "nats pub control.requeue demo/roman").await;
    let said = demo.printed();
    let url = said.lines().find_map(|line| line.trim().strip_prefix("export NATS_URL=")).unwrap();
    let sed = said.lines().map(str::trim).find(|line| line.starts_with("sed -i ")).unwrap();
    assert!(Command::new("sh").args(["-c", sed]).status().unwrap().success(), "{sed}");
    let mut requeue = command(env!("CARGO_BIN_EXE_packline"));
    let requeued = requeue.args(["requeue", "demo/roman"]).env("NATS_URL", url).env_remove("NATS_CONTEXT").output();
    assert!(requeued.as_ref().unwrap().status.success(), "{requeued:?}");
    printed(demo, "@demo/clock   published").await;
}

/// By the lines of progress: nobody builds before what it needs is published.
fn published_in_order(printed: &str) {
    let line = |package: &str, state: &str| {
        let seen = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().take(2).collect();
            words == [package, state]
        };
        printed.lines().position(seen).unwrap_or_else(|| panic!("{package} was never {state}:\n{printed}"))
    };
    for (package, dependency) in [
        ("@demo/case", "@demo/text"),
        ("@demo/wrap", "@demo/text"),
        ("@demo/banner", "@demo/case"),
        ("@demo/banner", "@demo/wrap"),
        ("@demo/hen", "@demo/egg"),
    ] {
        assert!(line(dependency, "published") < line(package, "building"), "{package} came first:\n{printed}");
    }
}

#[tokio::test]
async fn ctrl_c_in_the_middle_leaves_nothing() {
    let folder = folder();
    let demo = start(&folder, &[]);
    printed(&demo, " building ").await;
    demo.signal(Signal::SIGINT);
    let status = tokio::time::timeout(PATIENCE, demo.exited()).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", demo.printed());
    assert!(demo.printed().contains("stopped before the end"), "{}", demo.printed());
    assert!(is_empty(folder.path()), "{:?} is not empty", folder.path());
    all_gone(folder.path()).await;
    fs::remove_file(std::env::temp_dir().join(log_name(&folder))).unwrap();
}

#[tokio::test]
async fn even_when_it_is_killed_no_program_is_left() {
    let folder = folder();
    let demo = start(&folder, &[]);
    printed(&demo, " building ").await;
    demo.kill().await;
    all_gone(folder.path()).await;
    fs::remove_file(std::env::temp_dir().join(log_name(&folder))).unwrap();
}

#[test]
fn a_missing_or_old_node_is_one_sentence_and_exit_status_2() {
    let folder = folder();
    let demo = |path: &Path| {
        let ended = Command::new(env!("CARGO_BIN_EXE_packline")).arg("demo").env("PATH", path).output().unwrap();
        assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stdout).as_ref()), (Some(2), ""));
        String::from_utf8(ended.stderr).unwrap()
    };
    let missing = demo(folder.path());
    assert!(missing.contains("Node 20 or newer is needed, and there is no `node` on the PATH"), "{missing}");
    assert_eq!(missing.lines().count(), 1);
    let old = folder.path().join("node");
    fs::write(&old, "#!/bin/sh\necho v18.19.0\n").unwrap();
    fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    symlink("/bin/sh", folder.path().join("sh")).unwrap();
    let old = demo(folder.path());
    assert!(old.contains("Node 20 or newer is needed, and `node` on the PATH is v18.19.0"), "{old}");
    assert_eq!(old.lines().count(), 1);
}
