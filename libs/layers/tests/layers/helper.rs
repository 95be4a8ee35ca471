//! A process of its own that takes sources or makes a layer, as workers start one. It is this test binary once more.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use packline_layers::{
    Begin, Key, Store,
    sources::{Request, Sources, SourcesError, take},
};

use crate::place::WIDE;

const TAKE: &str = "LAYERS_TEST_TAKE";
const MAKE: &str = "LAYERS_TEST_MAKE";
/// Before an answer.
const ANSWER: &str = "answer: ";

fn this(variable: &str, value: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "helper::runs_what_its_environment_says", "--nocapture"]).env(variable, value);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// A process that takes sources.
pub(crate) fn taking(request: &Request) -> Command {
    this(TAKE, &serde_json::to_string(request).unwrap())
}

/// What a process that takes sources answers.
pub(crate) fn answer(taking: Command) -> Result<Sources, SourcesError> {
    measured(taking).0
}

/// What a process that takes sources answers, and its processor time with that of the gits it ran.
pub(crate) fn measured(mut taking: Command) -> (Result<Sources, SourcesError>, Duration) {
    let ended = taking.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    let line = said.lines().find_map(|line| line.split_once(ANSWER)).unwrap_or_else(|| panic!("no answer: {said}")).1;
    let (milliseconds, answer) = line.split_once(' ').unwrap();
    (serde_json::from_str(answer).unwrap(), Duration::from_millis(milliseconds.parse().unwrap()))
}

/// The processor time of this process and of children that ended.
fn milliseconds() -> u64 {
    let stat = procfs::process::Process::myself().unwrap().stat().unwrap();
    let ticks = stat.utime + stat.stime + u64::try_from(stat.cutime + stat.cstime).unwrap();
    ticks * 1000 / procfs::ticks_per_second()
}

/// A process that has begun to make a layer with a large tree in it, and goes on until it is killed.
pub(crate) struct Maker(Child);

impl Maker {
    pub(crate) fn start(store: &Path, key: &Key) -> Self {
        let value = format!("{}\n{key}", store.display());
        let mut child = this(MAKE, &value).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("begun")), "it does not begin");
        Self(child)
    }

    pub(crate) fn freeze(&self) {
        let stopped = Command::new("kill").args(["-STOP", &self.0.id().to_string()]).status();
        assert!(stopped.unwrap().success());
    }

    pub(crate) fn kill(mut self) -> ExitStatus {
        self.0.kill().unwrap();
        self.0.wait().unwrap()
    }
}

/// Does nothing among other tests.
#[test]
fn runs_what_its_environment_says() {
    if let Ok(request) = env::var(TAKE) {
        let answer = take(&serde_json::from_str(&request).unwrap());
        println!("\n{ANSWER}{} {}", milliseconds(), serde_json::to_string(&answer).unwrap());
    } else if let Ok(value) = env::var(MAKE) {
        let (store, key) = value.split_once('\n').unwrap();
        let Begin::Make(draft) = Store::open(store, WIDE).unwrap().begin(&key.parse().unwrap()).unwrap() else {
            panic!("somebody else makes it");
        };
        fs::create_dir_all(draft.path().join("a/b")).unwrap();
        fs::write(draft.path().join("a/b/file"), "half").unwrap();
        println!("\nbegun");
        loop {
            thread::park();
        }
    }
}
