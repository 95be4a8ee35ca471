//! The request that publishes: by a process of its own, alone, in time, and once.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use packline_builder_worker::guard::boottime_millis;
use packline_domain::{BuildOrder, Outcome};
use packline_testkit::{
    process::Process,
    stand_in::{Hold, StandIn},
    witness::{self, processes_of},
};
use serde_json::json;

use crate::foreman::{Foreman, until, until_alive};

/// A busy machine stands still for a while, too: not for a quarter of this.
const CLAIM: Duration = Duration::from_secs(10);
const TOKEN: &str = "s3cret-token-of-the-worker";
/// Nobody else uses this registry.
const NAME: &str = "@acme/core";
/// More than the buffers on the way to a registry take.
const LARGE: usize = 24 * 1024 * 1024;

/// A package whose scripts leave something behind that does not want to end.
async fn place(claim: Duration) -> (Foreman, StandIn) {
    let foreman = Foreman::new(claim).await;
    let stubborn = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 1000' > /dev/null 2>&1 &) ; true";
    let manifest = json!({"name": NAME, "version": "1.0.0", "scripts": {"prepack": stubborn, "postpack": stubborn}});
    foreman.package(NAME, manifest, &[("index.js", "1")]);
    (foreman, StandIn::start().await)
}

/// Makes the package so large that its upload can be stopped in the middle.
fn enlarge(foreman: &Foreman) {
    let mut random = fastrand::Rng::with_seed(7);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(LARGE).collect();
    fs::write(foreman.workspace().join("packages/core/data.bin"), bytes).unwrap();
}

fn worker(foreman: &Foreman, name: &str, registry: &StandIn) -> Process {
    let recipe = foreman.recipe("[[phase]]\nname = \"publish\"\nbuiltin = \"npm-publish\"\n");
    foreman.worker(name, &[("NPM_REGISTRY", &registry.url()), ("NPM_TOKEN", TOKEN), ("RECIPE", &recipe)])
}

/// A worker in the middle of an upload, and what lets that go on.
async fn uploading(claim: Duration) -> (Foreman, StandIn, Process, BuildOrder, Hold) {
    let (mut foreman, registry) = place(claim).await;
    enlarge(&foreman);
    let worker = worker(&foreman, "one", &registry);
    let upload = registry.hold_put_after(LARGE / 2);
    let order = foreman.order(0, NAME).await;
    upload.reached().await;
    (foreman, registry, worker, order, upload)
}

/// Another worker publishes, the frozen one goes on, and the registry has got one request.
async fn ends_as_returned(foreman: &mut Foreman, registry: &StandIn, order: &BuildOrder, thaw: impl AsyncFnOnce()) {
    let _other = published_by_another(foreman, order, registry).await;
    thaw().await;
    let result = foreman.outcome(order).await;
    assert_eq!(result.outcome, Outcome::Returned, "{result:?}");
    assert_eq!(puts(registry), 1);
}

/// Returns when the leader may give the builds of a worker that is frozen now to others.
async fn until_lost() {
    let lost = boottime_millis() + u64::try_from(CLAIM.as_millis()).unwrap();
    until("the end of CLAIM", || async { (boottime_millis() > lost).then_some(()) }).await;
}

/// Plays the leader that has given up the worker of `lost`: another one builds the package, under the next permit.
async fn published_by_another(foreman: &mut Foreman, lost: &BuildOrder, registry: &StandIn) -> Process {
    let integrity = foreman.permit(lost.permit).await.unwrap().integrity.unwrap();
    let other = worker(foreman, "two", registry);
    let mut order = foreman.grant(lost.permit + 1, NAME).await;
    order.integrities = vec![integrity];
    foreman.send(&order).await;
    let result = foreman.outcome(&order).await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    other
}

/// How many requests to publish reached the registry as a whole.
fn puts(registry: &StandIn) -> usize {
    registry.puts(NAME).iter().filter(|put| put.read_at.is_some()).count()
}

#[tokio::test]
async fn a_worker_that_freezes_between_its_permit_and_the_request_makes_none() {
    let (mut foreman, registry) = place(CLAIM).await;
    let frozen = worker(&foreman, "one", &registry);
    let look = registry.hold_get_answer();
    let order = foreman.order(0, NAME).await;
    look.reached().await;
    assert!(foreman.permit(0).await.unwrap().integrity.is_some(), "the permit is rewritten before the look");
    frozen.freeze();
    // What it will read when it goes on: the version is not there.
    look.release();
    until_lost().await;
    ends_as_returned(&mut foreman, &registry, &order, async || frozen.thaw()).await;
}

#[tokio::test]
async fn a_worker_that_freezes_in_the_middle_of_an_upload_publishes_nothing_more() {
    let (mut foreman, registry, frozen, order, upload) = uploading(CLAIM).await;
    frozen.freeze();
    until_alive(&order, false).await;
    upload.release();
    ends_as_returned(&mut foreman, &registry, &order, async || frozen.thaw()).await;
}

/// As a virtual machine does that is suspended.
#[tokio::test]
async fn a_machine_that_freezes_in_the_middle_of_an_upload_publishes_nothing_more() {
    let (mut foreman, registry, frozen, order, upload) = uploading(CLAIM).await;
    let (helpers, guard) = (pids(&order), guard_of(&frozen));
    frozen.freeze();
    helpers.iter().chain([&guard]).for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
    until_lost().await;
    upload.release();
    let thaw = async || {
        // The one that uploads goes on before any other can end it.
        helpers.iter().for_each(|pid| kill(*pid, Signal::SIGCONT).unwrap());
        until_alive(&order, false).await;
        kill(guard, Signal::SIGCONT).unwrap();
        frozen.thaw();
    };
    ends_as_returned(&mut foreman, &registry, &order, thaw).await;
}

fn pids(order: &BuildOrder) -> Vec<Pid> {
    processes_of(&order.build_id.to_string()).iter().map(|process| Pid::from_raw(process.pid())).collect()
}

fn guard_of(worker: &Process) -> Pid {
    let mut children = witness::children_of(worker.pid()).into_iter();
    let guard = children.find(|child| child.command() == ["packline-guard", "guard"]);
    Pid::from_raw(guard.expect("a guard").pid())
}

#[tokio::test]
async fn the_request_is_made_alone_and_shows_its_token_to_nobody() {
    let (mut foreman, registry, _worker, order, upload) = uploading(Duration::from_secs(60)).await;
    let alive = processes_of(&order.build_id.to_string());
    assert!(!alive.is_empty());
    for process in &alive {
        let command = process.command();
        assert_eq!(command.last().unwrap(), "put", "{command:?}");
        let environment = fs::read(format!("/proc/{}/environ", process.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains(TOKEN));
        assert!(!command.concat().contains(TOKEN));
    }
    upload.release();
    let result = foreman.outcome(&order).await;
    assert_eq!(result.outcome, Outcome::Published, "{result:?}");
    assert_eq!(crate::foreman::alive(&order), 0);
    let puts = registry.puts(NAME);
    let [put] = puts.as_slice() else { panic!("{} requests", puts.len()) };
    assert_eq!(put.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
}
