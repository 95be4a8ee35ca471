//! Running the commands of one build's phases, and what their ends mean.

mod failure;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use packline_domain::{
    Outcome,
    message::{PhaseReport, PhaseStatus},
    text::one_line,
};
use packline_recipe::Limits;
use tokio::{sync::watch, time::timeout};

use crate::{
    error_code,
    guard::{Guard, GuardLost, Input, PATIENCE, PhaseEnd, PhaseRun, Protected, View},
    log::{Output, Printed, Redactor, Sink},
    script::{Question, Toolchain, Toolchains},
};

pub use failure::Failure;

/// EX_TEMPFAIL: the machine is at fault.
pub(crate) const TEMPFAIL: u8 = 75;
const MACHINE_AT_FAULT: i32 = TEMPFAIL as i32;
/// npm answers in a fraction of a second, and on a busy machine in a few.
const ASKING: Duration = Duration::from_secs(60);
/// A shell has not found the program.
const NOT_FOUND: i32 = 127;
/// EX_CONFIG: never try again.
const CONFIG: i32 = 78;
/// The phase whose failure may be a warning.
const LINT: &str = "lint";

/// What runs the commands of one build.
pub struct Runner {
    /// Holds all its processes.
    pub guard: Guard,
    /// Of all its phases.
    pub env: BTreeMap<String, String>,
    /// The package's folder in the copy.
    pub cwd: PathBuf,
    /// What it may not write to.
    pub protected: Option<Protected>,
    /// What commands see that have no view of their own.
    pub view: Option<View>,
    /// Blanks tokens.
    pub redactor: Redactor,
    /// Where lines go.
    pub sink: Sink,
    /// True once the build is to be killed.
    pub stop: watch::Receiver<bool>,
}

/// One command of a phase.
pub struct Command<'a> {
    /// The phase.
    pub phase: &'a str,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// When it is killed.
    pub limits: Limits,
    /// Added to the environment.
    pub env: &'a BTreeMap<String, String>,
    /// Whether its output is read.
    pub capture: bool,
    /// Where it runs; in the package's folder where none is given.
    pub cwd: Option<&'a Path>,
    /// What it reads on its stdin.
    pub input: Option<Input>,
    /// What it sees in place of one folder; that of the runner where none is given.
    pub view: Option<View>,
    /// It is not started where the fuse blows within this time.
    pub spare: Duration,
    /// Whether its output goes to the log.
    pub logged: bool,
}

static NOTHING: BTreeMap<String, String> = BTreeMap::new();

impl<'a> Command<'a> {
    /// A command of `phase` that has nothing of its own yet, not even a program.
    pub fn new(phase: &'a str, limits: Limits) -> Self {
        Self {
            phase,
            argv: Vec::new(),
            limits,
            env: &NOTHING,
            capture: false,
            cwd: None,
            input: None,
            view: None,
            spare: Duration::ZERO,
            logged: true,
        }
    }
}

