//! Layers whose makers end in the middle, as root and as an ordinary user: no process is left of them, nobody sees what
//! they have made, and the next build makes them.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use packline_domain::{BuildOrder, Outcome};
use packline_testkit::{process::Process, stand_in::StandIn, witness::children_of};
use serde_json::json;

use super::{CLAIM, Gate, MADE, REUSED, WAITS, installs, member, phase, results};
use crate::{
    foreman::{Foreman, alive, until_alive},
    seat::Seat,
};

/// Packages that need a dependency whose install script waits at a gate, and who builds them.
struct Place {
    foreman: Foreman,
    registry: StandIn,
    gate: Gate,
    seat: Seat,
}

impl Place {
    /// One for each user that this machine can show.
    async fn all(claim: Duration) -> Vec<Self> {
        let mut all = Vec::new();
        for seat in Seat::all() {
            all.push(Self::new(seat, claim).await);
        }
        all
    }

    async fn new(seat: Seat, claim: Duration) -> Self {
        let (foreman, registry) = (Foreman::new(claim).await, StandIn::start().await);
        let root = json!({
            "name": "own", "private": true, "workspaces": ["packages/*"],
            "devDependencies": {"tiny-gated": "1.0.0"},
        });
        fs::create_dir_all(foreman.workspace()).unwrap();
        fs::write(foreman.workspace().join("package.json"), root.to_string()).unwrap();
        for name in ["@acme/a", "@acme/b", "@acme/c"] {
            member(&foreman, name, "1.0.0", json!({}));
        }
        fs::set_permissions(foreman.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        let gate = Gate::new(foreman.folder(), "gate");
        gate.dependency().put(&registry.url()).await.unwrap();
        Self { foreman, registry, gate, seat }
    }

    fn worker(&self, name: &str, slots: &str) -> Process {
        let own = |inner: &str| {
            let folder = self.seat.own().join(inner);
            self.seat.create(&folder);
            folder.display().to_string()
        };
        let (url, home, cache, scratch) = (self.registry.url(), own("home"), own("cache"), own("scratch"));
        let settings = [
            ("NPM_REGISTRY", url.as_str()),
            ("NPM_TOKEN", "t"),
            ("SLOTS", slots),
            ("HOME", &home),
            ("CACHE", &cache),
            ("SCRATCH", &scratch),
        ];
        self.foreman.worker_by(self.seat.program(), name, &settings)
    }

    /// Orders a build, and answers once it makes the layer; it goes on when the second answer is dropped.
    async fn making(&mut self) -> (BuildOrder, fs::File) {
        let order = self.foreman.order(0, "@acme/a").await;
        let makes = self.gate.reached().await;
        self.gate.remove().unwrap();
        assert!(alive(&order) > 0);
        assert_eq!(self.kept(), (0, 1));
        (order, makes)
    }

    /// How many installs and how many drafts there are.
    fn kept(&self) -> (usize, usize) {
        let count = |folder: &str| fs::read_dir(self.seat.own().join("cache").join(folder)).map_or(0, Iterator::count);
        (count("installed"), count(".store/drafts"))
    }

    /// The next build makes the layer that nobody else has made.
    async fn is_made_by_the_next(&mut self) {
        let next = self.foreman.order(1, "@acme/b").await;
        let made = self.foreman.outcome(&next).await;
        assert_eq!((phase(&made, "install"), installs(&self.registry, "tiny-gated")), (MADE, 2));
        assert_eq!(self.kept(), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_waits_makes_the_layer_where_the_first_one_is_withdrawn() {
    for mut place in Place::all(CLAIM).await {
        let _worker = place.worker("worker", "2");
        let (maker, _makes) = place.making().await;
        let waiter = place.foreman.order(1, "@acme/b").await;
        place.foreman.log_until(&waiter.build_id, WAITS).await;
        place.foreman.withdraw(0).await;
        let [withdrawn, made] = results(&mut place.foreman, [&maker, &waiter]).await;
        assert_eq!((withdrawn.outcome, withdrawn.failed_phase.as_deref()), (Outcome::Cancelled, Some("install")));
        assert_eq!(alive(&maker), 0);
        assert_eq!((phase(&made, "install"), installs(&place.registry, "tiny-gated")), (MADE, 2));
        assert_eq!(place.kept(), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_leaves_no_process_of_a_layer_and_the_next_one_makes_it() {
    for mut place in Place::all(CLAIM).await {
        let first = place.worker("first", "1");
        let (killed, _makes) = place.making().await;
        first.kill().await;
        until_alive(&killed, false).await;
        assert_eq!(place.kept(), (0, 1));
        let _next = place.worker("next", "1");
        place.is_made_by_the_next().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_leaves_nothing_of_a_layer_that_it_makes() {
    for mut place in Place::all(CLAIM).await {
        let first = place.worker("first", "1");
        let (returned, _makes) = place.making().await;
        assert!(first.stop(Duration::from_secs(30)).await.success());
        assert_eq!((alive(&returned), place.kept()), (0, (0, 0)));
        assert_eq!(place.foreman.outcome(&returned).await.outcome, Outcome::Returned);
        let _next = place.worker("next", "1");
        place.is_made_by_the_next().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_is_killed_takes_the_processes_of_a_layer_along_and_the_draft_goes() {
    for mut place in Place::all(CLAIM).await {
        let worker = place.worker("worker", "1");
        let (failed, _makes) = place.making().await;
        let children = children_of(worker.pid());
        let is_guard = |command: &[String]| command.first().is_some_and(|name| name == "packline-guard");
        let guard = children.iter().find(|child| is_guard(&child.command())).unwrap();
        kill(Pid::from_raw(guard.pid()), Signal::SIGKILL).unwrap();
        let result = place.foreman.outcome(&failed).await;
        assert_eq!((result.outcome, result.failed_phase.as_deref()), (Outcome::Infrastructure, Some("install")));
        assert_eq!((alive(&failed), place.kept()), (0, (0, 0)));
        place.is_made_by_the_next().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_a_frozen_worker_makes_is_made_by_another_one_once_its_fuse_has_blown() {
    for mut place in Place::all(Duration::from_secs(6)).await {
        let frozen = place.worker("frozen", "1");
        let (returned, makes) = place.making().await;
        frozen.freeze();
        let _other = place.worker("other", "1");
        let waiter = place.foreman.order(1, "@acme/b").await;
        place.foreman.log_until(&waiter.build_id, WAITS).await;
        let made = place.foreman.outcome(&waiter).await;
        assert_eq!((phase(&made, "install"), alive(&returned)), (MADE, 0));
        assert_eq!((installs(&place.registry, "tiny-gated"), place.kept()), (2, (1, 0)));
        drop(makes);
        frozen.thaw();
        assert_eq!(place.foreman.outcome(&returned).await.outcome, Outcome::Returned);
        let found = place.foreman.build("@acme/c").await;
        assert_eq!((phase(&found, "install"), place.kept()), (REUSED, (1, 0)));
    }
}
