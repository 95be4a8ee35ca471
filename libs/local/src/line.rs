//! The programs of Packline as real processes: all of one line share a broker, settings and a folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail};
use tokio::sync::OnceCell;

use crate::{
    process::{Process, command},
    tools::{self, Missing},
};

/// All programs of a running line.
const PROGRAMS: [&str; 4] = ["orchestrator", "poller", "builder-worker", "packages-api"];

/// What a program is given of our own environment: settings of the person who runs this must not reach it.
const PASSED_ON: [&str; 10] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "XDG_CACHE_HOME",
    "CACHE",
    "CACHE_SIZE",
    "CACHE_AGE",
    "LLVM_PROFILE_FILE",
    "RUST_BACKTRACE",
];

/// Whether the person sees how the build comes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As cargo shows it.
    Shown,
    /// Only what goes wrong.
    Hidden,
}

/// The programs of this workspace, built in the profile of the one that asks, and beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Finds the programs; where cargo has started us, it builds them first.
    ///
    /// # Errors
    /// When they do not build, or one of them is not there.
    pub async fn find(progress: Progress) -> anyhow::Result<Self> {
        static FOUND: OnceCell<Binaries> = OnceCell::const_new();
        FOUND
            .get_or_try_init(|| async {
                tokio::task::spawn_blocking(move || find(progress)).await.context("the build was broken off")?
            })
            .await
            .cloned()
    }

    /// Where a program is.
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

fn find(progress: Progress) -> anyhow::Result<Binaries> {
    let own = env::current_exe().context("failed to find this program")?;
    let mut folder = own.parent().context("this program is in no folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("this program is in no folder")?;
    }
    if let (Some(cargo), Some(target)) = (env::var_os("CARGO"), tools::target()) {
        build(Path::new(&cargo), &target, folder, progress)?;
    }
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| !folder.join(program).is_file()).collect();
    if !missing.is_empty() {
        return Err(Missing(format!(
            "{} must be in the same folder as packline, and not in {}; `cargo build --release --workspace --bins` \
             puts all of them into target/release",
            missing.join(", "),
            folder.display()
        ))
        .into());
    }
    Ok(Binaries { folder: folder.to_owned() })
}

/// Builds into `folder`, which is `<target>/<profile>` or `<target>/<triple>/<profile>`.
fn build(cargo: &Path, target: &Path, folder: &Path, progress: Progress) -> anyhow::Result<()> {
    let mut build = command(cargo);
    build
        .args(["build", "--workspace", "--bins", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
    build.arg("--target-dir").arg(target);
    let below = folder.strip_prefix(target).context("this program is not in cargo's target folder")?;
    let below: Vec<&str> = below.iter().filter_map(|part| part.to_str()).collect();
    match below.as_slice() {
        [profile] => build.args(["--profile", profile_of(profile)]),
        [triple, profile] => build.args(["--target", triple, "--profile", profile_of(profile)]),
        _ => bail!("{} is no folder that cargo builds into", folder.display()),
    };
    if progress == Progress::Hidden {
        build.arg("--quiet");
    }
    // Build scripts that watch these would run again at every change between their package and ours.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"].iter().any(|start| text.starts_with(start)) {
            build.env_remove(&name);
        }
    }
    let status = build.stdin(Stdio::null()).stdout(Stdio::null()).status().context("failed to start cargo")?;
    if status.success() { Ok(()) } else { bail!("the programs of the line do not build ({status})") }
}

fn profile_of(folder: &str) -> &str {
    if folder == "debug" { "dev" } else { folder }
}

/// One line: what its processes have in common.
#[derive(Clone, Debug)]
pub struct Line {
    binaries: Binaries,
    folder: PathBuf,
    settings: Vec<(String, String)>,
}

impl Line {
    /// A line at the broker `nats_url` that keeps logs and scratch in `folder`.
    pub fn new(binaries: &Binaries, folder: &Path, nats_url: &str) -> Self {
        let line = Self { binaries: binaries.clone(), folder: folder.to_owned(), settings: Vec::new() };
        line.with("NATS_URL", nats_url)
    }

    /// The same, with one setting (an environment variable) for every process that is started from now on.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its programs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Starts an orchestrator.
    ///
    /// # Errors
    /// When it does not start.
    pub fn orchestrator(&self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Process> {
        self.start("orchestrator", name, settings)
    }

    /// Starts a poller.
    ///
    /// # Errors
    /// When it does not start.
    pub fn poller(&self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Process> {
        self.start("poller", name, settings)
    }

    /// Starts a worker, with scratch of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub fn worker(&self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Process> {
        let scratch = self.folder.join(format!("{name}.scratch"));
        fs::create_dir_all(&scratch).with_context(|| format!("failed to make {}", scratch.display()))?;
        let scratch = scratch.to_string_lossy();
        let settings: Vec<_> = [("SCRATCH", scratch.as_ref())].into_iter().chain(settings.iter().copied()).collect();
        self.start("builder-worker", name, &settings)
    }

    /// Starts a program under a name; its log is `<name>.log`, also when it is started again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, program: &str, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Process> {
        let mut process = command(self.binaries.path(program));
        process.env_clear().current_dir(&self.folder);
        process.envs(PASSED_ON.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        process.envs(self.settings.iter().map(|(name, value)| (name, value)));
        process.envs(settings.iter().copied());
        Process::spawn(name, process, &self.folder.join(format!("{name}.log")))
            .with_context(|| format!("failed to start {name}"))
    }
}
