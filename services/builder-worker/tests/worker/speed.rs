//! Workspace mode is fast: what a build waits for before its first own phase, in a small workspace and in a large one.

use std::{fs, process::Command, time::Duration};

use packline_domain::{BuildResult, Outcome};
use packline_testkit::{
    campaign,
    process::{Process, command},
    stand_in::StandIn,
    workspaces::Released,
};
use serde_json::{Value, json};

use crate::{foreman::Foreman, seat::without_overlays};

/// Members that need each other: each one all before it.
const GROUP: usize = 10;
/// Bytes of one file of a dependency.
const FILE: usize = 20 * 1024;
/// Files of one dependency: 10 MB.
const FILES: usize = 500;
/// What the script that builds says first, with the time in milliseconds.
const BEGAN: &str = "build| began at ";

/// A workspace of so many members, and a worker that builds it.
struct Bench {
    foreman: Foreman,
    members: usize,
    _worker: Process,
}

/// How long a build took until its script began, and in all.
struct Taken {
    before: Duration,
    all: Duration,
}

impl Bench {
    async fn start(members: usize, dependencies: &[Released], registry: &StandIn, worker: Command) -> Self {
        let foreman = Foreman::new(Duration::from_secs(60)).await;
        write(&foreman, members, dependencies);
        let url = registry.url();
        let worker = foreman.worker_by(worker, "worker", &[("NPM_REGISTRY", &url), ("NPM_TOKEN", "t")]);
        Self { foreman, members, _worker: worker }
    }

    /// Builds a member.
    async fn build(&mut self, number: usize) -> Taken {
        let mut order = self.foreman.grant(0, &name(self.members, number)).await;
        order.package_path = folder(number).parse().unwrap();
        order.deadline_seconds = 3600;
        self.foreman.send(&order).await;
        let result = self.foreman.outcome(&order).await;
        assert_eq!(result.outcome, Outcome::Published, "{result:?}");
        let log = self.foreman.log_until(&order.build_id, BEGAN).await;
        Taken::of(&result, &log)
    }
}

impl Taken {
    fn of(result: &BuildResult, log: &str) -> Self {
        let began = log.lines().find_map(|line| line.strip_prefix(BEGAN)?.parse::<i64>().ok());
        let since = |millis: i64| Duration::from_millis((millis - result.started_at.as_millis()).try_into().unwrap());
        Self { before: since(began.unwrap()), all: since(result.finished_at.as_millis()) }
    }
}

fn name(members: usize, number: usize) -> String {
    format!("@of-{members}/p{number}")
}

fn folder(number: usize) -> String {
    format!("packages/p{number}")
}

/// A dependency of 10 MB.
fn dependency(number: usize) -> Released {
    let released = Released::new(&format!("large-{number}"), "1.0.0");
    (0..FILES).fold(released, |released, file| {
        let line = format!("// {number} {file}\n");
        released.file(&format!("lib/{}/{file}.js", file % 20), &line.repeat(FILE / line.len()))
    })
}

/// Writes a checkout with so many members.
fn write(foreman: &Foreman, members: usize, dependencies: &[Released]) {
    let root = foreman.workspace();
    let put = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let named: serde_json::Map<String, Value> =
        dependencies.iter().map(|one| (one.name().to_owned(), one.version().into())).collect();
    let manifest = json!({
        "name": "own", "private": true, "workspaces": ["packages/*"], "devDependencies": named,
    });
    put("package.json", &manifest.to_string());
    put(".gitignore", "node_modules\ndist\n");
    for number in 0..members {
        let first = number - number % GROUP;
        let siblings: serde_json::Map<String, Value> =
            (first..number).map(|other| (name(members, other), "^1.0.0".into())).collect();
        let build = "node -e \"console.log('began at ' + Date.now()); fs.cpSync('src', 'dist', { recursive: true })\"";
        let manifest = json!({
            "name": name(members, number), "version": "1.0.0", "main": "dist/index.js", "files": ["dist"],
            "scripts": {"build": build}, "dependencies": siblings,
        });
        let put = |file: &str, text: &str| put(&format!("{}/{file}", folder(number)), text);
        put("package.json", &manifest.to_string());
        put("README.md", "# One of many\n");
        for file in ["index", "one", "two"] {
            put(&format!("src/{file}.js"), &format!("module.exports = '{number} {file}';\n"));
        }
    }
    for arguments in [&["init", "-q"][..], &["add", "-A"], &["commit", "-q", "-m", "all"]] {
        let mut git: Command = command("git");
        git.args(["-c", "user.name=acme", "-c", "user.email=acme@example.org"]).args(arguments).current_dir(&root);
        assert!(git.status().unwrap().success());
    }
}

