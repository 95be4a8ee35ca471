//! Who a guard belongs to: root, or an ordinary user.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::{getegid, geteuid};
use packline_builder_worker::guard::{Guard, View, boottime_millis};
use tempfile::TempDir;
use tokio::sync::watch;

const WORKER: &str = env!("CARGO_BIN_EXE_builder-worker");
/// Names the folder of its seat to a test that another one has started.
pub(crate) const SEAT: &str = "PACKLINE_TEST_SEAT";
/// Nobody has it.
const ORDINARY: u32 = 54321;
/// Becomes a command that can make no namespaces, whatever the machine allows.
const FORBIDS: &str = r#"#!/bin/sh
unshare --user --map-current-user true 2>/dev/null || exec "$@"
exec unshare --user --map-current-user --keep-caps sh -c '
    echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all "$@"
' sh "$@"
"#;

/// Names a folder to [`without_overlays`] that is to have room for 2 MB.
pub(crate) const SMALL: &str = "PACKLINE_TEST_SMALL";
/// Becomes a command that keeps its user, and can mount nothing.
const NO_OVERLAYS: &str = r#"
    unshare --user --map-current-user true 2>/dev/null || exec "$@"
    exec unshare --user --map-current-user --keep-caps --mount sh -c '
        [ -z "$PACKLINE_TEST_SMALL" ] || mount -t tmpfs -o size=2m none "$PACKLINE_TEST_SMALL" || exit
        for kind in pid mnt user; do echo 0 > /proc/sys/user/max_${kind}_namespaces || exit; done
        exec setpriv --inh-caps=-all --ambient-caps=-all "$@"
    ' sh "$@"
"#;

/// The worker's program where no overlay works, as the user of the test.
pub(crate) fn without_overlays() -> Command {
    let mut worker = packline_testkit::process::command("sh");
    worker.args(["-c", NO_OVERLAYS, "sh", WORKER]);
    worker
}

/// A user with a folder and a program of its own.
pub(crate) struct Seat {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Starts the worker's program as that user.
    program: PathBuf,
    folder: TempDir,
}

impl Seat {
    /// Those that this machine can show: root where the test runs as root, and an ordinary user.
    pub(crate) fn all() -> Vec<Self> {
        let mut seats = Vec::new();
        if geteuid().is_root() {
            seats.push(Self::new(0, 0, false));
        }
        seats.extend(Self::ordinary());
        seats
    }

    /// `None` where the machine allows an ordinary user no namespaces.
    pub(crate) fn ordinary() -> Option<Self> {
        let seat = Self::of_an_ordinary_user(false);
        let allowed = "unshare --user --map-current-user --pid --mount --fork true";
        let allowed = seat.command(allowed).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        assert!(allowed || std::env::var_os("CI").is_none(), "CI is to show this, and allows no user namespaces");
        if !allowed {
            eprintln!("left out: this machine allows an ordinary user no namespaces");
        }
        allowed.then_some(seat)
    }

    /// An ordinary user that may make no namespaces.
    pub(crate) fn without_namespaces() -> Self {
        Self::of_an_ordinary_user(true)
    }

    fn of_an_ordinary_user(forbids: bool) -> Self {
        if geteuid().is_root() {
            Self::new(ORDINARY, ORDINARY, forbids)
        } else {
            Self::new(geteuid().as_raw(), getegid().as_raw(), forbids)
        }
    }

    fn new(uid: u32, gid: u32, forbids: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let seat = Self { uid, gid, program: folder.path().join("program"), folder };
        let (worker, forbidding) = (seat.path("worker"), seat.path("forbids"));
        let wrapper = if forbids { forbidding.display().to_string() } else { String::new() };
        seat.bring(Path::new(WORKER), "worker", "ln");
        seat.put("forbids", FORBIDS);
        seat.put("own-program", &format!("#!/bin/sh\nexec {wrapper} {} \"$@\"\n", worker.display()));
        let own = seat.path("own-program");
        seat.put("program", &format!("#!/bin/sh\nexec {} {} \"$@\"\n", seat.changed(), own.display()));
        fs::create_dir(seat.path("own")).unwrap();
        chown(seat.path("own"), Some(uid), Some(gid)).unwrap();
        seat
    }

    /// The command that becomes this user.
    fn changed(&self) -> String {
        if self.uid == geteuid().as_raw() {
            return String::new();
        }
        format!("setpriv --reuid {} --regid {} --clear-groups", self.uid, self.gid)
    }

    /// A shell script that this user runs.
    pub(crate) fn command(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec {} sh -c '{script}'", self.changed()));
        command
    }

    /// A program that its user cannot read is closed to that user once it runs.
    pub(crate) fn close_program(&self) {
        self.bring(Path::new(WORKER), "worker", "cp");
        fs::set_permissions(self.path("worker"), fs::Permissions::from_mode(0o711)).unwrap();
    }

    /// Runs one test as this user; returns all that it prints.
    pub(crate) fn test(&self, name: &str) -> String {
        self.bring(&std::env::current_exe().unwrap(), "tests", "ln");
        let script = format!("{} {name} --exact --nocapture", self.path("tests").display());
        let ended = self.command(&script).env(SEAT, self.folder.path()).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Puts a program into the folder. By another process: what this one has open for writing, a child of another
    /// test may have as well, and then it cannot be started. A link takes no space, where it can be made.
    fn bring(&self, program: &Path, name: &str, how: &str) {
        let place = self.path(name);
        let script = format!("rm -f \"$2\"; {how} \"$1\" \"$2\" 2>/dev/null || cp \"$1\" \"$2\"");
        let made = Command::new("sh").args(["-c", &script, "sh"]).args([program, &place]).status();
        assert!(made.unwrap().success());
    }

    fn put(&self, name: &str, script: &str) {
        let place = self.path(name);
        let made = Command::new("sh").args(["-c", "printf %s \"$1\" > \"$2\"", "sh", script]).arg(&place).status();
        assert!(made.unwrap().success());
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder in which all belongs to the user.
    pub(crate) fn own(&self) -> PathBuf {
        self.path("own")
    }

    /// Writes a file of this user's; folders on the way belong to it as well.
    pub(crate) fn write(&self, path: &Path, text: &str) {
        self.create(path.parent().unwrap());
        fs::write(path, text).unwrap();
        self.give(path);
    }

    pub(crate) fn create(&self, folder: &Path) {
        if !folder.exists() {
            self.create(folder.parent().unwrap());
            fs::create_dir(folder).unwrap();
            self.give(folder);
        }
    }

    fn give(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid)).unwrap();
    }

    /// A view of the folders `lower` of this user, at `at`.
    pub(crate) fn view(&self, lower: &[&str]) -> View {
        let own = self.own();
        self.create(&own.join("at"));
        View {
            at: own.join("at"),
            lower: lower.iter().map(|name| own.join(name)).collect(),
            upper: own.join("upper"),
            work: own.join("work"),
        }
    }

    /// The worker's program as this user.
    pub(crate) fn program(&self) -> Command {
        Command::new(&self.program)
    }

    pub(crate) fn guard(&self, build: &str) -> (Guard, watch::Sender<u64>) {
        let (fuse, follows) = watch::channel(boottime_millis() + 600_000);
        (Guard::start(&self.program, build, follows).unwrap(), fuse)
    }
}
