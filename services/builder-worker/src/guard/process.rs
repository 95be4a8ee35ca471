//! The guard process: starts phases, and kills all of them in time, with or without its worker.
//!
//! One thread and one blocking poll; its output never blocks it, so that a frozen worker cannot
//! hold up the fuse.

use std::{
    io::{self, PipeReader},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, wait::WaitStatus},
    unistd::{Pid, geteuid, read, setsid, write},
};

use super::{
    LAUNCH,
    kill::kill_descendants,
    plan::{Namespaces, Plan, Refusal},
    protocol::{ENDED, OUTPUT, Order, PhaseEnd, PhaseRun, boottime_millis, push_frame},
};

/// Output of a phase that waits for the worker; beyond it the phase has to wait.
const WAITING_LIMIT: usize = 1 << 20;
/// The clock of the fuse runs on while this process sleeps; look at it this often.
const LOOK_AT_FUSE: Duration = Duration::from_millis(250);
/// For the last output after all processes are gone; somebody else may hold the pipe.
const DRAIN: Duration = Duration::from_secs(2);

struct Guard {
    stdin: io::Stdin,
    stdout: io::Stdout,
    orders: Vec<u8>,
    waiting: Vec<u8>,
    fuse: u64,
    stopped: bool,
    /// What the next phase gets.
    namespaces: Namespaces,
    phase: Option<Phase>,
}

struct Phase {
    run: Box<PhaseRun>,
    launch: Pid,
    /// Hangs up when `launch` and `init` are gone, and the command where it has input.
    life: UnixStream,
    /// Of its input, what is not written yet.
    input: Vec<u8>,
    output: PipeReader,
    printed: u64,
    started: Instant,
    last_output: Instant,
}

/// What woke the guard.
#[derive(Default)]
struct Woken {
    orders: bool,
    writable: bool,
    output: bool,
    ended: bool,
    input: bool,
}

/// Runs until the worker closes the pipe or dies; then nothing below is left.
pub(super) fn guard() -> ExitCode {
    // A build of the same user must not reach into our pipes by way of /proc.
    let _ = nix::sys::prctl::set_dumpable(false);
    let _ = setsid();
    let _ = prctl::set_name(c"packline-guard");
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let prepared = prctl::set_child_subreaper(true).and_then(|()| set_nonblocking(stdout.as_fd()));
    if let Err(error) = prepared {
        eprintln!("the guard cannot start: {error}");
        return ExitCode::FAILURE;
    }
    let mut guard = Guard {
        stdin,
        stdout,
        orders: Vec::new(),
        waiting: Vec::new(),
        fuse: 0,
        stopped: false,
        namespaces: if geteuid().is_root() { Namespaces::Root } else { Namespaces::User },
        phase: None,
    };
    while guard.turn() {}
    kill_descendants(Pid::from_raw(0));
    ExitCode::SUCCESS
}

impl Guard {
    /// One round; false when the worker is gone.
    fn turn(&mut self) -> bool {
        if let Some(end) = self.due() {
            self.end_phase(Some(end));
        }
        let woken = self.wait();
        if woken.orders && !self.take_orders() {
            return false;
        }
        if woken.output {
            self.take_output();
        }
        if woken.input {
            self.give_input();
        }
        if woken.ended {
            self.end_phase(None);
        }
        // Its end of the pipe closed: the worker is gone.
        !woken.writable || self.flush()
    }

    /// Why the running phase has to end now.
    fn due(&self) -> Option<PhaseEnd> {
        let phase = self.phase.as_ref()?;
        let silence = phase.run.silence_millis.map(Duration::from_millis);
        if self.stopped {
            Some(PhaseEnd::Stopped)
        } else if boottime_millis() >= self.fuse {
            Some(PhaseEnd::FuseBlown)
        } else if phase.printed > phase.run.output_limit {
            Some(PhaseEnd::TooMuchOutput)
        } else if phase.started.elapsed() >= Duration::from_millis(phase.run.timeout_millis) {
            Some(PhaseEnd::TimedOut)
        } else if silence.is_some_and(|silence| phase.last_output.elapsed() >= silence) {
            Some(PhaseEnd::Silent)
        } else {
            None
        }
    }