/// The time that so many of a hundred builds did not take longer than.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    *times.get(((times.len() - 1) * percent).div_ceil(100)).unwrap()
}

/// How large the campaign is.
struct Size {
    /// Of all dependencies together.
    megabytes: usize,
    /// In the large workspace.
    packages: usize,
    rounds: usize,
}

impl Size {
    /// By `SPEED=500,2000,20`, else that of the campaign.
    fn read() -> Self {
        let asked = std::env::var("SPEED").ok();
        let asked = asked.map(|text| text.split(',').map(|part| part.parse().unwrap()).collect::<Vec<_>>());
        let of_campaign = campaign::size([10, 50, 1], [500, 2000, 20]);
        let [megabytes, packages, rounds] = asked.map_or(of_campaign, |asked| asked.try_into().unwrap());
        Self { megabytes, packages, rounds }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_starts_as_soon_in_a_large_workspace_as_in_a_small_one() {
    let worker = || command(env!("CARGO_BIN_EXE_builder-worker"));
    let [small, large] = compare("overlay", worker, Duration::from_secs(1)).await;
    let bound = if cfg!(debug_assertions) { small * 3 + Duration::from_secs(1) } else { small * 2 };
    assert!(large < bound, "{large:?} and {small:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_in_a_copy_starts_soon_in_a_large_workspace_too() {
    compare("copy", without_overlays, Duration::from_secs(3)).await;
}

/// The last package of a small workspace and the same one of a large workspace are built in turns, so that other work
/// on the machine meets both. `bound` is that of a release. Answers what passed at least before the first own phase.
async fn compare(how: &str, worker: impl Fn() -> Command, bound: Duration) -> [Duration; 2] {
    let size = Size::read();
    let last = campaign::size(2, GROUP - 1);
    let dependencies: Vec<Released> = (0..size.megabytes / 10).map(dependency).collect();
    let registry = StandIn::start().await;
    for dependency in &dependencies {
        dependency.put(&registry.url()).await.unwrap();
    }
    let mut small = Bench::start(GROUP, &dependencies, &registry, worker()).await;
    let mut large = Bench::start(size.packages, &dependencies, &registry, worker()).await;
    for bench in [&mut small, &mut large] {
        let install = bench.build(0).await.before;
        let mut first = Vec::new();
        for number in 1..=last {
            first.push(bench.build(number).await.before);
        }
        println!(
            "{how}, {} packages, {} MB: {install:?} with the install, then {:?} for the first build of a package, p95 {:?}",
            bench.members,
            size.megabytes,
            percentile(&first, 50),
            percentile(&first, 95),
        );
    }
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for _ in 0..size.rounds {
        of_small.push(small.build(last).await);
        of_large.push(large.build(last).await);
    }
    for (members, times) in [(GROUP, &of_small), (size.packages, &of_large)] {
        let of = |part: fn(&Taken) -> Duration| times.iter().map(part).collect::<Vec<_>>();
        let (before, all) = (of(|taken| taken.before), of(|taken| taken.all));
        println!(
            "{how}, {members} packages: until the first phase of its own {:?}, p95 {:?}; in all {:?}, p95 {:?}",
            percentile(&before, 50),
            percentile(&before, 95),
            percentile(&all, 50),
            percentile(&all, 95),
        );
    }
    // Far from the numbers of a quiet machine: other work on it must not fail this.
    let fastest = |times: &[Taken]| times.iter().map(|taken| taken.before).min().unwrap();
    let bound = if cfg!(debug_assertions) { Duration::from_secs(20) } else { bound };
    assert!(fastest(&of_large) < bound, "{:?}", fastest(&of_large));
    [fastest(&of_small), fastest(&of_large)]
}