impl Runner {
    /// Runs one command to its end.
    ///
    /// # Errors
    /// When the guard is gone.
    pub async fn command(&mut self, command: Command<'_>) -> Result<(PhaseEnd, Printed), GuardLost> {
        let mut env = self.env.clone();
        env.extend(command.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        env.insert("PHASE".to_owned(), command.phase.to_owned());
        let run = PhaseRun {
            argv: command.argv,
            cwd: command.cwd.unwrap_or(&self.cwd).to_owned(),
            env,
            timeout_millis: millis(command.limits.timeout),
            silence_millis: command.limits.silence.map(millis),
            output_limit: command.limits.output,
            protected: self.protected.clone(),
            view: command.view.or_else(|| self.view.clone()),
            input: command.input,
            spare_millis: millis(command.spare),
        };
        let nowhere: Sink = Box::new(|_, _| {});
        let sink = if command.logged { &self.sink } else { &nowhere };
        let mut output = Output::new(command.phase, &self.redactor, sink, command.capture);
        let stopper = self.guard.stopper();
        let end = {
            let mut running = pin!(self.guard.run(run, |chunk| output.push(chunk)));
            tokio::select! {
                end = &mut running => end,
                () = stopped(&mut self.stop) => {
                    stopper.stop();
                    // A guard that does not answer is ended by force with the build.
                    timeout(PATIENCE, running).await.unwrap_or(Ok(PhaseEnd::Stopped))
                }
            }
        };
        let printed = output.finish();
        Ok((end?, printed))
    }

    /// Asks the npm on PATH what it tells scripts, once for all builds of a worker, below the guard of this one.
    pub(crate) async fn toolchain(&mut self, known: &Toolchains, scratch: &Path) -> Result<Arc<Toolchain>, Failure> {
        let known = known.on(self.env.get("PATH").map_or("", String::as_str));
        if let Some(toolchain) = known.get() {
            return Ok(Arc::clone(toolchain));
        }
        let base = self.env.clone();
        let limits = Limits { timeout: ASKING, ..Limits::default() };
        let asked = Toolchain::ask(&base, scratch, async |question: &Question| {
            let (argv, folder) = (question.argv.clone(), question.folder());
            let command = Command::new("", limits.clone());
            let command =
                Command { argv, env: &question.env, cwd: Some(&folder), capture: true, logged: false, ..command };
            let (end, printed) = self.command(command).await.map_err(|lost| lost.to_string())?;
            verdict(&end, &printed, &limits, true).map_err(|failure| failure.first_line().to_owned())
        });
        let toolchain = asked.await.map_err(Failure::infrastructure)?;
        Ok(Arc::clone(known.get_or_init(async || Arc::new(toolchain)).await))
    }

    /// Waits for `work`; `None` where the build is to be killed first.
    pub async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = stopped(&mut self.stop) => None,
        }
    }

    /// Waits this long, or until the build is to be killed.
    pub async fn pause(&mut self, pause: Duration) {
        let _ = timeout(pause, stopped(&mut self.stop)).await;
    }

    /// One line of our own in the log of the build.
    pub fn say(&self, phase: &str, line: &str) {
        (self.sink)(phase, self.redactor.blank(line.as_bytes()).into());
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the end of a phase's command means. `npm`: the words of a package manager itself tell the machine's failures from the package's.
pub fn verdict(end: &PhaseEnd, printed: &Printed, limits: &Limits, npm: bool) -> Result<(), Failure> {
    let timed_out = |error: String| Failure { outcome: Outcome::TimedOut, ..Failure::own(error) };
    let quoted = |what: String| match &printed.cause {
        Some(line) => format!("{what}: {line}\n{}", printed.tail),
        None => what,
    };
    match end {
        PhaseEnd::Exited { status: 0 } => Ok(()),
        PhaseEnd::Exited { status: MACHINE_AT_FAULT } => {
            Err(Failure::infrastructure(quoted("said that the machine is at fault (status 75)".into())))
        }
        PhaseEnd::Exited { status: CONFIG } => {
            Err(Failure::permanent(quoted("said that it will never pass (status 78)".into())))
        }
        PhaseEnd::Exited { status } => {
            let code = || printed.code.as_deref().filter(|_| npm);
            let is_certain = *status == NOT_FOUND || code().is_some_and(error_code::is_certain);
            match code().filter(|code| error_code::is_infrastructure(code)) {
                Some(code) => Err(Failure::infrastructure(quoted(format!(
                    "the package manager failed for want of the network, the registry or this machine ({code})"
                )))),
                None if is_certain => Err(Failure::certain(quoted(ended_with(*status)))),
                None => Err(Failure::own(quoted(ended_with(*status)))),
            }
        }
        PhaseEnd::TimedOut => Err(timed_out(quoted(format!("took longer than {} s", limits.timeout.as_secs_f64())))),
        PhaseEnd::Silent => {
            let silence = limits.silence.unwrap_or_default().as_secs_f64();
            Err(timed_out(quoted(format!("printed nothing for {silence} s"))))
        }
        PhaseEnd::TooMuchOutput => Err(Failure::permanent(format!("printed more than {} bytes", limits.output))),
        PhaseEnd::Stopped | PhaseEnd::FuseBlown => Err(Failure::killed()),
        PhaseEnd::Unstartable { error } => Err(Failure::infrastructure(format!("could not be started: {error}"))),
    }
}

fn ended_with(status: i32) -> String {
    match nix::sys::signal::Signal::try_from(status - 128) {
        Ok(signal) if status > 128 => format!("was ended by {}", signal.as_str()),
        _ => format!("ended with status {status}"),
    }
}

/// The report of a phase that was started at `started`, and what its end means for the build: a failure that ends it,
/// or what it is warned of. With `lint_warns` a `lint` that says no is a warning.
pub fn settle(
    name: &str,
    started: Instant,
    exit_code: Option<i32>,
    ended: Result<(), Failure>,
    lint_warns: bool,
) -> (PhaseReport, Result<Option<String>, Failure>) {
    let status = match &ended {
        Ok(()) => PhaseStatus::Passed,
        Err(failure) if failure.killed => PhaseStatus::Killed,
        Err(failure) if failure.outcome == Outcome::TimedOut => PhaseStatus::TimedOut,
        Err(_) => PhaseStatus::Failed,
    };
    let seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    let warning = lint_warns && ended.as_ref().is_err_and(|failure| says_no(name, exit_code, failure));
    let ended = match ended {
        Err(failure) if warning => Ok(Some(format!("{name}: {}", failure.first_line()))),
        ended => ended.map(|()| None),
    };
    (PhaseReport { exit_code, seconds, warning, ..PhaseReport::new(name, status) }, ended)
}

/// The report of a phase that had nothing to do, and why; [`CACHED`](packline_domain::phase::CACHED) where its result
/// was there already.
pub fn skipped(name: &str, why: &str) -> PhaseReport {
    PhaseReport { reason: Some(one_line(why)), ..PhaseReport::new(name, PhaseStatus::Skipped) }
}

/// Whether this is a `lint` that ended by itself and said no. A limit, a machine that is at fault and a failure for
/// ever are what they are in every phase.
fn says_no(phase: &str, exit_code: Option<i32>, failure: &Failure) -> bool {
    phase == LINT && exit_code.is_some() && failure.may_be_fixed()
}

/// The exit status of a command that ended by itself.
pub fn exit_code(end: &PhaseEnd) -> Option<i32> {
    match end {
        PhaseEnd::Exited { status } => Some(*status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: i32, code: Option<&str>, npm: bool) -> Failure {
        let printed = Printed { code: code.map(str::to_owned), ..Printed::default() };
        verdict(&PhaseEnd::Exited { status }, &printed, &Limits::default(), npm).unwrap_err()
    }

    #[test]
    fn the_status_says_whose_failure_it_is() {
        assert_eq!(failure(1, None, false).outcome, Outcome::Failed);
        assert_eq!(failure(75, None, false).outcome, Outcome::Infrastructure);
        assert!(!failure(78, None, false).retry);
        assert!(failure(137, None, false).error.contains("SIGKILL"));
        assert_eq!(failure(1, Some("ECONNREFUSED"), true).outcome, Outcome::Infrastructure);
        assert_eq!(failure(1, Some("ECONNREFUSED"), false).outcome, Outcome::Failed);
        assert_eq!(failure(1, Some("E404"), true).outcome, Outcome::Failed);
        let certain = [(127, None, false), (1, Some("ETARGET"), true), (1, Some("UNSUPPORTED_ENGINE"), true)];
        for (status, code, npm) in certain {
            let failure = failure(status, code, npm);
            assert!(failure.certain && failure.may_be_fixed(), "{status} {code:?}");
        }
        for (status, code, npm) in [(1, None, false), (1, Some("ETARGET"), false), (1, Some("E404"), true)] {
            assert!(!failure(status, code, npm).certain, "{status} {code:?}");
        }
    }

    #[test]
    fn a_lint_that_says_no_is_a_warning_where_it_warns_and_all_else_fails_the_build() {
        let settled = |name: &str, end: PhaseEnd, lint_warns| {
            let ended = verdict(&end, &Printed::default(), &Limits::default(), false);
            settle(name, Instant::now(), exit_code(&end), ended, lint_warns)
        };
        let exited = |status| PhaseEnd::Exited { status };
        for status in [1, 2, 127, 137] {
            let (report, ended) = settled("lint", exited(status), true);
            assert_eq!((report.status, report.warning, report.exit_code), (PhaseStatus::Failed, true, Some(status)));
            assert!(ended.unwrap().unwrap().starts_with("lint: "), "{status}");
            for (name, lint_warns) in [("lint", false), ("test", true), ("lint:fix", true)] {
                let (report, ended) = settled(name, exited(status), lint_warns);
                assert!(ended.is_err() && !report.warning, "{name} {status}");
            }
        }
        assert_eq!(settled("lint", exited(1), true).1, Ok(Some("lint: ended with status 1".into())));
        assert_eq!(settled("lint", exited(0), true).1, Ok(None));
        let unstartable = PhaseEnd::Unstartable { error: "no such file".into() };
        let limits = [PhaseEnd::TimedOut, PhaseEnd::Silent, PhaseEnd::TooMuchOutput];
        let others = [exited(75), exited(78), PhaseEnd::Stopped, PhaseEnd::FuseBlown, unstartable];
        for end in limits.into_iter().chain(others) {
            let (report, ended) = settled("lint", end.clone(), true);
            assert!(ended.is_err() && !report.warning, "{end:?}");
        }
        let by_npm = failure(1, Some("ECONNRESET"), true);
        assert!(
            settle("lint", Instant::now(), Some(1), Err(by_npm), true).1.is_err(),
            "npm says that it is the machine"
        );
    }

    #[test]
    fn the_first_line_of_an_error_says_why() {
        let printed = Printed { tail: "1\n2".into(), cause: Some("two is no one".into()), ..Printed::default() };
        let error = verdict(&PhaseEnd::Exited { status: 1 }, &printed, &Limits::default(), false).unwrap_err().error;
        assert_eq!(error, "ended with status 1: two is no one\n1\n2");
    }

    #[test]
    fn too_much_output_is_permanent_and_a_timeout_is_not() {
        let printed = Printed::default();
        let ended = |end| verdict(&end, &printed, &Limits::default(), true).unwrap_err();
        assert!(!ended(PhaseEnd::TooMuchOutput).retry);
        assert_eq!((ended(PhaseEnd::TimedOut).outcome, ended(PhaseEnd::TimedOut).retry), (Outcome::TimedOut, true));
        assert!(ended(PhaseEnd::FuseBlown).killed && ended(PhaseEnd::Stopped).killed);
    }
}