    /// How long nothing can become due.
    fn patience(&self) -> PollTimeout {
        let Some(phase) = &self.phase else { return PollTimeout::NONE };
        let timeout = Duration::from_millis(phase.run.timeout_millis).saturating_sub(phase.started.elapsed());
        let silence = phase.run.silence_millis.map_or(Duration::MAX, |silence| {
            Duration::from_millis(silence).saturating_sub(phase.last_output.elapsed())
        });
        let fuse = Duration::from_millis(self.fuse.saturating_sub(boottime_millis()));
        let shortest = timeout.min(silence).min(fuse).min(LOOK_AT_FUSE);
        PollTimeout::try_from(shortest + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO)
    }

    fn wait(&self) -> Woken {
        let writing = if self.waiting.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let mut ends =
            vec![PollFd::new(self.stdin.as_fd(), PollFlags::POLLIN), PollFd::new(self.stdout.as_fd(), writing)];
        if let Some(phase) = &self.phase {
            let giving = if phase.input.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            ends.push(PollFd::new(phase.life.as_fd(), giving));
            if self.waiting.len() < WAITING_LIMIT {
                ends.push(PollFd::new(phase.output.as_fd(), PollFlags::POLLIN));
            }
        }
        if poll(&mut ends, self.patience()).is_err() {
            return Woken::default();
        }
        let events: Vec<PollFlags> = ends.iter().map(|end| end.revents().unwrap_or_else(PollFlags::empty)).collect();
        let woken = |index: usize, flags: PollFlags| events.get(index).is_some_and(|e| e.intersects(flags));
        let readable = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
        Woken {
            orders: woken(0, readable),
            writable: woken(1, PollFlags::POLLOUT | PollFlags::POLLHUP | PollFlags::POLLERR),
            ended: woken(2, PollFlags::POLLHUP),
            input: woken(2, PollFlags::POLLOUT),
            // At its end the pipe stays readable; the life's end says when the phase is over.
            output: woken(3, PollFlags::POLLIN),
        }
    }

    /// Reads and follows orders; false when there will be no more.
    fn take_orders(&mut self) -> bool {
        let mut chunk = vec![0; 1 << 16];
        match read(self.stdin.as_fd(), &mut chunk) {
            Ok(0) => return false,
            Ok(count) => self.orders.extend(chunk.into_iter().take(count)),
            Err(Errno::EINTR | Errno::EAGAIN) => return true,
            Err(_) => return false,
        }
        while let Some(end) = self.orders.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.orders.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(order) => self.follow(order),
                Err(error) => {
                    eprintln!("the guard got an order that it cannot read: {error}");
                    return false;
                }
            }
        }
        true
    }

    fn follow(&mut self, order: Order) {
        match order {
            // A fuse that has blown stays so: what it ended is to be taken up by nobody.
            Order::Fuse { deadline } if self.fuse != 0 && boottime_millis() >= self.fuse => {
                eprintln!("the guard's fuse has blown; {deadline} comes too late");
            }
            Order::Fuse { deadline } => self.fuse = deadline,
            Order::Stop => self.stopped = true,
            Order::Run(_) if self.stopped => self.say(&PhaseEnd::Stopped),
            Order::Run(run) if boottime_millis().saturating_add(run.spare_millis) >= self.fuse => {
                self.say(&PhaseEnd::FuseBlown);
            }
            Order::Run(run) => self.start(run),
        }
    }

    fn start(&mut self, run: Box<PhaseRun>) {
        match start(run, self.namespaces) {
            Ok(phase) => self.phase = Some(phase),
            Err(error) => self.say(&PhaseEnd::Unstartable { error: error.to_string() }),
        }
    }

    fn give_input(&mut self) {
        let Some(phase) = &mut self.phase else { return };
        match write(phase.life.as_fd(), &phase.input) {
            Ok(count) => drop(phase.input.drain(..count)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Nobody reads it any more.
            Err(_) => phase.input.clear(),
        }
    }

    fn take_output(&mut self) {
        let Some(phase) = &mut self.phase else { return };
        let mut chunk = vec![0; 1 << 16];
        if let Ok(count) = read(phase.output.as_fd(), &mut chunk) {
            chunk.truncate(count);
            let room = phase.run.output_limit.saturating_sub(phase.printed);
            phase.printed = phase.printed.saturating_add(chunk.len() as u64);
            phase.last_output = Instant::now();
            chunk.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            if !chunk.is_empty() {
                push_frame(&mut self.waiting, OUTPUT, &chunk);
            }
        }
    }

    /// Kills what the phase left, passes on its last output, and says how it ended.
    fn end_phase(&mut self, why: Option<PhaseEnd>) {
        let Some(phase) = &self.phase else { return };
        let launched = kill_descendants(phase.launch);
        let until = Instant::now() + DRAIN;
        while let Some(phase) = &self.phase {
            let mut ends = [PollFd::new(phase.output.as_fd(), PollFlags::POLLIN)];
            let left = until.saturating_duration_since(Instant::now());
            let _ = poll(&mut ends, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
            let [end] = &ends;
            if !end.revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
                break;
            }
            self.take_output();
        }
        let Some(phase) = self.phase.take() else { return };
        let too_much = phase.printed > phase.run.output_limit;
        let end = match (why, launched) {
            (Some(why), _) => why,
            (None, _) if let Some(refusal) = Refusal::heard(&phase.life) => match refusal {
                // No command has started; without a view it can do without namespaces.
                Refusal::NoNamespaces { .. } if phase.run.view.is_none() && self.namespaces != Namespaces::Shared => {
                    self.namespaces = Namespaces::Shared;
                    return self.start(phase.run);
                }
                Refusal::NoNamespaces { error } | Refusal::Unstartable { error } => PhaseEnd::Unstartable { error },
            },
            (None, _) if too_much => PhaseEnd::TooMuchOutput,
            (None, Some(WaitStatus::Exited(_, status))) => PhaseEnd::Exited { status },
            (None, Some(WaitStatus::Signaled(_, signal, _))) => PhaseEnd::Exited { status: 128 + signal as i32 },
            (None, _) => PhaseEnd::Unstartable { error: "the end of the phase was not seen".into() },
        };
        self.say(&end);
    }

    fn say(&mut self, end: &PhaseEnd) {
        let text = serde_json::to_vec(end).unwrap_or_default();
        push_frame(&mut self.waiting, ENDED, &text);
    }

    /// Writes what the worker has room for; false when it is gone.
    fn flush(&mut self) -> bool {
        match write(self.stdout.as_fd(), &self.waiting) {
            Ok(count) => {
                self.waiting.drain(..count);
                true
            }
            Err(error) => matches!(error, Errno::EAGAIN | Errno::EINTR),
        }
    }
}

fn start(run: Box<PhaseRun>, namespaces: Namespaces) -> io::Result<Phase> {
    let (life, theirs) = UnixStream::pair()?;
    let (output, printing) = io::pipe()?;
    let complaining = printing.try_clone()?;
    let launch = Command::new("/proc/self/exe")
        .arg0("packline-launch")
        .arg(LAUNCH)
        .arg(Plan::new(&run, namespaces).argument()?)
        .args(&run.argv)
        .env_clear()
        .envs(&run.env)
        .stdin(OwnedFd::from(theirs))
        .stdout(printing)
        .stderr(complaining)
        .spawn()?;
    let launch = Pid::from_raw(i32::try_from(launch.id()).map_err(io::Error::other)?);
    set_nonblocking(life.as_fd())?;
    let (now, input) = (Instant::now(), run.input.clone().map(|input| input.0.into_bytes()).unwrap_or_default());
    Ok(Phase { run, launch, life, input, output, printed: 0, started: now, last_output: now })
}

fn set_nonblocking(end: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(end, FcntlArg::F_GETFL)?);
    fcntl(end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(|_| ())
}
